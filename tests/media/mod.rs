//! The media application, end to end: the real host, the real components, files made by ffmpeg.
//!
//! Tests that need nothing of their own share one host, each with users of its own; it lives as
//! long as anyone uses it.

mod accounts;
mod app;
mod conversions;
mod crash;
mod jobs;
mod samples;
mod sound;
mod tokens;
mod uploads;

pub use app::{App, User, log_in, manifest};
pub use samples::{Sample, long, source};
pub use sound::Sound;
