//! Converts a file on disk, for measuring and for trying: `convert IN OUT [QUALITY]`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use converter::convert::{Receiver, convert};
use converter::failure::ConvertError;
use converter::settings::Mp3Quality;
use converter::source::{RangeRead, StorageError};

struct Disk {
    file: File,
    size: u64,
}

fn failed(operation: &'static str, error: &std::io::Error) -> StorageError {
    StorageError {
        operation,
        object: "file".to_owned(),
        reason: error.to_string(),
    }
}

impl RangeRead for Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_range(&mut self, start: u64, len: u64, into: &mut Vec<u8>) -> Result<(), StorageError> {
        into.resize(len as usize, 0);
        let read = self
            .file
            .seek(SeekFrom::Start(start))
            .and_then(|_| self.file.read_exact(into));
        read.map_err(|error| failed("reading", &error))
    }
}

struct Frames(Vec<u8>);

impl Receiver for Frames {
    fn audio(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn progress(&mut self, _: f64) -> Result<(), ConvertError> {
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, from, to, quality @ ..] = arguments.as_slice() else {
        return Err("usage: convert IN OUT [QUALITY]".into());
    };
    let file = File::open(from)?;
    let size = file.metadata()?.len();
    let quality = Mp3Quality::parse(quality.first().map_or("", String::as_str))?;
    let mut frames = Frames(Vec::new());
    let mp3 = convert(Disk { file, size }, from, quality, &mut frames)?;
    let mut out = File::create(to)?;
    out.write_all(&mp3.front)?;
    out.write_all(&frames.0)?;
    println!("{:.3} s at {} Hz", mp3.seconds(), mp3.rate);
    Ok(())
}
