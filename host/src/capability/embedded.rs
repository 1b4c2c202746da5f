//! The embedded store: one redb file under the state directory that key-value and streams share.
//!
//! ```text
//! callers --write()--> queue --> writer thread: everything that waits, one transaction, one commit
//!    ^                                                                         |
//!    \------------------------- answers, once it is durable -------------------/
//! ```
//!
//! A commit costs an fsync whatever its size, so the writer commits groups: the more callers wait,
//! the more each commit carries. It knows nothing of what it writes; a refused operation changes
//! nothing, so its neighbours in the group stand. After a storage error nothing is written any more
//! (redb requires a reopen, and the schedules in memory may be ahead of the file): restart the host.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use redb::{Database, DatabaseError, ReadTransaction, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

/// The database file in the state directory.
const FILE_NAME: &str = "wharf.redb";

/// Memory for database pages. The working set (unsettled messages, recent jobs) is a few megabytes;
/// what falls out is still in the operating system's page cache.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// Most operations in one commit. At some 20 µs each (50,000 messages published in a second by 2,048
/// tasks, on 2 busy cores) a group stays near 20 ms, which is what a caller that comes just too late
/// waits on top of its own commit.
const GROUP_OPERATIONS_MAX: usize = 1024;

/// Most KiB that wait for the writer: twice the largest batch, so that one never blocks for ever.
/// An operation counts as at least 1 KiB, which also bounds their number.
const QUEUE_KIB_MAX: u32 = 128 * 1024;

/// Why the embedded store could not be opened, or did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EmbeddedError {
    /// Another process has the state directory.
    #[error("{} is in use by another host: stop it, or give this one another state directory", path.display())]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// The directory cannot be made or written to.
    #[error("cannot create the state directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The file is there and cannot be used.
    #[error("cannot open the embedded store {}", path.display())]
    Open {
        /// The database file.
        path: PathBuf,
        /// What the database said.
        source: Arc<redb::Error>,
    },
    /// Reading or writing failed. After a failed write the store has to be opened again.
    #[error("the embedded store failed")]
    Storage(#[source] Arc<redb::Error>),
    /// The writer ended before it answered.
    #[error("the embedded store was closed")]
    Closed,
}

impl<E: Into<redb::Error>> From<E> for EmbeddedError {
    fn from(error: E) -> Self {
        Self::Storage(Arc::new(error.into()))
    }
}

/// What an operation did to the transaction, so that a group of pure refusals needs no commit.
pub(crate) enum Applied<T> {
    /// It wrote.
    Changed(T),
    /// It only looked.
    Unchanged(T),
}

/// Why an operation gave no result.
pub(crate) enum Failure<E> {
    /// Its conditions were not met. It has written nothing.
    Refused(E),
    /// The store failed; the whole group fails with it.
    Storage(redb::Error),
}

impl<E, S: Into<redb::Error>> From<S> for Failure<E> {
    fn from(error: S) -> Self {
        Self::Storage(error.into())
    }
}

/// Runs `open`, which opens tables, and says whether it created one. An open of what is there already
/// then needs no commit, which is a start without an fsync.
pub(crate) fn creating<T>(
    transaction: &WriteTransaction,
    open: impl FnOnce() -> Result<T, redb::Error>,
) -> Result<(T, bool), redb::Error> {
    let before = transaction.list_tables()?.count();
    let opened = open()?;
    Ok((opened, transaction.list_tables()?.count() > before))
}

/// What [`Embedded::write`] runs gives back.
pub(crate) type Outcome<T, E> = Result<Applied<T>, Failure<E>>;

/// The open store. Dropping it finishes what was queued (within one or two commits), ends the writer
/// thread and gives up the lock.
#[derive(Debug)]
pub struct Embedded {
    database: Arc<Database>,
    queue: Option<mpsc::UnboundedSender<Box<dyn Job>>>,
    room: Arc<Semaphore>,
    failed: Arc<OnceLock<EmbeddedError>>,
    writer: Option<JoinHandle<()>>,
}

