//! The messages that the gateway publishes and receives, as JSON on their subjects.
//!
//! Parsing is strict about identifiers, because they become keys and object names, and indifferent
//! to fields that it does not know.

use serde::{Deserialize, Serialize};

use crate::id::{JobId, UserId};
use crate::job::Outcome;

/// The subject of [`Uploaded`].
pub const UPLOADED: &str = "media.uploaded";
const PROGRESS: &str = "media.progress";
const CONVERTED: &str = "media.converted";
const FAILED: &str = "media.failed";

/// A file waits in the container `uploads`.
#[derive(Debug, Serialize)]
pub struct Uploaded<'a> {
    /// The job.
    pub job: &'a JobId,
    /// Its owner.
    pub user: &'a UserId,
    /// The file's name, for people.
    pub name: &'a str,
    /// The object's name.
    pub blob: &'a str,
    /// The object's size.
    pub size_bytes: u64,
}

/// What a received message says about a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Report {
    /// The conversion reached this fraction, 0 to 1.
    Progress(f64),
    /// The conversion ended.
    Settled(Outcome),
}

/// Why a message can never be understood.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    /// The gateway has no use for this subject.
    #[error("nothing is expected on the subject {0}")]
    Subject(String),
    /// The body is not this subject's JSON.
    #[error("the body is not a {subject} message")]
    Body {
        /// Where it came from.
        subject: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

#[derive(Deserialize)]
struct ProgressBody {
    job: JobId,
    progress: f64,
}

#[derive(Deserialize)]
struct ConvertedBody {
    job: JobId,
    duration_seconds: f64,
}

#[derive(Deserialize)]
struct FailedBody {
    job: JobId,
    error: String,
}

/// Takes a message's subject and body and gives the job that it is about and what it says.
pub fn parse(subject: &str, body: &[u8]) -> Result<(JobId, Report), MessageError> {
    let parsed = match subject {
        PROGRESS => serde_json::from_slice(body)
            .map(|body: ProgressBody| (body.job, Report::Progress(body.progress.clamp(0.0, 1.0)))),
        CONVERTED => serde_json::from_slice(body).map(|body: ConvertedBody| {
            let duration_seconds = body.duration_seconds;
            (
                body.job,
                Report::Settled(Outcome::Done { duration_seconds }),
            )
        }),
        FAILED => serde_json::from_slice(body).map(|body: FailedBody| {
            let error = body.error;
            (body.job, Report::Settled(Outcome::Failed { error }))
        }),
        _ => return Err(MessageError::Subject(subject.to_owned())),
    };
    parsed.map_err(|source| MessageError::Body {
        subject: subject.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn every_subject_is_understood() {
        let job = JobId::try_from(JOB.to_owned()).expect("a job");
        let cases = [
            (
                PROGRESS,
                format!(r#"{{"job":"{JOB}","user":"ab","progress":1.5}}"#),
                Report::Progress(1.0),
            ),
            (
                CONVERTED,
                format!(
                    r#"{{"job":"{JOB}","user":"ab","name":"a","blob":"b","size_bytes":1,"duration_seconds":2}}"#
                ),
                Report::Settled(Outcome::Done {
                    duration_seconds: 2.0,
                }),
            ),
            (
                FAILED,
                format!(r#"{{"job":"{JOB}","user":"ab","name":"a","error":"No audio."}}"#),
                Report::Settled(Outcome::Failed {
                    error: "No audio.".to_owned(),
                }),
            ),
        ];
        for (subject, body, report) in cases {
            let parsed = parse(subject, body.as_bytes()).expect("understood");
            assert_eq!(parsed, (job.clone(), report));
        }
    }

    #[test]
    fn what_is_not_a_message_is_refused() {
        assert!(matches!(
            parse("media.other", b"{}"),
            Err(MessageError::Subject(_))
        ));
        for body in [
            "",
            "{}",
            r#"{"job":"../../x","progress":0.5}"#,
            r#"{"job":"0123456789abcdef0123456789abcdef","progress":"half"}"#,
        ] {
            assert!(matches!(
                parse(PROGRESS, body.as_bytes()),
                Err(MessageError::Body { .. })
            ));
        }
    }

    #[test]
    fn an_upload_is_announced_as_agreed() {
        let job = JobId::try_from(JOB.to_owned()).expect("a job");
        let user = UserId::try_from("ab".to_owned()).expect("a user");
        let message = Uploaded {
            job: &job,
            user: &user,
            name: "a.mp4",
            blob: JOB,
            size_bytes: 5,
        };
        assert_eq!(
            serde_json::to_string(&message).expect("JSON"),
            format!(
                r#"{{"job":"{JOB}","user":"ab","name":"a.mp4","blob":"{JOB}","size_bytes":5}}"#
            )
        );
    }
}
