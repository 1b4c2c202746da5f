//! Real files in temporary directories, under the system's own events.

use std::fs;

use super::*;
use crate::manifest;

/// Longer than the system takes to tell, on a busy machine.
const WITHIN: Duration = Duration::from_secs(20);

struct Project {
    root: tempfile::TempDir,
    application: Application,
}

impl Project {
    fn path(&self, name: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn watcher(&self) -> Watcher {
        Watcher::start(&self.path("application.toml"), &self.application).unwrap()
    }
}

/// `scripted` is built by a script from all of its directory, `crated` by cargo from what its
/// dependency file says, and `ready` by nobody.
fn project() -> Project {
    let root = tempfile::tempdir().unwrap();
    let text = r#"
[application]
name = "watched"

[component.scripted]
artifact = "scripted/out/scripted.wasm"
build = { command = "make", workdir = "scripted" }

[component.crated]
artifact = "target/wasm32-wasip2/release/crated.wasm"
build = { command = "cargo build", workdir = "." }

[component.ready]
artifact = "ready/ready.wasm"
"#;
    let file = root.path().join("application.toml");
    let application = manifest::resolve(text, &file).unwrap().application;
    let project = Project { root, application };
    project.write("application.toml", text);
    project.write("scripted/main.c", "1");
    project.write("scripted/out/scripted.wasm", "1");
    project.write("Cargo.toml", "[workspace]");
    project.write("crated/Cargo.toml", "[package]");
    project.write("crated/src/lib.rs", "1");
    project.write("wit/world.wit", "1");
    project.write("other/lib.rs", "1");
    let target = "target/wasm32-wasip2/release";
    let sources = ["crated/src/lib.rs", "wit/world.wit"].map(|name| project.path(name));
    let [lib, wit] = sources.map(|path| path.display().to_string());
    project.write(
        &format!("{target}/crated.d"),
        &format!("crated.wasm: {lib} {wit}\n"),
    );
    project.write("ready/ready.wasm", "1");
    project
}

/// What is told next. It fails where nothing is.
fn next(watcher: &mut Watcher) -> (bool, Vec<String>) {
    let (stopper, over) = (watcher.stopper(), std::sync::mpsc::channel::<()>());
    let (ended, waiting) = over;
    let alarm = std::thread::spawn(move || {
        if waiting.recv_timeout(WITHIN) == Err(RecvTimeoutError::Timeout) {
            stopper.stop();
        }
    });
    let changes = watcher.next_changes().expect("a change is told in time");
    drop(ended);
    alarm.join().unwrap();
    let components = changes.components.keys().map(ToString::to_string);
    (changes.manifest, components.collect())
}

fn only(component: &str) -> (bool, Vec<String>) {
    (false, vec![component.to_owned()])
}

#[test]
fn a_saved_file_is_its_component_s() {
    let project = project();
    let mut watcher = project.watcher();
    for (file, component) in [
        ("scripted/main.c", "scripted"),
        ("crated/src/lib.rs", "crated"),
        ("wit/world.wit", "crated"),
        ("Cargo.toml", "crated"),
        ("ready/ready.wasm", "ready"),
    ] {
        project.write(file, "2");
        assert_eq!(next(&mut watcher), only(component), "{file}");
    }
    project.write("application.toml", "2");
    assert_eq!(next(&mut watcher), (true, vec![]));
}

#[test]
fn what_is_no_source_is_not_told() {
    let project = project();
    let mut watcher = project.watcher();
    for file in [
        "other/lib.rs",
        "scripted/main.c~",
        "scripted/.main.c.swp",
        "scripted/4913",
        "scripted/out/scripted.wasm",
        "scripted/target/object",
        "target/wasm32-wasip2/release/crated.d",
        "wit/other.wit",
        "README.md",
    ] {
        project.write(file, "2");
    }
    // The last one is: nothing of the others stands beside it.
    project.write("ready/ready.wasm", "2");
    assert_eq!(next(&mut watcher), only("ready"));
}

#[test]
fn new_files_and_directories_of_a_component_are_told() {
    let project = project();
    let mut watcher = project.watcher();
    project.write("crated/src/more.rs", "1");
    assert_eq!(next(&mut watcher), only("crated"));
    project.write("crated/src/deep/er/lib.rs", "1");
    assert_eq!(next(&mut watcher), only("crated"));
    project.write("crated/src/deep/er/lib.rs", "2");
    assert_eq!(next(&mut watcher), only("crated"));
}

#[test]
fn a_file_that_is_replaced_or_removed_has_changed_and_one_that_is_written_again_has_not() {
    let project = project();
    let mut watcher = project.watcher();
    let file = project.path("scripted/main.c");
    project.write("scripted/main.c.tmp", "2");
    fs::rename(project.path("scripted/main.c.tmp"), &file).unwrap();
    assert_eq!(next(&mut watcher), only("scripted"));
    fs::write(&file, "2").unwrap();
    project.write("ready/ready.wasm", "2");
    assert_eq!(next(&mut watcher), only("ready"));
    fs::remove_file(&file).unwrap();
    assert_eq!(next(&mut watcher), only("scripted"));
}

#[test]
fn several_files_that_are_saved_at_once_are_told_at_once() {
    let project = project();
    let mut watcher = project.watcher();
    project.write("scripted/main.c", "2");
    project.write("crated/src/lib.rs", "2");
    project.write("application.toml", "2");
    let both = vec!["crated".to_owned(), "scripted".to_owned()];
    assert_eq!(next(&mut watcher), (true, both));
}

#[test]
fn a_watcher_that_is_stopped_tells_nothing_more() {
    let project = project();
    let mut watcher = project.watcher();
    watcher.stopper().stop();
    assert!(watcher.next_changes().is_none());
}
