//! A job: what is stored of it, under which keys, and how it is shown.
//!
//! A job's truth is spread over keys that each have one kind of writer, so that no write needs to
//! compare: the upload writes the record once, progress messages write the progress, the first
//! `converted` or `failed` writes the outcome. A reader merges them; an outcome beats everything, so
//! that a job never leaves `done` or `failed`.
//!
//! ```text
//! job/{job}        the record     upload                    jobs/{user}            counter
//! published/{job}  a mark         upload, or its repair     list/{user}/{ordinal}  job id
//! progress/{job}   a fraction     media.progress
//! outcome/{job}    how it ended   media.converted, media.failed
//! ```

use serde::{Deserialize, Serialize};

use crate::id::{JobId, UserId};
use crate::time;

/// A job that no message ever mentioned is published again when it is seen after this long: whatever
/// accepted it was interrupted between recording and publishing. Longer than any healthy publish.
pub const REPAIR_AFTER_MS: u64 = 30_000;

/// Written once, when the upload is complete.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Whose job it is.
    pub user: UserId,
    /// The uploaded file's name.
    pub name: String,
    /// The uploaded file's size.
    pub size_bytes: u64,
    /// Milliseconds since the Unix epoch.
    pub created_at_ms: u64,
    /// Its place in the user's list.
    pub ordinal: u64,
}

/// Written once, by whichever message comes first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Outcome {
    /// The result can be downloaded.
    Done {
        /// How long it plays.
        duration_seconds: f64,
    },
    /// There will be no result.
    Failed {
        /// One sentence for a person.
        error: String,
    },
}

/// The key of the counter of a user's jobs.
pub fn counter_key(user: &UserId) -> String {
    format!("jobs/{}", user.as_str())
}

/// The key of one entry of a user's list.
pub fn list_key(user: &UserId, ordinal: u64) -> String {
    format!("list/{}/{ordinal}", user.as_str())
}

/// The keys of one job.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Holds a [`Record`].
    pub record: String,
    /// Exists once `media.uploaded` is published.
    pub published: String,
    /// Holds a number as JSON.
    pub progress: String,
    /// Holds an [`Outcome`].
    pub outcome: String,
}

impl Keys {
    /// The keys of the job `id`.
    pub fn of(id: &JobId) -> Self {
        let key = |kind: &str| format!("{kind}/{}", id.as_str());
        Self {
            record: key("job"),
            published: key("published"),
            progress: key("progress"),
            outcome: key("outcome"),
        }
    }

    /// All of them, in the order that [`Stored::parse`] takes their values.
    pub fn to_array(&self) -> [String; 4] {
        [
            self.record.clone(),
            self.published.clone(),
            self.progress.clone(),
            self.outcome.clone(),
        ]
    }
}

/// All that is known of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// The record.
    pub record: Record,
    /// `media.uploaded` is known to be published.
    pub published: bool,
    /// How far the conversion is, once it started.
    pub progress: Option<f64>,
    /// How it ended, once it did.
    pub outcome: Option<Outcome>,
}

impl Stored {
    /// Takes the values of [`Keys::to_array`]; gives nothing when there is no such job. Fails when a
    /// value is not what this component writes.
    pub fn parse(values: [Option<Vec<u8>>; 4]) -> Result<Option<Self>, serde_json::Error> {
        let [record, published, progress, outcome] = values;
        let Some(record) = record else {
            return Ok(None);
        };
        Ok(Some(Self {
            record: serde_json::from_slice(&record)?,
            published: published.is_some(),
            progress: progress
                .as_deref()
                .map(serde_json::from_slice)
                .transpose()?,
            outcome: outcome.as_deref().map(serde_json::from_slice).transpose()?,
        }))
    }

    /// Whether the job was recorded long ago and nothing shows that it was ever published.
    pub fn needs_repair(&self, now_ms: u64) -> bool {
        !self.published
            && self.progress.is_none()
            && self.outcome.is_none()
            && now_ms.saturating_sub(self.record.created_at_ms) >= REPAIR_AFTER_MS
    }
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Allowed next: Converting, Done, Failed.
    Queued,
    /// Allowed next: Done, Failed.
    Converting,
    /// Allowed next: nothing.
    Done,
    /// Allowed next: nothing.
    Failed,
}

/// A job as the interface shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// The identifier, also the `fid` of a download.
    pub id: JobId,
    /// The uploaded file's name.
    pub name: String,
    /// Where it stands.
    pub state: State,
    /// 0 to 1.
    pub progress: f64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The uploaded file's size.
    pub size_bytes: u64,
    /// How long the result plays.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// RFC 3339, UTC.
    pub created_at: String,
}

