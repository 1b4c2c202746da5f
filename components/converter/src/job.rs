//! One `media.uploaded` message, from delivery to acknowledgement.
//!
//! ```text
//! uploads/{job} --convert--> results/{job}.part --front + copy--> results/{job}.mp3 --> media.converted
//!          \--- cannot ever succeed -----------------------------------------------> media.failed
//! ```
//!
//! The front of an MP3 (its length, its seek table) is known when its last frame is, and objects
//! are written in order: so the frames go to a temporary object that is then copied behind the
//! front. An object is visible once it is complete, which makes a delivery that comes again cheap
//! to recognise: the result is there, so it is announced again.
//!
//! A file that makes the decoder trap would be delivered until it is a dead letter, and its user
//! would never hear of it. `results/{job}.attempts` counts the deliveries that ended without a
//! word; the one after [`ATTEMPTS_MAX`] of them says that the file failed.

use serde::{Deserialize, Serialize};

use crate::convert::{Mp3, Receiver, convert};
use crate::failure::{ConvertError, Failure};
use crate::mp3_info;
use crate::settings::Mp3Quality;
use crate::source::{BLOCK_BYTES, BlockSource, RangeRead, StorageError};

/// Progress is published this often; the contract is once a second.
const PROGRESS_INTERVAL_MS: u64 = 500;

/// The clock is asked once in so many packets: 16 of AAC are a third of a second of sound, which
/// takes a few milliseconds to convert.
const PACKETS_PER_LOOK: u32 = 16;

/// The subscription delivers five times; the fifth should not end without a word.
const ATTEMPTS_MAX: u32 = 4;

/// Messages name jobs and users by such identifiers; longer ones are not ours.
const ID_CHARS_MAX: usize = 64;

/// The subjects that are published on.
pub mod subject {
    /// How far a conversion is.
    pub const PROGRESS: &str = "media.progress";
    /// A conversion has succeeded.
    pub const CONVERTED: &str = "media.converted";
    /// A conversion can never succeed.
    pub const FAILED: &str = "media.failed";
}

/// The body of `media.uploaded`.
#[derive(Debug, Clone, Deserialize)]
pub struct Uploaded {
    /// The job's identifier.
    pub job: String,
    /// Whose job it is.
    pub user: String,
    /// What the user calls the file.
    pub name: String,
    /// The object in `uploads`.
    pub blob: String,
}

#[derive(Serialize)]
struct Progress<'a> {
    job: &'a str,
    user: &'a str,
    progress: f64,
}

#[derive(Serialize)]
struct Converted<'a> {
    job: &'a str,
    user: &'a str,
    name: &'a str,
    blob: &'a str,
    size_bytes: u64,
    duration_seconds: f64,
}

#[derive(Serialize)]
struct Failed<'a> {
    job: &'a str,
    user: &'a str,
    name: &'a str,
    error: String,
}

/// An object that is being written; dropped unfinished, it never existed.
pub trait ObjectWriter {
    /// Appends.
    ///
    /// # Errors
    /// The store's failure.
    fn write(&mut self, bytes: &[u8]) -> Result<(), StorageError>;

    /// Makes the object visible, in place of one that had its name.
    ///
    /// # Errors
    /// The store's failure; the object is not there then.
    fn finish(self: Box<Self>) -> Result<(), StorageError>;
}

/// What a job needs of the world.
pub trait Platform {
    /// Reads an object by ranges.
    type Reader: RangeRead + 'static;

    /// Opens an upload; `None` if it is not there (any more).
    ///
    /// # Errors
    /// The store's failure.
    fn upload(&self, object: &str) -> Result<Option<Self::Reader>, StorageError>;

    /// Opens a result; `None` if it is not there.
    ///
    /// # Errors
    /// The store's failure.
    fn result(&self, object: &str) -> Result<Option<Self::Reader>, StorageError>;

    /// Begins to write a result.
    ///
    /// # Errors
    /// The store's failure.
    fn write_result(&self, object: &str) -> Result<Box<dyn ObjectWriter>, StorageError>;

    /// Removes a result, if it is there.
    ///
    /// # Errors
    /// The store's failure.
    fn delete_result(&self, object: &str) -> Result<(), StorageError>;

