//! Notices which components a developer has worked on.
//!
//! ```text
//! file system events -> those of sources -> until it is quiet -> Changes
//! ```
//!
//! It errs towards noticing: whether a build is needed is for [`super::needs_build`] to say. It
//! refuses to know what follows from a change. Everything blocks: it is for a thread of its own.

mod sources;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::manifest::model::Application;
use crate::name::{ComponentName, Digest};
use sources::Sources;

/// Saving is over when nothing has happened for this long: editors write a file in several steps, and
/// save several files at once.
const QUIET: Duration = Duration::from_millis(100);

/// A change is told after this long even if files go on changing, as under a tool that never rests.
const UNREST_MAX: Duration = Duration::from_secs(2);

/// Events that wait to be read, during a build say. When there are more, the system tells that it has
/// dropped some, and everything counts as changed.
const EVENTS_MAX: usize = 4096;

/// Directories that are watched: half of what a user may watch by default on systems of some years
/// ago (fs.inotify.max_user_watches).
const DIRECTORIES_MAX: usize = 4096;

/// Why nothing can be watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The system gives no means to watch.
    #[error("file system events are not to be had")]
    Start(#[source] notify::Error),
    /// A directory cannot be watched.
    #[error("the directory {} cannot be watched", path.display())]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        source: notify::Error,
    },
    /// The directory of the manifest is not there.
    #[error("the manifest's directory cannot be found")]
    Manifest(#[source] std::io::Error),
    /// There are too many directories.
    #[error("there are more than {DIRECTORIES_MAX} directories of sources")]
    TooMany,
}

/// What has changed.
#[derive(Debug)]
pub struct Changes {
    /// When the first of it was noticed.
    pub since: Instant,
    /// The manifest.
    pub manifest: bool,
    /// Components, each with a file of its that changed; none where that is not known.
    pub components: BTreeMap<ComponentName, Option<PathBuf>>,
}

enum Signal {
    Event(notify::Result<notify::Event>),
    Stop,
}

/// Ends a watcher's wait.
#[derive(Clone)]
pub struct Stopper(SyncSender<Signal>);

impl Stopper {
    /// Ends the wait that goes on, or the next one. Where as many events wait as may, no wait goes
    /// on: whoever stops it looks for itself after the changes that these are.
    pub fn stop(&self) {
        let _ = self.0.try_send(Signal::Stop);
    }
}

/// Watches the sources of an application's components, and its manifest.
pub struct Watcher {
    notify: RecommendedWatcher,
    signals: Receiver<Signal>,
    sender: SyncSender<Signal>,
    manifest: PathBuf,
    sources: Sources,
    /// The directories that are watched, each by itself, so that none which holds no source is.
    watched: BTreeSet<PathBuf>,
    /// What files held when they were last seen to change. A build that writes the same into a file
    /// every time, and a touch, are no changes.
    seen: HashMap<PathBuf, Option<Digest>>,
}

impl Watcher {
    /// Begins to watch.
    ///
    /// # Errors
    ///
    /// See [`WatchError`].
    pub fn start(manifest: &Path, application: &Application) -> Result<Self, WatchError> {
        let (sender, signals) = sync_channel(EVENTS_MAX);
        let events = sender.clone();
        let notify = notify::recommended_watcher(move |event| {
            // The watcher may be gone already.
            let _ = events.send(Signal::Event(event));
        });
        let manifest = std::path::absolute(manifest).map_err(WatchError::Manifest)?;
        let directory = manifest.parent().unwrap_or(Path::new("/"));
        let directory = directory.canonicalize().map_err(WatchError::Manifest)?;
        let manifest = directory.join(manifest.file_name().unwrap_or_default());
        let mut watcher = Self {
            notify: notify.map_err(WatchError::Start)?,
            signals,
            sender,
            manifest,
            sources: Sources::default(),
            watched: BTreeSet::new(),
            seen: HashMap::new(),
        };
        watcher.watch(&directory)?;
        watcher.follow(application)?;
        Ok(watcher)
    }

