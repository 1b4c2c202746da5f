//! Files to convert, made by ffmpeg from one sound that leaves no doubt about where it begins.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{LazyLock, Mutex};

use crate::harness::artifacts;

/// Seconds of the usual sample.
pub const SECONDS: f64 = 6.0;

/// Two sweeps, one per channel, so that a shift, a swap or a wrong rate shows in the correlation.
const SOUND: &str = "aevalsrc=exprs=\
    0.3*sin(2*PI*(200*t+60*t*t))+0.1*sin(2*PI*1500*t)*sin(2*PI*0.9*t)|\
    0.3*sin(2*PI*(350*t+40*t*t))+0.1*sin(2*PI*2100*t)*sin(2*PI*0.6*t)";

/// A moving picture, small enough to cost nothing.
const PICTURE: &str = "testsrc2=size=128x96:rate=10";

/// How ffmpeg makes a file.
pub struct Sample {
    /// Its name, whose ending chooses the container.
    pub name: &'static str,
    pub rate: u32,
    pub channels: u8,
    pub video: bool,
    /// Codecs and the container's options.
    pub options: &'static str,
    pub seconds: f64,
}

impl Sample {
    pub const fn sound(name: &'static str, options: &'static str) -> Self {
        Self {
            name,
            rate: 44_100,
            channels: 2,
            video: false,
            options,
            seconds: SECONDS,
        }
    }

    pub const fn video(name: &'static str, options: &'static str) -> Self {
        Self {
            name,
            rate: 44_100,
            channels: 2,
            video: true,
            options,
            seconds: SECONDS,
        }
    }

    /// Its bytes; made once per test run.
    pub fn bytes(&self) -> Vec<u8> {
        static MADE: LazyLock<Mutex<()>> = LazyLock::new(Mutex::default);
        artifacts::tools();
        let path = self.path();
        let _one_at_a_time = MADE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if !path.is_file() {
            self.make(&path);
        }
        std::fs::read(&path).expect("ffmpeg wrote it")
    }

    /// Everything that it is made from is in its name, so that a changed sample is made anew.
    fn path(&self) -> PathBuf {
        let recipe = format!(
            "{}-{}-{}-{}-{}",
            self.rate, self.channels, self.video, self.options, self.seconds
        );
        let recipe: String = recipe
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        artifacts::output("samples").join(format!("{recipe}-{}", self.name))
    }

    fn make(&self, path: &std::path::Path) {
        let mut command = Command::new("ffmpeg");
        command.args(["-nostdin", "-loglevel", "error", "-y"]);
        let sound = format!("{SOUND}:s={}:d={}", self.rate, self.seconds);
        command.args(["-f", "lavfi", "-i", &sound]);
        if self.video {
            let picture = format!("{PICTURE}:duration={}", self.seconds);
            command.args(["-f", "lavfi", "-i", &picture]);
        }
        let unfinished = path.with_file_name(format!("unfinished-{}", self.name));
        command
            .args(["-ac", &self.channels.to_string()])
            .args(self.options.split_whitespace())
            .arg(&unfinished);
        artifacts::run(&mut command).unwrap_or_else(|error| panic!("{error}"));
        std::fs::rename(&unfinished, path).expect("it is in the same directory");
    }
}

/// An mp4 with picture and AAC, the moov at its end: what a telephone gives.
pub fn source() -> Vec<u8> {
    Sample::video("clip.mp4", "-c:v mpeg4 -c:a aac -b:a 160k").bytes()
}

/// A longer sound, so that a conversion can be interrupted.
pub fn long(seconds: u32) -> Vec<u8> {
    let sample = Sample {
        seconds: f64::from(seconds),
        ..Sample::sound("long.flac", "-c:a flac -compression_level 0")
    };
    sample.bytes()
}
