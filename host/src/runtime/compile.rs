//! Compiled code, cached on disk.
//!
//! The key is the artifact's digest and the engine's own fingerprint of its version and settings, so
//! that a restart compiles nothing and an upgrade never meets old code.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::name::Digest;

/// What can go wrong between an artifact's bytes and its compiled code.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The bytes are not a component.
    #[error("the artifact is not a WebAssembly component: {reason}")]
    NotAComponent {
        /// What they are instead, and what to do.
        reason: &'static str,
    },
    /// The engine refuses the component.
    #[error("the component does not compile")]
    Refused(#[source] wasmtime::Error),
    /// The cache directory cannot be used.
    #[error("the compile cache {} cannot be used", path.display())]
    Cache {
        /// The directory or file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// Whether code was compiled now or came from the cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Compiled now.
    Compiled,
    /// Loaded from the cache.
    Cached,
}

/// The cache: a directory that this user alone may write.
#[derive(Debug)]
pub struct CompileCache {
    dir: PathBuf,
}

impl CompileCache {
    /// Opens the cache in `dir`, which is created with mode 0700.
    ///
    /// # Errors
    ///
    /// The directory cannot be made, belongs to somebody else, or others may write to it: compiled
    /// code is run as it is, so it must be our own.
    pub fn open(dir: &Path) -> Result<Self, CompileError> {
        let error = |source| CompileError::Cache {
            path: dir.to_owned(),
            source,
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(error)?;
        let metadata = fs::metadata(dir).map_err(error)?;
        let own = tempfile::tempfile_in(dir)
            .and_then(|file| file.metadata())
            .map_err(error)?
            .uid();
        if metadata.uid() != own || metadata.permissions().mode() & 0o022 != 0 {
            let reason = "it must belong to the user who runs the host, and no one else may write \
                          to it; remove it or set its mode to 0700";
            return Err(error(io::Error::new(
                io::ErrorKind::PermissionDenied,
                reason,
            )));
        }
        Ok(Self {
            dir: dir.to_owned(),
        })
    }

    /// The component with these bytes, compiled for `engine`: from the cache, else now, which takes
    /// about a second for each megabyte on one core. Blocks.
    ///
    /// # Errors
    ///
    /// See [`CompileError`]. A damaged cache entry is compiled anew and replaced.
    pub fn component(
        &self,
        engine: &Engine,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(Component, Origin), CompileError> {
        check_is_component(bytes)?;
        let path = self.path(engine, digest);
        if path.exists() {
            match load(engine, &path) {
                Ok(component) => return Ok((component, Origin::Cached)),
                Err(error) => {
                    tracing::warn!(path = %path.display(), error = %error, "compiled code is damaged; compiling anew");
                }
            }
        }
        let code = engine
            .precompile_component(bytes)
            .map_err(CompileError::Refused)?;
        self.store(&path, &code)
            .map_err(|source| CompileError::Cache {
                path: path.clone(),
                source,
            })?;
        let component = load(engine, &path).map_err(CompileError::Refused)?;
        Ok((component, Origin::Compiled))
    }

    /// Removes what was compiled from the artifact with this digest, for any engine. Code that is in
    /// use stays mapped. Blocks.
    pub fn forget(&self, digest: Digest) {
        let prefix = format!("{digest}-");
        let Ok(entries) = fs::read_dir(&self.dir) else {
            return;
        };
        for entry in entries.flatten() {
            let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
            if let (true, Err(error)) = (ours, fs::remove_file(entry.path())) {
                tracing::warn!(path = %entry.path().display(), %error, "compiled code could not be removed");
            }
        }
    }

    fn path(&self, engine: &Engine, digest: Digest) -> PathBuf {
        let mut hasher = std::hash::DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        self.dir
            .join(format!("{digest}-{:016x}.cwasm", hasher.finish()))
    }

    /// A reader never sees half a file: it appears by its final rename.
    fn store(&self, path: &Path, code: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(code)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

/// Maps a compiled component into memory.
///
/// This is the one place that loads precompiled code. It is sound because the file is our own
/// compiler's output: only [`CompileCache::store`] writes `.cwasm` files, into a directory that
/// [`CompileCache::open`] found to belong to this user with nobody else allowed to write, and a file
/// appears whole or not at all. The engine checks its own version and settings in the header.
#[expect(
    unsafe_code,
    reason = "wasmtime cannot verify machine code; the proof is above"
)]
fn load(engine: &Engine, path: &Path) -> wasmtime::Result<Component> {
    // SAFETY: see the function's documentation.
    unsafe { Component::deserialize_file(engine, path) }
}

fn check_is_component(bytes: &[u8]) -> Result<(), CompileError> {
    let reason = match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => return Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            "it is a core module; build it for wasm32-wasip2, or wrap it with `wasm-tools component new`"
        }
        [0, b'a', b's', b'm', ..] => {
            "it has an encoding version that this host does not know; build it for wasm32-wasip2"
        }
        _ => "it does not begin with WebAssembly's magic number; check the artifact's path",
    };
    Err(CompileError::NotAComponent { reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_component_is_named() {
        let reason = |bytes: &[u8]| check_is_component(bytes).expect_err("refused").to_string();
        assert!(reason(b"\0asm\x01\0\0\0").contains("core module"));
        assert!(reason(b"#!/bin/sh").contains("magic number"));
        assert!(reason(b"").contains("magic number"));
        assert!(check_is_component(b"\0asm\x0d\0\x01\0").is_ok());
    }

    #[test]
    fn a_cache_that_others_may_write_is_refused() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).expect("chmod");
        let error = CompileCache::open(dir.path()).expect_err("refused");
        assert!(matches!(error, CompileError::Cache { .. }));
    }

    #[test]
    fn code_is_compiled_once_and_a_damaged_entry_is_replaced() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let cache = CompileCache::open(&dir.path().join("code")).expect("a cache");
        let engine = Engine::default();
        let bytes = b"\0asm\x0d\0\x01\0";
        let digest = Digest::of(bytes);
        let origin = || cache.component(&engine, digest, bytes).expect("compiles").1;
        assert_eq!(origin(), Origin::Compiled);
        assert_eq!(origin(), Origin::Cached);
        fs::write(cache.path(&engine, digest), b"damaged").expect("write");
        assert_eq!(origin(), Origin::Compiled);
        assert_eq!(origin(), Origin::Cached);
    }
}