    /// Publishes; durable when it returns.
    ///
    /// # Errors
    /// [`ConvertError::Publish`].
    fn publish(&self, subject: &'static str, body: Vec<u8>) -> Result<(), ConvertError>;

    /// Milliseconds of a clock that never goes back.
    fn now_ms(&self) -> u64;
}

/// How a delivery ended.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// The result is there and was announced.
    Converted,
    /// The failure was announced.
    Failed(Failure),
    /// There is nothing to do: no such upload, or a message that makes no sense.
    Nothing(&'static str),
}

/// The body of the `media.failed` message about a job.
pub fn failed_body(uploaded: &Uploaded, failure: &Failure) -> Vec<u8> {
    let Uploaded {
        job, user, name, ..
    } = uploaded;
    json(&Failed {
        job,
        user,
        name,
        error: failure.to_string(),
    })
}

fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("strings and finite numbers are always JSON")
}

/// Reads the body of a `media.uploaded` message; `None` if it is none, or names what cannot be a
/// job (identifiers become object names).
pub fn parse(body: &[u8]) -> Option<Uploaded> {
    let uploaded: Uploaded = serde_json::from_slice(body).ok()?;
    let is_id = |id: &str| {
        !id.is_empty()
            && id.len() <= ID_CHARS_MAX
            && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    (is_id(&uploaded.job) && is_id(&uploaded.user) && is_id(&uploaded.blob)).then_some(uploaded)
}

/// Does what a `media.uploaded` message asks for.
///
/// # Errors
/// What may succeed when the message is delivered again.
pub fn run<P: Platform>(
    platform: &P,
    uploaded: &Uploaded,
    quality: Mp3Quality,
) -> Result<Outcome, ConvertError> {
    let names = Names::of(&uploaded.job);
    if let Some(reader) = platform.result(&names.result)? {
        let size = reader.size();
        if let Some(info) = mp3_info::read(&mut BlockSource::new(reader))? {
            names.clean_up(platform)?;
            announce(platform, uploaded, &names.result, size, info.seconds())?;
            return Ok(Outcome::Converted);
        }
    }
    let Some(reader) = platform.upload(&uploaded.blob)? else {
        names.clean_up(platform)?;
        return Ok(Outcome::Nothing("the upload is gone"));
    };
    let attempts = attempts(platform, &names.attempts)?;
    if attempts >= ATTEMPTS_MAX {
        return fail(platform, uploaded, &names, Failure::Interrupted);
    }
    write_whole(
        platform,
        &names.attempts,
        (attempts + 1).to_string().as_bytes(),
    )?;
    let mut delivery = Delivery::new(platform, uploaded);
    delivery.publish(0.0)?;
    match attempt(platform, uploaded, &names, reader, quality, &mut delivery) {
        Ok((size, seconds)) => {
            names.clean_up(platform)?;
            announce(platform, uploaded, &names.result, size, seconds)?;
            Ok(Outcome::Converted)
        }
        Err(ConvertError::Failed(failure)) => fail(platform, uploaded, &names, failure),
        Err(error) => {
            // This attempt ends with a word, so it does not count; if even that cannot be noted,
            // it counts.
            let _ = write_whole(platform, &names.attempts, attempts.to_string().as_bytes());
            Err(error)
        }
    }
}

/// The objects of a job in `results`.
struct Names {
    result: String,
    part: String,
    attempts: String,
}

impl Names {
    fn of(job: &str) -> Self {
        Self {
            result: format!("{job}.mp3"),
            part: format!("{job}.part"),
            attempts: format!("{job}.attempts"),
        }
    }

    /// Removes everything but the result.
    fn clean_up<P: Platform>(&self, platform: &P) -> Result<(), StorageError> {
        platform.delete_result(&self.part)?;
        platform.delete_result(&self.attempts)
    }
}

fn attempts<P: Platform>(platform: &P, object: &str) -> Result<u32, StorageError> {
    let Some(mut reader) = platform.result(object)? else {
        return Ok(0);
    };
    let mut text = Vec::new();
    let len = reader.size().min(10);
    reader.read_range(0, len, &mut text)?;
    Ok(std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0))
}

fn write_whole<P: Platform>(platform: &P, object: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let mut writer = platform.write_result(object)?;
    writer.write(bytes)?;
    writer.finish()
}

