//! The converter: videos and audio files in, MP3s out.
//!
//! A component of the media application (`wit/media.wit`, world `converter`). It handles
//! `media.uploaded`, and says `media.progress`, `media.converted` and `media.failed`.
//!
//! Floors, each importing from those above it only: `failure`, `source` (bytes by range), `mp4`,
//! `mkv`, `ogg`, `mp3_info` (structure of files), `mix`, `opus`, `decode`, `timeline`, `clock`,
//! `tags` (sound), `layout`, `input` (an opened upload), `resample`, `encode`, `convert` (the
//! pipeline), `job` (a delivery), and `glue`, which alone knows WIT and exists in WebAssembly only.

pub mod clock;
pub mod convert;
pub mod decode;
pub mod encode;
pub mod failure;
pub mod format_name;
pub mod input;
pub mod job;
pub mod layout;
pub mod mix;
pub mod mkv;
pub mod mp3_info;
pub mod mp4;
pub mod ogg;
pub mod opus;
pub mod resample;
pub mod settings;
pub mod source;
pub mod tags;
pub mod timeline;

#[cfg(target_family = "wasm")]
mod glue;