impl Job {
    /// Merges what is stored of the job `id`.
    pub fn of(id: JobId, stored: Stored) -> Self {
        let reached = stored.progress.map(|value| value.clamp(0.0, 1.0));
        let (state, progress, error, duration_seconds) = match stored.outcome {
            Some(Outcome::Done { duration_seconds }) => {
                (State::Done, 1.0, None, Some(duration_seconds))
            }
            Some(Outcome::Failed { error }) => {
                (State::Failed, reached.unwrap_or(0.0), Some(error), None)
            }
            None => match reached {
                Some(progress) => (State::Converting, progress, None, None),
                None => (State::Queued, 0.0, None, None),
            },
        };
        Self {
            id,
            name: stored.record.name,
            state,
            progress,
            error,
            size_bytes: stored.record.size_bytes,
            duration_seconds,
            created_at: time::rfc3339(stored.record.created_at_ms),
        }
    }

    /// Whether nothing can change any more.
    pub fn is_settled(&self) -> bool {
        match self.state {
            State::Done | State::Failed => true,
            State::Queued | State::Converting => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> JobId {
        JobId::from_random([7; 16])
    }

    fn stored(progress: Option<f64>, outcome: Option<Outcome>) -> Stored {
        Stored {
            record: Record {
                user: UserId::try_from("ab".to_owned()).expect("a user"),
                name: "a.mp4".to_owned(),
                size_bytes: 5,
                created_at_ms: 0,
                ordinal: 1,
            },
            published: false,
            progress,
            outcome,
        }
    }

    #[test]
    fn the_outcome_beats_the_progress() {
        let done = Outcome::Done {
            duration_seconds: 2.5,
        };
        let failed = Outcome::Failed {
            error: "No audio.".to_owned(),
        };
        for (progress, outcome, state, shown) in [
            (None, None, State::Queued, 0.0),
            (Some(0.0), None, State::Converting, 0.0),
            (Some(7.0), None, State::Converting, 1.0),
            (Some(0.3), Some(done.clone()), State::Done, 1.0),
            (None, Some(done), State::Done, 1.0),
            (Some(0.3), Some(failed), State::Failed, 0.3),
        ] {
            let job = Job::of(id(), stored(progress, outcome));
            assert_eq!((job.state, job.progress), (state, shown));
            assert_eq!(
                job.is_settled(),
                matches!(state, State::Done | State::Failed)
            );
        }
    }

    #[test]
    fn a_job_is_shown_with_the_fields_that_it_has() {
        let queued = serde_json::to_value(Job::of(id(), stored(None, None))).expect("JSON");
        assert_eq!(
            queued,
            serde_json::json!({
                "id": "07".repeat(16), "name": "a.mp4", "state": "queued", "progress": 0.0,
                "size_bytes": 5, "created_at": "1970-01-01T00:00:00.000Z",
            })
        );
        let failed = Outcome::Failed {
            error: "No audio.".to_owned(),
        };
        let failed = serde_json::to_value(Job::of(id(), stored(None, Some(failed)))).expect("JSON");
        assert_eq!(failed["error"], "No audio.");
    }

    #[test]
    fn what_is_stored_is_read_back() {
        let done = Outcome::Done {
            duration_seconds: 2.5,
        };
        let expected = stored(Some(0.5), Some(done.clone()));
        let bytes = |value: Vec<u8>| Some(value);
        let values = [
            serde_json::to_vec(&expected.record).ok(),
            None,
            bytes(b"0.5".to_vec()),
            serde_json::to_vec(&done).ok(),
        ];
        assert_eq!(Stored::parse(values).expect("valid"), Some(expected));
        assert_eq!(
            Stored::parse([None, None, None, None]).expect("valid"),
            None
        );
        assert!(Stored::parse([Some(b"{}".to_vec()), None, None, None]).is_err());
    }

    #[test]
    fn only_an_old_job_that_nothing_mentioned_needs_repair() {
        assert!(!stored(None, None).needs_repair(REPAIR_AFTER_MS - 1));
        assert!(stored(None, None).needs_repair(REPAIR_AFTER_MS));
        assert!(!stored(Some(0.0), None).needs_repair(REPAIR_AFTER_MS));
        let published = Stored {
            published: true,
            ..stored(None, None)
        };
        assert!(!published.needs_repair(REPAIR_AFTER_MS));
    }

    #[test]
    fn keys_are_named_by_kind_and_owner() {
        let user = UserId::try_from("ab".to_owned()).expect("a user");
        assert_eq!(counter_key(&user), "jobs/ab");
        assert_eq!(list_key(&user, 12), "list/ab/12");
        assert_eq!(
            Keys::of(&id()).outcome,
            format!("outcome/{}", "07".repeat(16))
        );
    }
}