fn fail<P: Platform>(
    platform: &P,
    uploaded: &Uploaded,
    names: &Names,
    failure: Failure,
) -> Result<Outcome, ConvertError> {
    platform.publish(subject::FAILED, failed_body(uploaded, &failure))?;
    names.clean_up(platform)?;
    Ok(Outcome::Failed(failure))
}

fn announce<P: Platform>(
    platform: &P,
    uploaded: &Uploaded,
    blob: &str,
    size_bytes: u64,
    duration_seconds: f64,
) -> Result<(), ConvertError> {
    let Uploaded {
        job, user, name, ..
    } = uploaded;
    let body = Converted {
        job,
        user,
        name,
        blob,
        size_bytes,
        duration_seconds,
    };
    platform.publish(subject::CONVERTED, json(&body))
}

/// Converts, and writes the result. Gives its size in bytes and its length in seconds.
fn attempt<P: Platform>(
    platform: &P,
    uploaded: &Uploaded,
    names: &Names,
    reader: P::Reader,
    quality: Mp3Quality,
    delivery: &mut Delivery<'_, P>,
) -> Result<(u64, f64), ConvertError> {
    delivery.part = Some(platform.write_result(&names.part)?);
    let mp3 = convert(reader, &uploaded.name, quality, delivery)?;
    if let Some(part) = delivery.part.take() {
        part.finish()?;
    }
    let size = assemble(platform, names, &mp3, delivery)?;
    Ok((size, mp3.seconds()))
}

/// Writes the result: the front, then the frames from the temporary object, block by block.
fn assemble<P: Platform>(
    platform: &P,
    names: &Names,
    mp3: &Mp3,
    delivery: &mut Delivery<'_, P>,
) -> Result<u64, ConvertError> {
    let mut part = platform.result(&names.part)?.ok_or_else(|| StorageError {
        operation: "reading",
        object: names.part.clone(),
        reason: "it was removed by another delivery".to_owned(),
    })?;
    let mut writer = platform.write_result(&names.result)?;
    writer.write(&mp3.front)?;
    let (mut position, mut block) = (0, Vec::new());
    while position < part.size() {
        let len = BLOCK_BYTES.min(part.size() - position);
        part.read_range(position, len, &mut block)?;
        writer.write(&block)?;
        position += len;
        delivery.publish_if_due(1.0)?;
    }
    writer.finish()?;
    Ok(mp3.front.len() as u64 + position)
}

/// What the pipeline talks to: frames into the temporary object, progress to the gateway.
struct Delivery<'a, P> {
    platform: &'a P,
    uploaded: &'a Uploaded,
    part: Option<Box<dyn ObjectWriter>>,
    published_at_ms: u64,
    packets: u32,
}

impl<'a, P: Platform> Delivery<'a, P> {
    fn new(platform: &'a P, uploaded: &'a Uploaded) -> Self {
        Self {
            platform,
            uploaded,
            part: None,
            published_at_ms: 0,
            packets: 0,
        }
    }

    fn publish(&mut self, progress: f64) -> Result<(), ConvertError> {
        self.published_at_ms = self.platform.now_ms();
        let Uploaded { job, user, .. } = self.uploaded;
        // A thousandth is less than a pixel of any bar.
        let progress = (progress * 1000.0).round() / 1000.0;
        self.platform.publish(
            subject::PROGRESS,
            json(&Progress {
                job,
                user,
                progress,
            }),
        )
    }

    fn publish_if_due(&mut self, progress: f64) -> Result<(), ConvertError> {
        let due = self.published_at_ms.saturating_add(PROGRESS_INTERVAL_MS);
        if self.platform.now_ms() >= due {
            self.publish(progress)
        } else {
            Ok(())
        }
    }
}

impl<P: Platform> Receiver for Delivery<'_, P> {
    fn audio(&mut self, bytes: &[u8]) -> Result<(), ConvertError> {
        match &mut self.part {
            Some(part) if !bytes.is_empty() => Ok(part.write(bytes)?),
            _ => Ok(()),
        }
    }

    fn progress(&mut self, fraction: f64) -> Result<(), ConvertError> {
        self.packets += 1;
        if self.packets.is_multiple_of(PACKETS_PER_LOOK) {
            self.publish_if_due(fraction)?;
        }
        Ok(())
    }
}
