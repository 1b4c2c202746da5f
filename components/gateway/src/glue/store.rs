//! The job records, in this component's own key-value store.
//!
//! [`crate::job`] says which keys there are and who writes them.

use crate::bindings::wasi::keyvalue0_2_0_draft::store::{Bucket, Error};
use crate::bindings::wasi::keyvalue0_2_0_draft::{atomics, batch, store};
use crate::id::{JobId, UserId};
use crate::job::{self, Keys, Outcome, Record, Stored};

/// List entries per read: a page of the list in one call, in a few kilobytes.
const ENTRIES_PER_READ: u64 = 64;
/// List entries that one request looks at. Deleted jobs leave gaps, and a list of nothing but gaps
/// must end somewhere.
const ENTRIES_READ_MAX: u64 = 4_096;

/// The store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The host answered an error.
    #[error("the key-value store failed: {0}")]
    Backend(String),
    /// A value is not what this component writes.
    #[error("the records of job {job} are damaged")]
    Damaged {
        /// Whose records.
        job: String,
        /// What is wrong with them.
        source: serde_json::Error,
    },
}

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        Self::Backend(match error {
            Error::NoSuchStore => "there is no store of this name".to_owned(),
            Error::AccessDenied => "this component is not granted the store".to_owned(),
            Error::Other(reason) => reason,
        })
    }
}

/// All job records.
pub struct Store {
    bucket: Bucket,
}

impl Store {
    /// Opens the component's own store.
    pub fn open() -> Result<Self, StoreError> {
        Ok(Self {
            bucket: store::open("")?,
        })
    }

    /// Gives a new place at the end of a user's list.
    pub fn next_ordinal(&self, user: &UserId) -> Result<u64, StoreError> {
        Ok(atomics::increment(
            &self.bucket,
            &job::counter_key(user),
            1,
        )?)
    }

    /// Writes a new job's record and its list entry.
    pub fn create(&self, id: &JobId, record: &Record) -> Result<(), StoreError> {
        let entry = job::list_key(&record.user, record.ordinal);
        let entries = [
            (Keys::of(id).record, to_json(record)),
            (entry, id.as_str().as_bytes().to_vec()),
        ];
        Ok(batch::set_many(&self.bucket, &entries)?)
    }

    /// Marks a job's upload as published.
    pub fn mark_published(&self, id: &JobId) -> Result<(), StoreError> {
        Ok(self.bucket.set(&Keys::of(id).published, b"1")?)
    }

    /// Removes a job's records and its list entry.
    pub fn remove(&self, id: &JobId, record: &Record) -> Result<(), StoreError> {
        let mut keys = Keys::of(id).to_array().to_vec();
        keys.push(job::list_key(&record.user, record.ordinal));
        Ok(batch::delete_many(&self.bucket, &keys)?)
    }

    /// Gives what is known of a job, whoever owns it.
    pub fn read(&self, id: &JobId) -> Result<Option<Stored>, StoreError> {
        let stored = self.read_many(std::slice::from_ref(id))?;
        Ok(stored.into_iter().next().map(|(_, stored)| stored))
    }

    /// Gives a user's newest jobs, newest first, at most `limit`.
    pub fn newest(&self, user: &UserId, limit: usize) -> Result<Vec<(JobId, Stored)>, StoreError> {
        let mut above = atomics::increment(&self.bucket, &job::counter_key(user), 0)? + 1;
        let stop = above.saturating_sub(ENTRIES_READ_MAX).max(1);
        let mut jobs = Vec::new();
        while above > stop && jobs.len() < limit {
            let from = above.saturating_sub(ENTRIES_PER_READ).max(stop);
            let keys: Vec<String> = (from..above)
                .rev()
                .map(|ordinal| job::list_key(user, ordinal))
                .collect();
            let ids: Vec<JobId> = batch::get_many(&self.bucket, &keys)?
                .into_iter()
                .flatten()
                .filter_map(|(_, id)| JobId::try_from(String::from_utf8(id).ok()?).ok())
                .take(limit - jobs.len())
                .collect();
            jobs.extend(self.read_many(&ids)?);
            above = from;
        }
        Ok(jobs)
    }

    /// Writes how far a conversion is.
    pub fn note_progress(&self, id: &JobId, progress: f64) -> Result<(), StoreError> {
        Ok(self
            .bucket
            .set(&Keys::of(id).progress, &to_json(&progress))?)
    }

    /// Writes how a job ended.
    pub fn settle(&self, id: &JobId, outcome: &Outcome) -> Result<(), StoreError> {
        Ok(self.bucket.set(&Keys::of(id).outcome, &to_json(outcome))?)
    }

    /// Removes what a message wrote about a job that was deleted meanwhile.
    pub fn forget(&self, id: &JobId) -> Result<(), StoreError> {
        Ok(batch::delete_many(&self.bucket, &Keys::of(id).to_array())?)
    }

    /// Reads jobs in one call and leaves out those that are gone.
    fn read_many(&self, ids: &[JobId]) -> Result<Vec<(JobId, Stored)>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<String> = ids.iter().flat_map(|id| Keys::of(id).to_array()).collect();
        let mut values = batch::get_many(&self.bucket, &keys)?
            .into_iter()
            .map(|pair| pair.map(|(_, value)| value));
        let mut jobs = Vec::with_capacity(ids.len());
        for id in ids {
            let mut next = || values.next().flatten();
            let of_job = [next(), next(), next(), next()];
            let stored = Stored::parse(of_job).map_err(|source| StoreError::Damaged {
                job: id.as_str().to_owned(),
                source,
            })?;
            jobs.extend(stored.map(|stored| (id.clone(), stored)));
        }
        Ok(jobs)
    }
}

fn to_json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our own types are representable as JSON")
}
