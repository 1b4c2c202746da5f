//! The same source gives the same digest wherever it is built, and no artifact says where that was.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::harness::{artifacts, guest, root, scratch};

const GUESTS: [&str; 6] = ["hello", "hello3", "misbehave", "worker", "callee", "caller"];
const COMPONENTS: [&str; 4] = ["auth", "gateway", "converter", "notifier"];

#[test]
fn no_artifact_contains_a_path_of_the_machine_that_built_it() {
    artifacts::application();
    let mut paths: Vec<PathBuf> = GUESTS.map(guest).to_vec();
    let release = root().join("target/wasm32-wasip2/release");
    paths.extend(COMPONENTS.map(|name| release.join(format!("{name}.wasm"))));
    let home = std::env::var("HOME").expect("there is a home");
    let cargo_home = std::env::var("CARGO_HOME").unwrap_or(format!("{home}/.cargo"));
    let places = [
        root().display().to_string(),
        cargo_home,
        format!("{home}/.rustup"),
        "/registry/src/index".to_owned(),
    ];
    for path in paths {
        let bytes = std::fs::read(&path).unwrap_or_else(|_| panic!("no {}", path.display()));
        for place in &places {
            let found = bytes
                .windows(place.len())
                .position(|window| window == place.as_bytes());
            if let Some(at) = found {
                let end = bytes.len().min(at + 120);
                let text = String::from_utf8_lossy(&bytes[at..end]).into_owned();
                panic!("{} contains {text:?}", path.display());
            }
        }
    }
}

#[test]
fn a_copy_of_the_source_elsewhere_builds_to_the_same_bytes() {
    let here = std::fs::read(guest("hello")).unwrap();
    let elsewhere = scratch();
    let copy = elsewhere.path().join("another directory");
    copy_sources(root(), &copy);
    let manifest = copy.join("tests/fixtures/only-hello.toml");
    let text = std::fs::read_to_string(copy.join("tests/fixtures/fixtures.toml")).unwrap();
    let end = text.find("[component.hello3]").expect("hello comes first");
    std::fs::write(&manifest, &text[..end]).unwrap();
    let mut command = artifacts::command();
    artifacts::run(command.arg("build").arg(&manifest).current_dir(&copy)).unwrap();
    let there = std::fs::read(copy.join("target/wasm32-wasip2/release/hello.wasm")).unwrap();
    assert!(
        here == there,
        "{} and {} bytes differ",
        here.len(),
        there.len()
    );
}

/// Everything but what is built, fetched or versioned.
fn copy_sources(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name();
        if ["target", ".git", ".wharf", "node_modules"]
            .iter()
            .any(|skipped| name == *skipped)
        {
            continue;
        }
        let target = to.join(&name);
        if entry.file_type().unwrap().is_dir() {
            copy_sources(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_build_that_fails_says_which_component_and_how() {
    let manifest = crate::harness::Manifest::new(
        "[component.broken]\nartifact = \"broken.wasm\"\n\
         [component.broken.build]\ncommand = \"echo the-build-went-wrong >&2; exit 7\"\n",
    );
    let output = artifacts::command()
        .arg("build")
        .arg(manifest.path())
        .output()
        .unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("broken"), "{text}");
    assert!(text.contains("the-build-went-wrong"), "{text}");
    assert!(text.contains('7'), "{text}");
}

#[test]
fn a_second_build_rebuilds_nothing() {
    let path = guest("hello");
    let written = std::fs::metadata(&path).unwrap().modified().unwrap();
    let mut command: Command = artifacts::command();
    artifacts::run(command.args(["build", "tests/fixtures/fixtures.toml"])).unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().modified().unwrap(),
        written
    );
}
