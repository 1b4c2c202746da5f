//! Tests of freshness, on real files below a temporary directory.

use super::*;
use crate::manifest::model::Artifact;

struct Project {
    directory: tempfile::TempDir,
    component: Component,
}

impl Project {
    fn new(command: &str, artifact: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let build = Build {
            command: command.to_owned(),
            workdir: root.clone(),
            c_toolchain: false,
        };
        let component = Component {
            build: Some(build),
            ..Component::new("auth".parse().unwrap(), Artifact::file(root.join(artifact)))
        };
        Self {
            directory,
            component,
        }
    }

    /// A cargo project that has been built.
    fn cargo() -> Self {
        let project = Self::new(
            "cargo build --release",
            "target/wasm32-wasip2/release/auth.wasm",
        );
        project.write_earlier("Cargo.toml", "[workspace]");
        project.write_earlier("Cargo.lock", "1");
        project.write_earlier("auth/Cargo.toml", "[package]");
        project.write_earlier("auth/src/lib.rs", "//");
        project.write_earlier("wit/with space.wit", "//");
        project.built(|| {
            let root = project.root();
            project.write("target/wasm32-wasip2/release/auth.wasm", "wasm");
            let line = format!(
                "{0}/a.wasm: {0}/auth/src/lib.rs {0}/wit/with\\ space.wit {0}/target/out/x.rs\n",
                root.display()
            );
            project.write("target/wasm32-wasip2/release/auth.d", &line);
        });
        project
    }

    fn root(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a file as if it had been done some time ago.
    fn write_earlier(&self, path: &str, text: &str) {
        self.write(path, text);
        let file = fs::File::options()
            .write(true)
            .open(self.root().join(path))
            .unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600))
            .unwrap();
    }

    /// Does what a build does around `command`.
    fn built(&self, command: impl FnOnce()) {
        let build = self.component.build.as_ref().unwrap();
        let before = Before::look(&self.component, build);
        command();
        before.stamp(&self.component, build).unwrap();
    }

    fn is_fresh(&self) -> bool {
        !needs_build(&self.component)
    }
}

#[test]
fn a_built_component_is_fresh_until_something_that_went_in_changes() {
    for path in [
        "auth/src/lib.rs",
        "wit/with space.wit",
        "Cargo.lock",
        "Cargo.toml",
        "auth/Cargo.toml",
    ] {
        let project = Project::cargo();
        assert!(project.is_fresh(), "{path}");
        project.write(path, "changed");
        assert!(!project.is_fresh(), "{path}");
    }
}

#[test]
fn a_file_that_goes_back_to_an_older_time_is_a_change() {
    let project = Project::cargo();
    let file = fs::File::options()
        .write(true)
        .open(project.root().join("auth/src/lib.rs"))
        .unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000_000_000))
        .unwrap();
    assert!(!project.is_fresh());
}

#[test]
fn a_file_that_vanishes_or_appears_among_the_settings_is_a_change() {
    let project = Project::cargo();
    fs::remove_file(project.root().join("auth/src/lib.rs")).unwrap();
    assert!(!project.is_fresh());
    let project = Project::cargo();
    project.write(".cargo/config.toml", "[build]");
    assert!(!project.is_fresh());
}

#[test]
fn another_command_or_artifact_is_a_change() {
    let mut project = Project::cargo();
    project
        .component
        .build
        .as_mut()
        .unwrap()
        .command
        .push_str(" --locked");
    assert!(!project.is_fresh());
    let project = Project::cargo();
    project.write("target/wasm32-wasip2/release/auth.wasm", "by hand");
    assert!(!project.is_fresh());
}

#[test]
fn what_changes_during_the_build_leaves_no_stamp() {
    let project = Project::cargo();
    project.built(|| project.write("auth/src/lib.rs", "edited meanwhile"));
    assert!(!project.is_fresh());
}

#[test]
fn without_a_build_command_nothing_is_built() {
    let mut project = Project::new("", "app.wasm");
    project.component.build = None;
    assert!(project.is_fresh());
}

#[test]
fn another_commands_files_count_unless_the_build_made_them() {
    let project = Project::new("componentize-py componentize app -o app.wasm", "app.wasm");
    project.write_earlier("app.py", "1");
    let build = || {
        project.write("app.wasm", "wasm");
        project.write("cache/x.pyc", "generated again each time");
    };
    project.built(build);
    assert!(project.is_fresh());
    project.built(build);
    assert!(
        project.is_fresh(),
        "what the build makes anew is not an input"
    );
    project.write("wit/new.wit", "//");
    assert!(!project.is_fresh());
    project.built(build);
    project.write("app.py", "22");
    assert!(!project.is_fresh());
}

#[test]
fn a_dependency_file_may_hold_spaces() {
    let files = dependency_file("/t/a.wasm: /s/a\\ b.rs /s/c.rs\n");
    assert_eq!(
        files,
        [PathBuf::from("/s/a b.rs"), PathBuf::from("/s/c.rs")]
    );
    assert!(dependency_file("").is_empty());
}