impl Embedded {
    /// Opens the store in `dir`, which is created where it is missing. It blocks while redb repairs
    /// what a killed host left (some 2 s for each GB, measured on a busy machine with 2 cores); nothing that was acknowledged is lost.
    pub fn open(dir: &Path) -> Result<Arc<Self>, EmbeddedError> {
        std::fs::create_dir_all(dir).map_err(|source| EmbeddedError::Directory {
            path: dir.to_owned(),
            source: Arc::new(source),
        })?;
        let path = dir.join(FILE_NAME);
        let database = match Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create(&path)
        {
            Ok(database) => Arc::new(database),
            Err(DatabaseError::DatabaseAlreadyOpen) => return Err(EmbeddedError::Locked { path }),
            Err(error) => {
                return Err(EmbeddedError::Open {
                    path,
                    source: Arc::new(error.into()),
                });
            }
        };
        let (queue, jobs) = mpsc::unbounded_channel();
        let failed = Arc::new(OnceLock::new());
        let writer = std::thread::Builder::new()
            .name("embedded-writer".to_owned())
            .spawn({
                let (database, failed) = (database.clone(), failed.clone());
                move || write_groups(&database, jobs, &failed)
            })
            .map_err(redb::Error::Io)?;
        Ok(Arc::new(Self {
            database,
            queue: Some(queue),
            room: Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize)),
            failed,
            writer: Some(writer),
        }))
    }

    /// Why no more writes are taken, if a write failed: this host is not ready until it is restarted.
    pub fn failure(&self) -> Option<&EmbeddedError> {
        self.failed.get()
    }

    /// Begins a snapshot of everything that was answered before. Keep it short: it holds on to every
    /// page that is replaced meanwhile.
    pub(crate) fn read(&self) -> Result<ReadTransaction, EmbeddedError> {
        use redb::ReadableDatabase as _;
        Ok(self.database.begin_read()?)
    }

    /// Runs `apply` on the writer thread in the next group and gives its result once that is durable.
    /// `bytes` is what it holds in memory. Dropped while it still queues, it is not run; dropped
    /// later, it is done as a whole.
    pub(crate) async fn write<T, E, F>(
        &self,
        bytes: usize,
        apply: F,
    ) -> Result<Result<T, E>, EmbeddedError>
    where
        T: Send + 'static,
        E: Send + 'static,
        F: FnOnce(&WriteTransaction) -> Outcome<T, E> + Send + 'static,
    {
        let kib = u32::try_from(bytes / 1024)
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let room = self
            .room
            .clone()
            .acquire_many_owned(kib.min(QUEUE_KIB_MAX))
            .await;
        let room = room.map_err(|_| EmbeddedError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let job = Write {
            apply: Some(apply),
            result: None,
            reply,
            _room: room,
        };
        let queue = self.queue.as_ref().ok_or(EmbeddedError::Closed)?;
        queue
            .send(Box::new(job))
            .map_err(|_| EmbeddedError::Closed)?;
        answer.await.map_err(|_| EmbeddedError::Closed)?
    }

    /// A way to queue what nobody waits for, which does not keep the store open.
    pub(crate) fn afterthoughts(&self) -> Afterthoughts {
        let queue = self
            .queue
            .as_ref()
            .expect("the queue is there until the store is dropped");
        Afterthoughts(queue.downgrade())
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the embedded store's writer panicked");
        }
    }
}

/// Queues operations from a `Drop`, where nothing can wait.
#[derive(Debug, Clone)]
pub(crate) struct Afterthoughts(mpsc::WeakUnboundedSender<Box<dyn Job>>);

impl Afterthoughts {
    /// Queues `apply`; lost if the store is closed or fails. Only for what opening again also mends.
    pub(crate) fn write<F>(&self, apply: F)
    where
        F: FnOnce(&WriteTransaction) -> Outcome<(), ()> + Send + 'static,
    {
        if let Some(queue) = self.0.upgrade() {
            // A send fails only when the writer has ended, and then the store is closed.
            let _ = queue.send(Box::new(Afterthought(Some(apply))));
        }
    }
}

/// One queued operation.
trait Job: Send {
    /// Runs it in the group's transaction; says whether it wrote.
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<bool, redb::Error>;
    /// Answers its caller.
    fn answer(self: Box<Self>, committed: Result<(), EmbeddedError>);
}

struct Write<T, E, F> {
    apply: Option<F>,
    result: Option<Result<T, E>>,
    reply: oneshot::Sender<Result<Result<T, E>, EmbeddedError>>,
    _room: OwnedSemaphorePermit,
}

impl<T, E, F> Job for Write<T, E, F>
where
    T: Send,
    E: Send,
    F: FnOnce(&WriteTransaction) -> Outcome<T, E> + Send,
{
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<bool, redb::Error> {
        let Some(apply) = self.apply.take_if(|_| !self.reply.is_closed()) else {
            return Ok(false);
        };
        let (result, changed) = match apply(transaction) {
            Ok(Applied::Changed(value)) => (Ok(value), true),
            Ok(Applied::Unchanged(value)) => (Ok(value), false),
            Err(Failure::Refused(refusal)) => (Err(refusal), false),
            Err(Failure::Storage(error)) => return Err(error),
        };
        self.result = Some(result);
        Ok(changed)
    }

    fn answer(self: Box<Self>, committed: Result<(), EmbeddedError>) {
        let answer = match (committed, self.result) {
            (Err(error), _) => Err(error),
            (Ok(()), Some(result)) => Ok(result),
            (Ok(()), None) => Err(EmbeddedError::Closed),
        };
        // A caller that is gone needs no answer; what the answer holds undoes itself when dropped.
        let _ = self.reply.send(answer);
    }
}

struct Afterthought<F>(Option<F>);

impl<F: FnOnce(&WriteTransaction) -> Outcome<(), ()> + Send> Job for Afterthought<F> {
    fn apply(&mut self, transaction: &WriteTransaction) -> Result<bool, redb::Error> {
        match self.0.take().map(|apply| apply(transaction)) {
            Some(Ok(Applied::Changed(()))) => Ok(true),
            Some(Ok(Applied::Unchanged(())) | Err(Failure::Refused(()))) | None => Ok(false),
            Some(Err(Failure::Storage(error))) => Err(error),
        }
    }

