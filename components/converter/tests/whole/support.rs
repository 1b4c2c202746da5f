//! What the tests stand on: a signal, ffmpeg to pack it in every way, and a platform in memory.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use converter::failure::ConvertError;
use converter::job::{self, ObjectWriter, Outcome, Platform, Uploaded};
use converter::settings::Mp3Quality;
use converter::source::{RangeRead, StorageError};

/// A signal whose every moment is different from every other, in planes.
pub struct Clip {
    pub rate: u32,
    pub planes: Vec<Vec<f32>>,
}

impl Clip {
    pub fn new(rate: u32, channels: usize, frames: usize) -> Self {
        let plane = |channel: usize| {
            let (base, beat) = (180.0 + 70.0 * channel as f64, 0.9 + 0.23 * channel as f64);
            let sample = |i: usize| {
                let t = i as f64 / f64::from(rate);
                let tone = |f: f64| (f * t * std::f64::consts::TAU).sin();
                let sweep = ((base + 160.0 * t) * t * std::f64::consts::TAU).sin();
                let level = 0.55 + 0.45 * tone(beat);
                ((0.35 * sweep + 0.15 * tone(base * 2.7) + 0.08 * tone(base * 5.3)) * level) as f32
            };
            (0..frames).map(sample).collect()
        };
        Self {
            rate,
            planes: (0..channels).map(plane).collect(),
        }
    }

    pub fn frames(&self) -> usize {
        self.planes[0].len()
    }

    pub fn seconds(&self) -> f64 {
        self.frames() as f64 / f64::from(self.rate)
    }

    /// 16 bit PCM in a WAVE file.
    pub fn wav(&self) -> Vec<u8> {
        let channels = self.planes.len() as u32;
        let data: Vec<u8> = (0..self.frames())
            .flat_map(|i| {
                self.planes
                    .iter()
                    .map(move |plane| (plane[i] * 32767.0).round() as i16)
            })
            .flat_map(i16::to_le_bytes)
            .collect();
        let mut wav = b"RIFF".to_vec();
        wav.extend((36 + data.len() as u32).to_le_bytes());
        wav.extend(b"WAVEfmt \x10\0\0\0\x01\0");
        wav.extend((channels as u16).to_le_bytes());
        wav.extend(self.rate.to_le_bytes());
        wav.extend((self.rate * channels * 2).to_le_bytes());
        wav.extend((channels as u16 * 2).to_le_bytes());
        wav.extend(b"\x10\0data");
        wav.extend((data.len() as u32).to_le_bytes());
        wav.extend(data);
        wav
    }

    /// The clip as ffmpeg packs it with these arguments, in a file of this name.
    pub fn packed(&self, name: &str, arguments: &str) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let (source, target) = (
            directory.path().join("source.wav"),
            directory.path().join(name),
        );
        std::fs::write(&source, self.wav()).unwrap();
        let source = source.to_str().unwrap();
        let target = target.to_str().unwrap();
        let mut all = vec!["-i", source];
        all.extend(arguments.split_whitespace());
        all.push(target);
        ffmpeg(&all);
        std::fs::read(target).unwrap()
    }

    /// The clip beside a moving picture.
    pub fn filmed(&self, name: &str, arguments: &str) -> Vec<u8> {
        let picture = format!(
            "-f lavfi -i testsrc=size=160x120:rate=10:duration={}",
            self.seconds() + 0.5
        );
        self.packed(name, &format!("{picture} -map 1:v -map 0:a {arguments}"))
    }
}

/// Runs ffmpeg, which has to be there.
pub fn ffmpeg(arguments: &[&str]) {
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-y"])
        .args(arguments)
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "these tests make their clips with ffmpeg, which could not be run ({error}). Install it \
             with `apt-get install ffmpeg`, `dnf install ffmpeg-free` or `brew install ffmpeg`."
        )
    });
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ffmpeg {arguments:?}: {messages}");
}

/// An MP3 decoded by ffmpeg, which honours the gapless information.
pub fn decoded(mp3: &[u8], channels: usize) -> Vec<Vec<f32>> {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let text = |path: PathBuf| path.to_str().unwrap().to_owned();
    std::fs::write(path("in.mp3"), mp3).unwrap();
    ffmpeg(&[
        "-i",
        &text(path("in.mp3")),
        "-f",
        "f32le",
        &text(path("out")),
    ]);
    let raw = std::fs::read(Path::new(&path("out"))).unwrap();
    let samples: Vec<f32> = raw
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect();
    (0..channels)
        .map(|c| samples.iter().skip(c).step_by(channels).copied().collect())
        .collect()
}

/// How alike two signals are when `b` is shifted by the best of up to `lag_max` samples, and which.
pub fn correlation(a: &[f32], b: &[f32], lag_max: i64) -> (f64, i64) {
    let at = |a: &[f32], b: &[f32], lag: i64| {
        let (a, b) = if lag >= 0 {
            (a, &b[lag as usize..])
        } else {
            (&a[-lag as usize..], b)
        };
        let mut sums = (0.0, 0.0, 0.0);
        for (x, y) in a.iter().zip(b).map(|(x, y)| (f64::from(*x), f64::from(*y))) {
            sums = (sums.0 + x * y, sums.1 + x * x, sums.2 + y * y);
        }
        sums.0 / (sums.1 * sums.2).sqrt().max(1e-12)
    };
    // The shift is found on half a second, the likeness is taken over everything.
    let (short_a, short_b) = (&a[..a.len().min(24_000)], &b[..b.len().min(26_000)]);
    let likeness = |lag: &i64| at(short_a, short_b, *lag);
    let lags = -lag_max..=lag_max;
    let lag = lags
        .max_by(|x, y| likeness(x).total_cmp(&likeness(y)))
        .unwrap();
    (at(a, b, lag), lag)
}

