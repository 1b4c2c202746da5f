//! When each revision of a component may have answered, as seen from outside.

use tokio::time::Instant;

use super::load::Answer;

/// One revision, from when it may have answered.
struct Reign {
    revision: String,
    /// Its swap was asked for; nothing can have been answered by it before.
    asked: Instant,
    /// Its switch was announced; nothing that was sent afterwards may be answered by an earlier one.
    announced: Instant,
}

/// The revisions of one component, in their order.
pub struct Timeline(Vec<Reign>);

impl Timeline {
    /// Of a component that serves this revision.
    pub fn from(revision: &str) -> Self {
        let now = Instant::now();
        let mut timeline = Self(Vec::new());
        timeline.switched(revision, now);
        timeline
    }

    /// Notes that the switch to `revision` was announced just now.
    pub fn switched(&mut self, revision: &str, asked: Instant) {
        self.0.push(Reign {
            revision: revision.to_owned(),
            asked,
            announced: Instant::now(),
        });
    }

    /// Whether `revision` may have given this answer: it was active at some moment between the
    /// request and the response. The error is what is wrong, in words.
    pub fn check(&self, revision: &str, answer: &Answer) -> Result<(), String> {
        let found = self.0.iter().position(|reign| reign.revision == revision);
        let index = found.ok_or_else(|| format!("{revision:?} never was a revision"))?;
        if answer.answered < self.0[index].asked {
            return Err(format!("{revision:?} answered before it was asked for"));
        }
        match self.0.get(index + 1) {
            Some(next) if answer.sent > next.announced => Err(format!(
                "{revision:?} answered what was sent {:?} after the switch to {:?} was announced",
                answer.sent - next.announced,
                next.revision
            )),
            _ => Ok(()),
        }
    }
}
