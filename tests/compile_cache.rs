//! Compiled code is kept by digest: a second start compiles nothing, and damaged or foreign code is
//! never run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::harness::{Launch, Manifest};

/// Every file below `dir` that was compiled for this host, with when it was written.
fn compiled(dir: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    let Ok(entries) = std::fs::read_dir(dir) else {
        return found;
    };
    for entry in entries.flatten() {
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(compiled(&entry.path()));
        } else if is_compiled(&entry.path()) {
            found.insert(entry.path(), metadata.modified().unwrap());
        }
    }
    found
}

/// Precompiled code is an ELF file, perhaps behind a header of the cache's own.
fn is_compiled(path: &Path) -> bool {
    let bytes = std::fs::read(path).unwrap_or_default();
    bytes[..bytes.len().min(4096)]
        .windows(4)
        .any(|window| window == b"\x7fELF")
}

fn manifest() -> Manifest {
    Manifest::new(
        "[component.hello]\nartifact = \"{hello.wasm}\"\n\
         [component.hello3]\nartifact = \"{hello3.wasm}\"\n\
         [[route]]\npath = \"/...\"\ncomponent = \"hello\"\n\
         [[route]]\npath = \"/...\"\nhost = \"hello3\"\ncomponent = \"hello3\"\n",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_compiles_nothing() {
    let host = Launch::of(&manifest()).start().await;
    host.client().get("/").await.expect(200);
    let state = host.state().clone();
    host.stop().await;
    let first = compiled(state.path());
    assert_eq!(first.len(), 2, "one file per component: {first:?}");
    let host = Launch::of(&manifest()).state(&state).start().await;
    host.client().get("/").await.expect(200);
    host.stop().await;
    assert_eq!(
        compiled(state.path()),
        first,
        "nothing was compiled or rewritten"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_code_is_compiled_again_and_never_run() {
    let host = Launch::of(&manifest()).start().await;
    let state = host.state().clone();
    host.stop().await;
    for path in compiled(state.path()).keys() {
        let mut bytes = std::fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        std::fs::write(path, bytes).unwrap();
    }
    let host = Launch::of(&manifest()).state(&state).start().await;
    assert_eq!(host.client().get("/").await.expect(200).text(), "hello");
    host.stop().await;
    for path in compiled(state.path()).keys() {
        std::fs::write(path, b"\x7fELF and then nothing").unwrap();
    }
    let host = Launch::of(&manifest()).state(&state).start().await;
    assert_eq!(host.client().get("/").await.expect(200).text(), "hello");
}