    fn answer(self: Box<Self>, _: Result<(), EmbeddedError>) {}
}

/// The writer thread: ends when the store is dropped and the queue is empty.
fn write_groups(
    database: &Database,
    mut jobs: mpsc::UnboundedReceiver<Box<dyn Job>>,
    failed: &OnceLock<EmbeddedError>,
) {
    while let Some(first) = jobs.blocking_recv() {
        let mut group = vec![first];
        while group.len() < GROUP_OPERATIONS_MAX
            && let Ok(job) = jobs.try_recv()
        {
            group.push(job);
        }
        if failed.get().is_none()
            && let Err(error) = commit(database, &mut group)
        {
            tracing::error!(%error, "the embedded store failed and takes no more writes");
            // This thread alone sets it, once.
            let _ = failed.set(error.into());
        }
        for job in group {
            job.answer(failed.get().cloned().map_or(Ok(()), Err));
        }
    }
}

fn commit(database: &Database, group: &mut [Box<dyn Job>]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    let mut changed = false;
    for job in group {
        changed |= job.apply(&transaction)?;
    }
    if changed {
        transaction.commit()?;
    } else {
        transaction.abort()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::TableDefinition;

    const NUMBERS: TableDefinition<u32, u32> = TableDefinition::new("numbers");

    fn put(key: u32) -> impl FnOnce(&WriteTransaction) -> Outcome<(), &'static str> + Send {
        move |transaction| {
            transaction.open_table(NUMBERS)?.insert(key, key)?;
            Ok(Applied::Changed(()))
        }
    }

    fn has(store: &Embedded, key: u32) -> bool {
        let table = store.read().unwrap().open_table(NUMBERS).unwrap();
        table.get(key).unwrap().is_some()
    }

    #[tokio::test]
    async fn a_second_host_on_the_same_directory_is_told_so() {
        let dir = tempfile::tempdir().unwrap();
        let first = Embedded::open(dir.path()).unwrap();
        assert!(matches!(
            Embedded::open(dir.path()),
            Err(EmbeddedError::Locked { .. })
        ));
        drop(first);
        Embedded::open(dir.path()).unwrap();
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_made_and_a_file_that_is_no_store_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "text").unwrap();
        let error = Embedded::open(&dir.path().join("file")).unwrap_err();
        assert!(
            matches!(error, EmbeddedError::Directory { .. }),
            "{error:?}"
        );
        std::fs::write(dir.path().join(FILE_NAME), "text").unwrap();
        let error = Embedded::open(dir.path()).unwrap_err();
        assert!(matches!(error, EmbeddedError::Open { .. }), "{error:?}");
    }

    #[tokio::test]
    async fn a_refusal_leaves_its_neighbours_in_the_group() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path()).unwrap();
        let refuse = |_: &WriteTransaction| Err::<Applied<()>, _>(Failure::Refused("no"));
        let (one, two, three) = tokio::join!(
            store.write(0, put(1)),
            store.write(0, refuse),
            store.write(0, put(3))
        );
        assert_eq!(
            (one.unwrap(), two.unwrap(), three.unwrap()),
            (Ok(()), Err("no"), Ok(()))
        );
        assert!(has(&store, 1) && has(&store, 3));
    }

    #[tokio::test]
    async fn a_storage_error_fails_the_group_and_every_later_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path()).unwrap();
        store.write(0, put(1)).await.unwrap().unwrap();
        assert!(store.failure().is_none());
        let fail = |_: &WriteTransaction| -> Outcome<(), ()> {
            Err(redb::Error::Corrupted("on purpose".to_owned()).into())
        };
        assert!(matches!(
            store.write(0, fail).await,
            Err(EmbeddedError::Storage(_))
        ));
        assert!(matches!(
            store.write(0, put(2)).await,
            Err(EmbeddedError::Storage(_))
        ));
        assert!(has(&store, 1) && !has(&store, 2));
        assert!(store.failure().is_some());
    }

    #[tokio::test]
    async fn what_was_queued_is_written_before_the_store_closes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path()).unwrap();
        let later = store.afterthoughts();
        later.write(|transaction| {
            transaction.open_table(NUMBERS)?.insert(7, 7)?;
            Ok(Applied::Changed(()))
        });
        drop(store);
        later.write(|_| unreachable!("the store is closed"));
        assert!(has(&Embedded::open(dir.path()).unwrap(), 7));
    }

    #[tokio::test]
    async fn a_writer_that_panics_is_an_error_to_its_callers() {
        let dir = tempfile::tempdir().unwrap();
        let store = Embedded::open(dir.path()).unwrap();
        let panic = |_: &WriteTransaction| -> Outcome<(), ()> { panic!("on purpose") };
        assert!(matches!(
            store.write(0, panic).await,
            Err(EmbeddedError::Closed)
        ));
        assert!(matches!(
            store.write(0, put(1)).await,
            Err(EmbeddedError::Closed)
        ));
    }
}
