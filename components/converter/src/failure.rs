//! What can go wrong in a conversion, in two kinds that must not be mixed: a [`Failure`] can never
//! succeed and is told to the person who uploaded the file, in the words of its Display; everything
//! else in [`ConvertError`] is the platform's trouble and may succeed when it is tried again.

use crate::source::StorageError;

/// Why this file will never become an MP3. Display is the sentence that the user reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// No known container begins in these bytes, or its headers make no sense.
    #[error("This file is not a media file that we can read.")]
    NotMedia,
    /// The container is readable and holds no audio.
    #[error("This file has no audio track.")]
    NoAudio,
    /// The default audio track is in a format that nothing here decodes; names it.
    #[error("The audio format is not supported: {0}.")]
    Unsupported(String),
    /// The file is shorter than its container says.
    #[error("The file ends early: it seems to be truncated.")]
    Truncated,
    /// More packets were undecodable than [`crate::convert::BAD_PACKETS_MAX`] allows.
    #[error("The audio of this file is damaged: too much of it cannot be decoded.")]
    Damaged,
    /// There is a track, and not one sample came out of it.
    #[error("The audio track of this file is empty.")]
    Empty,
    /// Earlier deliveries of the same job ended the instance (see `job.rs`).
    #[error("The conversion stopped unexpectedly several times; the file seems to be damaged.")]
    Interrupted,
    /// The decoder gave up in a way that it does not survive.
    #[error("The audio of this file is damaged and cannot be decoded.")]
    Crashed,
}

/// How a conversion ends when it does not end well.
#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    /// Never succeeds: published as `media.failed`, then acknowledged.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The blob store did not answer: the delivery is tried again.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A message could not be published: the delivery is tried again.
    #[error("publishing on {subject} failed: {reason}")]
    Publish {
        /// The subject that was published on.
        subject: &'static str,
        /// The host's own words.
        reason: String,
    },
    /// The operator's configuration is wrong: the delivery is tried again once it is put right.
    #[error("{0}")]
    Settings(String),
    /// LAME refused its parameters or its input, which no file can cause.
    #[error("the MP3 encoder failed: {0}")]
    Encoder(String),
}