    /// What ends its wait.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.sender.clone())
    }

    /// Looks again where the sources of the application's components are: after a build, and for
    /// another manifest.
    ///
    /// # Errors
    ///
    /// See [`WatchError`]. What was watched before goes on to be.
    pub fn follow(&mut self, application: &Application) -> Result<(), WatchError> {
        self.sources = Sources::of(application);
        for directory in self.sources.directories(DIRECTORIES_MAX) {
            self.watch(&directory)?;
        }
        Ok(())
    }

    fn watch(&mut self, directory: &Path) -> Result<(), WatchError> {
        if self.watched.contains(directory) {
            return Ok(());
        }
        if self.watched.len() >= DIRECTORIES_MAX {
            return Err(WatchError::TooMany);
        }
        match self.notify.watch(directory, RecursiveMode::NonRecursive) {
            Ok(()) => {
                self.watched.insert(directory.to_owned());
                Ok(())
            }
            // It was there a moment ago.
            Err(_) if !directory.is_dir() => Ok(()),
            Err(source) => Err(WatchError::Directory {
                path: directory.to_owned(),
                source,
            }),
        }
    }

    /// Waits for something to change, and then until it is quiet. `None` once it was stopped.
    pub fn next_changes(&mut self) -> Option<Changes> {
        loop {
            let first = self.signals.recv().ok()?;
            let mut changes = Changes {
                since: Instant::now(),
                manifest: false,
                components: BTreeMap::new(),
            };
            let mut paths = BTreeSet::new();
            self.take(first, &mut paths, &mut changes)?;
            while changes.since.elapsed() < UNREST_MAX {
                match self.signals.recv_timeout(QUIET) {
                    Ok(signal) => self.take(signal, &mut paths, &mut changes)?,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return None,
                }
            }
            self.sort(paths, &mut changes);
            if changes.manifest || !changes.components.is_empty() {
                return Some(changes);
            }
        }
    }

    /// `None` when it is told to stop.
    fn take(
        &mut self,
        signal: Signal,
        paths: &mut BTreeSet<PathBuf>,
        changes: &mut Changes,
    ) -> Option<()> {
        let event = match signal {
            Signal::Stop => return None,
            Signal::Event(Ok(event)) => event,
            Signal::Event(Err(error)) => {
                tracing::warn!(%error, "a file system event is lost");
                return Some(());
            }
        };
        if event.need_rescan() {
            let all = self.sources.components();
            changes.components.extend(all.map(|name| (name, None)));
            changes.manifest = true;
        }
        let is_change = match event.kind {
            EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) => true,
            EventKind::Any | EventKind::Other | EventKind::Access(_) => false,
        };
        let gone = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(RenameMode::From))
        );
        for path in event.paths {
            if gone {
                // The system watches what a name stood for, and another may get the name.
                self.forget_below(&path);
            }
            if is_change {
                paths.insert(path);
            }
        }
        Some(())
    }

    fn forget_below(&mut self, path: &Path) {
        let below = |directory: &&PathBuf| directory.starts_with(path);
        let below: Vec<PathBuf> = self.watched.iter().filter(below).cloned().collect();
        for directory in below {
            // It is gone, and its watch mostly with it.
            let _ = self.notify.unwatch(&directory);
            self.watched.remove(&directory);
        }
    }

    /// Finds out whose files they are.
    fn sort(&mut self, paths: BTreeSet<PathBuf>, changes: &mut Changes) {
        for path in paths {
            // What components see of files is for the manifest to say.
            let is_manifest = path == self.manifest || self.sources.is_mounted(&path);
            let owners = self.sources.owners(&path);
            if (!is_manifest && owners.is_empty()) || !self.is_new(&path) {
                continue;
            }
            if path.is_dir() {
                for directory in sources::directories_below(&path, DIRECTORIES_MAX) {
                    if let Err(error) = self.watch(&directory) {
                        tracing::warn!(%error, "a new directory is not watched");
                    }
                }
            }
            changes.manifest |= is_manifest;
            for owner in owners {
                changes
                    .components
                    .entry(owner)
                    .or_insert(Some(path.clone()));
            }
        }
    }

    /// Whether its content is another than when it was last asked for.
    fn is_new(&mut self, path: &Path) -> bool {
        let now = std::fs::read(path).ok().map(|bytes| Digest::of(&bytes));
        let before = self.seen.insert(path.to_owned(), now);
        path.is_dir() || before != Some(now)
    }
}

#[cfg(test)]
mod tests;
