//! Why streams do not do what an operator asks.

use http::StatusCode;

use crate::capability::streams::{EntryId, Group, StreamError};
use crate::name::{ComponentName, Subject};

/// Why a call on streams is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// Nothing was published to it, and no group was declared for it.
    #[error("there is no subject {0}: `wharf streams` lists those that there are")]
    UnknownSubject(Subject),
    /// The subject has other groups.
    #[error("there is no group {group}: {}", groups_in_words(.known))]
    UnknownGroup {
        /// Which group was asked for.
        group: Group,
        /// The subject's groups.
        known: Vec<ComponentName>,
    },
    /// No such dead letter.
    #[error(
        "{} has no dead letter {entry}: `wharf streams dead {subject}` shows those that there are",
        owner_in_words(.subject, .group.as_ref())
    )]
    UnknownEntry {
        /// Which subject was asked.
        subject: Subject,
        /// Which of its groups, if one.
        group: Option<ComponentName>,
        /// Which entry was asked for.
        entry: EntryId,
    },
    /// A group that is at work is not forgotten.
    #[error(
        "a subscription of this host names the group {0}: apply a manifest without it first, then the group can be forgotten"
    )]
    Subscribed(Group),
    /// The message makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// The backend does not answer.
    #[error("the streams do not answer within {seconds} s: what was asked for may yet be done")]
    Silent {
        /// How long was waited.
        seconds: u64,
    },
    /// The backend refuses or fails.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl OperateError {
    /// The status with which it is told.
    pub(in crate::admin) fn status(&self) -> StatusCode {
        match self {
            Self::UnknownSubject(_)
            | Self::UnknownGroup { .. }
            | Self::UnknownEntry { .. }
            | Self::Stream(StreamError::UnknownGroup { .. } | StreamError::UnknownEntry { .. }) => {
                StatusCode::NOT_FOUND
            }
            Self::Subscribed(_) => StatusCode::CONFLICT,
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::Stream(StreamError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            // Not 503: asking again helps once consumers have caught up, and the backend is well.
            Self::Stream(StreamError::Full { .. } | StreamError::TooManySubjects { .. }) => {
                StatusCode::INSUFFICIENT_STORAGE
            }
            Self::Silent { .. }
            | Self::Stream(StreamError::Backend { .. } | StreamError::Index { .. }) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Stream(StreamError::LeaseLost { .. }) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

fn groups_in_words(known: &[ComponentName]) -> String {
    if known.is_empty() {
        return "the subject has none".to_owned();
    }
    let names: Vec<&str> = known.iter().map(ComponentName::as_str).collect();
    format!("the subject has {}", names.join(", "))
}

fn owner_in_words(subject: &Subject, group: Option<&ComponentName>) -> String {
    match group {
        Some(group) => format!("{group} of {subject}"),
        None => subject.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_fault_has_its_status() {
        use OperateError as E;
        use StreamError as S;
        let subject: Subject = "work".parse().expect("a subject");
        let group = Group {
            subject: subject.clone(),
            name: "worker".parse().expect("a name"),
        };
        let entry = EntryId::new("7");
        let source = || Box::new(std::io::Error::other("gone"));
        for (error, status) in [
            (E::UnknownSubject(subject.clone()), 404),
            (
                E::UnknownGroup {
                    group: group.clone(),
                    known: Vec::new(),
                },
                404,
            ),
            (
                E::UnknownEntry {
                    subject: subject.clone(),
                    group: None,
                    entry: entry.clone(),
                },
                404,
            ),
            (E::Subscribed(group.clone()), 409),
            (E::Invalid("no"), 400),
            (E::Silent { seconds: 1 }, 503),
            (
                S::Full {
                    subject: subject.clone(),
                    length_max: 1,
                }
                .into(),
                507,
            ),
            (
                S::TooLarge {
                    subject: subject.clone(),
                    bytes: 2,
                    bytes_max: 1,
                }
                .into(),
                413,
            ),
            (
                S::UnknownGroup {
                    group: group.clone(),
                }
                .into(),
                404,
            ),
            (
                S::Backend {
                    subject,
                    source: source(),
                }
                .into(),
                503,
            ),
            (S::LeaseLost { group, entry }.into(), 500),
        ] {
            assert_eq!(error.status(), status, "{error}");
        }
    }
}