/// Bytes that are read by range.
pub struct Bytes {
    bytes: Arc<Vec<u8>>,
    reads_left: Option<u32>,
}

impl RangeRead for Bytes {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_range(&mut self, start: u64, len: u64, into: &mut Vec<u8>) -> Result<(), StorageError> {
        if let Some(left) = &mut self.reads_left {
            *left = left.checked_sub(1).ok_or_else(|| StorageError {
                operation: "reading",
                object: "upload".to_owned(),
                reason: "the network is down".to_owned(),
            })?;
        }
        into.clear();
        into.extend_from_slice(&self.bytes[start as usize..(start + len) as usize]);
        Ok(())
    }
}

/// The same, counting what is fetched.
pub struct Counting {
    pub bytes: Vec<u8>,
    pub fetched: Arc<AtomicU64>,
}

impl RangeRead for Counting {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_range(&mut self, start: u64, len: u64, into: &mut Vec<u8>) -> Result<(), StorageError> {
        self.fetched.fetch_add(len, Ordering::Relaxed);
        into.clear();
        into.extend_from_slice(&self.bytes[start as usize..(start + len) as usize]);
        Ok(())
    }
}

type Objects = Rc<RefCell<HashMap<String, Arc<Vec<u8>>>>>;

/// The world of a job, in memory.
#[derive(Default)]
pub struct Memory {
    pub uploads: Objects,
    pub results: Objects,
    pub published: RefCell<Vec<(&'static str, serde_json::Value)>>,
    /// Every look at the clock takes this long.
    pub step_ms: Cell<u64>,
    pub clock_ms: Cell<u64>,
    /// Writing fails after so many more objects.
    pub writes_left: Cell<Option<u32>>,
    /// Reading an upload fails after so many more ranges.
    pub reads_left: Cell<Option<u32>>,
}

struct MemoryWriter {
    objects: Objects,
    name: String,
    bytes: Vec<u8>,
}

impl ObjectWriter for MemoryWriter {
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), StorageError> {
        self.objects
            .borrow_mut()
            .insert(self.name, Arc::new(self.bytes));
        Ok(())
    }
}

impl Platform for Memory {
    type Reader = Bytes;

    fn upload(&self, object: &str) -> Result<Option<Bytes>, StorageError> {
        let bytes = self.uploads.borrow().get(object).cloned();
        Ok(bytes.map(|bytes| Bytes {
            bytes,
            reads_left: self.reads_left.get(),
        }))
    }

    fn result(&self, object: &str) -> Result<Option<Bytes>, StorageError> {
        let bytes = self.results.borrow().get(object).cloned();
        Ok(bytes.map(|bytes| Bytes {
            bytes,
            reads_left: None,
        }))
    }

    fn write_result(&self, object: &str) -> Result<Box<dyn ObjectWriter>, StorageError> {
        if let Some(left) = self.writes_left.get() {
            let left = left.checked_sub(1).ok_or_else(|| StorageError {
                operation: "writing",
                object: object.to_owned(),
                reason: "the disk is full".to_owned(),
            })?;
            self.writes_left.set(Some(left));
        }
        let (objects, name) = (Rc::clone(&self.results), object.to_owned());
        Ok(Box::new(MemoryWriter {
            objects,
            name,
            bytes: Vec::new(),
        }))
    }

    fn delete_result(&self, object: &str) -> Result<(), StorageError> {
        self.results.borrow_mut().remove(object);
        Ok(())
    }

    fn publish(&self, subject: &'static str, body: Vec<u8>) -> Result<(), ConvertError> {
        let body = serde_json::from_slice(&body).unwrap();
        self.published.borrow_mut().push((subject, body));
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        self.clock_ms.set(self.clock_ms.get() + self.step_ms.get());
        self.clock_ms.get()
    }
}

pub const JOB: &str = "0123456789abcdef0123456789abcdef";

pub fn uploaded(name: &str) -> Uploaded {
    let body = serde_json::json!({
        "job": JOB, "user": "ab12", "name": name, "blob": JOB, "size_bytes": 1
    });
    job::parse(body.to_string().as_bytes()).unwrap()
}

impl Memory {
    pub fn with_upload(bytes: Vec<u8>) -> Self {
        let memory = Self::default();
        memory
            .uploads
            .borrow_mut()
            .insert(JOB.to_owned(), Arc::new(bytes));
        memory
    }

    pub fn run(&self, name: &str) -> Result<Outcome, ConvertError> {
        self.run_at(name, "192k")
    }

    pub fn run_at(&self, name: &str, quality: &str) -> Result<Outcome, ConvertError> {
        job::run(self, &uploaded(name), Mp3Quality::parse(quality).unwrap())
    }

    /// The one result, when nothing else is left behind.
    pub fn mp3(&self) -> Vec<u8> {
        let results = self.results.borrow();
        let names: Vec<&String> = results.keys().collect();
        assert_eq!(names, [&format!("{JOB}.mp3")]);
        results.values().next().unwrap().to_vec()
    }

    pub fn messages(&self, subject: &str) -> Vec<serde_json::Value> {
        let published = self.published.borrow();
        published
            .iter()
            .filter(|(s, _)| *s == subject)
            .map(|(_, body)| body.clone())
            .collect()
    }
}
