//! The way of a claim from the writer thread to its caller, who may be gone by then.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::super::{Group, LeaseToken, StreamError};
use super::apply::{self, Held};
use super::lock;
use super::schedule::Schedule;
use crate::capability::embedded::{Afterthoughts, Applied, Failure, Outcome};

/// What a claim found.
pub(super) enum Claim {
    /// Entries that it leased under one token.
    Some {
        token: LeaseToken,
        claimed: Vec<Claimed>,
    },
    /// Nothing is due before `next_due`, as far as is known now.
    Nothing { next_due: Option<Instant> },
}

/// One entry that was leased.
pub(super) struct Claimed {
    pub(super) sequence: u64,
    pub(super) attempt: u32,
    pub(super) record: Vec<u8>,
}

impl Default for Claim {
    fn default() -> Self {
        Self::Nothing { next_due: None }
    }
}

/// Carries a claim. Dropped with it (the caller was cancelled), it releases what was claimed.
pub(super) struct Handover {
    pub(super) group: Group,
    pub(super) claimed_at: Instant,
    pub(super) claim: Claim,
    pub(super) schedule: Arc<Mutex<Schedule>>,
    pub(super) afterthoughts: Afterthoughts,
}

impl Handover {
    /// Makes the claim and takes it in, on the writer thread.
    pub(super) fn fill(
        mut self,
        claim: impl FnOnce(&Group) -> Outcome<Claim, StreamError>,
    ) -> Outcome<Self, StreamError> {
        match claim(&self.group)? {
            Applied::Changed(claim) => {
                self.claim = claim;
                Ok(Applied::Changed(self))
            }
            Applied::Unchanged(claim) => {
                self.claim = claim;
                Ok(Applied::Unchanged(self))
            }
        }
    }

    /// The caller has it.
    pub(super) fn take(mut self) -> Claim {
        std::mem::take(&mut self.claim)
    }
}

impl Drop for Handover {
    /// Queues the release. While the queue is closed nothing is lost either: after the next open the
    /// entries are due, with this attempt counted.
    fn drop(&mut self) {
        let Claim::Some { token, claimed } = std::mem::take(&mut self.claim) else {
            return;
        };
        let (group, schedule, now) = (self.group.clone(), self.schedule.clone(), self.claimed_at);
        self.afterthoughts.write(move |transaction| {
            for Claimed { sequence, .. } in claimed {
                let held = Held {
                    group: &group,
                    sequence,
                    token,
                };
                match apply::release(transaction, &mut lock(&schedule), &held, now) {
                    // Refused: the lease ran out meanwhile, so another claim has it.
                    Ok(_) | Err(Failure::Refused(_)) => {}
                    Err(Failure::Storage(error)) => return Err(error.into()),
                }
            }
            Ok(Applied::Changed(()))
        });
    }
}
