//! Writes components to begin with: source, build command and manifest entry, which build and run as
//! they are.
//!
//! The texts are in `templates/`; interface definitions are those of `wit/`. What a template's
//! build command needs beside a compiler, the command itself brings into the component's directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Component as Part, Path, PathBuf};

use crate::manifest::{self, Problems};
use crate::name::ComponentName;

/// What a template's manifest is called where it has one of its own.
const MANIFEST: &str = "wharf.toml";

/// What to begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Template {
    /// Answers HTTP requests, in Rust.
    HttpRust,
    /// Publishes and handles messages, in Rust.
    MessagesRust,
    /// Answers HTTP requests, in JavaScript.
    HttpJs,
    /// Answers HTTP requests, in Python.
    HttpPython,
    /// Two components, one of which calls the other through an interface, in Rust.
    TypedCallRust,
}

/// A component was not written.
#[derive(Debug, thiserror::Error)]
pub enum NewError {
    /// Nothing is overwritten.
    #[error("{0} is there already")]
    Exists(PathBuf),
    /// Languages ask more of a name than Wharf does.
    #[error("{0} begins with a digit, which a package's name must not")]
    Digit(ComponentName),
    /// The manifest would not be valid with it.
    #[error("the manifest would be wrong with it:\n{0}")]
    Manifest(Problems),
    /// A file cannot be read or written.
    #[error("{path}: cannot be read or written")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
}

/// What was written.
#[derive(Debug)]
pub struct Written {
    /// The component's files.
    pub files: Vec<PathBuf>,
    /// The manifest that has it.
    pub manifest: PathBuf,
}

/// Writes a component `name` into the directory of its name below `parent`, and its entry into
/// `manifest`, which is a new one in that directory where none is given.
///
/// # Errors
///
/// Something of it is there, or cannot be written. An invalid manifest leaves nothing behind.
pub fn new(
    name: &ComponentName,
    template: Template,
    parent: &Path,
    manifest: Option<&Path>,
) -> Result<Written, NewError> {
    if name.as_str().starts_with(|c: char| c.is_ascii_digit()) {
        return Err(NewError::Digit(name.clone()));
    }
    let directory = parent.join(name.as_str());
    if directory.exists() {
        return Err(NewError::Exists(directory));
    }
    let (path, before) = match manifest {
        Some(path) => (path.to_owned(), read(path)?),
        None => {
            let head = format!("[application]\nname = \"{name}\"\n");
            (directory.join(MANIFEST), head)
        }
    };
    let below = match manifest {
        Some(path) => relative(&directory, path.parent().unwrap_or(Path::new("")))?,
        None => PathBuf::new(),
    };
    let words = words(name, &below, manifest.is_some());
    let files = template.files();
    let entry = filled(template.manifest(), &words);
    let text = format!("{}\n{entry}", before.trim_end());
    // Before anything is written, so that a name that is taken leaves everything as it was.
    manifest::resolve(&text, &path).map_err(NewError::Manifest)?;

    let mut written = Vec::new();
    for (file, parts) in files {
        let text: String = parts.iter().map(|part| filled(part, &words)).collect();
        let file = directory.join(filled(file, &words));
        write(&file, &text)?;
        written.push(file);
    }
    write(&path, &text)?;
    Ok(Written {
        files: written,
        manifest: path,
    })
}

/// What stands for what in the templates.
fn words(name: &ComponentName, below: &Path, shared: bool) -> BTreeMap<&'static str, String> {
    let below = below.display().to_string();
    let (at, dir) = match below.as_str() {
        "" => (String::new(), ".".to_owned()),
        below => (format!("{below}/"), below.to_owned()),
    };
    // Beside others it has a part of the paths, alone it has all of them.
    let route = if shared {
        format!("/{name}/...")
    } else {
        "/...".to_owned()
    };
    BTreeMap::from([
        ("{{name}}", name.to_string()),
        ("{{snake}}", name.as_str().replace('-', "_")),
        ("{{at}}", at),
        ("{{dir}}", dir),
        ("{{route}}", route),
    ])
}

fn filled(text: &str, words: &BTreeMap<&'static str, String>) -> String {
    let fill = |text: String, (word, value): (&&str, &String)| text.replace(word, value);
    words.iter().fold(text.to_owned(), fill)
}

/// `path` as it is named in `directory`; `path` need not be there yet, but what is above it is.
fn relative(path: &Path, directory: &Path) -> Result<PathBuf, NewError> {
    let canonical = |path: &Path| {
        let path = if path == Path::new("") {
            Path::new(".")
        } else {
            path
        };
        path.canonicalize().map_err(|source| NewError::Io {
            path: path.to_owned(),
            source,
        })
    };
    let name = path.file_name().unwrap_or_default();
    let path = canonical(path.parent().unwrap_or(Path::new("")))?.join(name);
    let directory = canonical(directory)?;
    let shared = path
        .components()
        .zip(directory.components())
        .take_while(|(a, b)| a == b)
        .count();
    let up = directory.components().skip(shared).map(|_| Part::ParentDir);
    Ok(up.chain(path.components().skip(shared)).collect())
}

fn read(path: &Path) -> Result<String, NewError> {
    fs::read_to_string(path).map_err(|source| NewError::Io {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, text: &str) -> Result<(), NewError> {
    let written = fs::create_dir_all(path.parent().unwrap_or(Path::new(".")));
    let written = written.and_then(|()| fs::write(path, text));
    written.map_err(|source| NewError::Io {
        path: path.to_owned(),
        source,
    })
}

/// A file by its path, and the texts that it is made of.
type File = (&'static str, &'static [&'static str]);

macro_rules! template {
    ($name:literal) => {
        include_str!(concat!("templates/", $name, ".template"))
    };
}

macro_rules! wit {
    ($deps:literal: $($file:literal)*) => {
        [$((
            concat!("wit/deps/", $file),
            &[include_str!(concat!("../../../wit/", $deps, "/", $file))] as &[&str],
        )),*]
    };
}

const RUST_IGNORED: File = (".gitignore", &[template!("rust.gitignore")]);

const OTHER_IGNORED: File = (".gitignore", &[template!("other.gitignore")]);

const HTTP_0_2: &[File] = &wit! {
    "deps":
    "cli/command.wit" "cli/environment.wit" "cli/exit.wit" "cli/imports.wit" "cli/run.wit"
    "cli/stdio.wit" "cli/terminal.wit"
    "clocks/monotonic-clock.wit" "clocks/timezone.wit" "clocks/wall-clock.wit" "clocks/world.wit"
    "filesystem/preopens.wit" "filesystem/types.wit" "filesystem/world.wit"
    "http/handler.wit" "http/proxy.wit" "http/types.wit"
    "io/error.wit" "io/poll.wit" "io/streams.wit" "io/world.wit"
    "random/insecure-seed.wit" "random/insecure.wit" "random/random.wit" "random/world.wit"
    "sockets/instance-network.wit" "sockets/ip-name-lookup.wit" "sockets/network.wit"
    "sockets/tcp-create-socket.wit" "sockets/tcp.wit" "sockets/udp-create-socket.wit"
    "sockets/udp.wit" "sockets/world.wit"
};

const HTTP_0_3: &[File] = &wit! {
    "deps-0.3":
    "cli/cli.wit" "clocks/clocks.wit" "filesystem/filesystem.wit" "http/http.wit"
    "random/random.wit" "sockets/sockets.wit"
};

const MESSAGES: &[File] = &wit! {
    "deps":
    "keyvalue/atomic.wit" "keyvalue/batch.wit" "keyvalue/store.wit" "keyvalue/watch.wit"
    "keyvalue/world.wit" "messaging/messaging.wit"
};

impl Template {
    fn manifest(self) -> &'static str {
        match self {
            Self::HttpRust => template!("http-rust/manifest.toml"),
            Self::MessagesRust => template!("messages-rust/manifest.toml"),
            Self::HttpJs => template!("http-js/manifest.toml"),
            Self::HttpPython => template!("http-python/manifest.toml"),
            Self::TypedCallRust => template!("typed-call-rust/manifest.toml"),
        }
    }

    fn files(self) -> Vec<File> {
        let (own, shared): (&[File], &[File]) = match self {
            Self::HttpRust => (
                &[
                    RUST_IGNORED,
                    ("Cargo.toml", &[template!("http-rust/Cargo.toml")]),
                    (
                        "src/lib.rs",
                        &[template!("http-rust/lib.rs"), template!("respond.rs")],
                    ),
                ],
                &[],
            ),
            Self::MessagesRust => (
                &[
                    RUST_IGNORED,
                    ("Cargo.toml", &[template!("messages-rust/Cargo.toml")]),
                    (
                        "src/lib.rs",
                        &[template!("messages-rust/lib.rs"), template!("respond.rs")],
                    ),
                    ("wit/world.wit", &[template!("messages-rust/world.wit")]),
                ],
                MESSAGES,
            ),
            Self::TypedCallRust => (
                &[
                    RUST_IGNORED,
                    ("Cargo.toml", &[template!("typed-call-rust/Cargo.toml")]),
                    (
                        "front/Cargo.toml",
                        &[template!("typed-call-rust/front.toml")],
                    ),
                    (
                        "front/src/lib.rs",
                        &[
                            template!("typed-call-rust/front.rs"),
                            template!("respond.rs"),
                        ],
                    ),
                    (
                        "greeter/Cargo.toml",
                        &[template!("typed-call-rust/greeter.toml")],
                    ),
                    (
                        "greeter/src/lib.rs",
                        &[template!("typed-call-rust/greeter.rs")],
                    ),
                    (
                        "wit/greetings.wit",
                        &[template!("typed-call-rust/greetings.wit")],
                    ),
                ],
                &[],
            ),
            Self::HttpJs => (
                &[
                    OTHER_IGNORED,
                    ("package.json", &[template!("http-js/package.json")]),
                    ("app.js", &[template!("http-js/app.js")]),
                    ("wit/world.wit", &[template!("http-js/world.wit")]),
                ],
                HTTP_0_3,
            ),
            Self::HttpPython => (
                &[
                    OTHER_IGNORED,
                    (
                        "requirements.txt",
                        &[template!("http-python/requirements.txt")],
                    ),
                    ("app.py", &[template!("http-python/app.py")]),
                    ("wit/world.wit", &[template!("http-python/world.wit")]),
                ],
                HTTP_0_2,
            ),
        };
        own.iter().chain(shared).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Template; 5] = [
        Template::HttpRust,
        Template::MessagesRust,
        Template::HttpJs,
        Template::HttpPython,
        Template::TypedCallRust,
    ];

    #[test]
    fn every_template_is_whole_alone_and_beside_others() {
        let scratch = tempfile::tempdir().unwrap();
        let shared = scratch.path().join("config/shared.toml");
        fs::create_dir(shared.parent().unwrap()).unwrap();
        let head = "[application]\nname = \"shared\"\n[component.other]\nartifact = \"a.wasm\"\n\
                    [[route]]\npath = \"/...\"\ncomponent = \"other\"\n";
        fs::write(&shared, head).unwrap();
        for (index, template) in ALL.into_iter().enumerate() {
            let name: ComponentName = format!("alone-{index}").parse().unwrap();
            let written = new(&name, template, scratch.path(), None).unwrap();
            for file in &written.files {
                let text = fs::read_to_string(file).unwrap();
                assert!(!text.contains("{{"), "{}", file.display());
            }
            let loaded = manifest::load(&written.manifest).unwrap();
            let component = &loaded.application.components[&name];
            assert!(
                component
                    .artifact
                    .path
                    .starts_with(scratch.path().join(name.as_str()))
            );

            let name: ComponentName = format!("shared-{index}").parse().unwrap();
            new(&name, template, scratch.path(), Some(&shared)).unwrap();
            let loaded = manifest::load(&shared).unwrap();
            let build = loaded.application.components[&name].build.as_ref();
            let workdir = build.unwrap().workdir.canonicalize().unwrap();
            let expected = scratch.path().canonicalize().unwrap().join(name.as_str());
            assert_eq!(workdir, expected);
        }
        assert!(fs::read_to_string(&shared).unwrap().starts_with(head));
    }

    #[test]
    fn nothing_is_overwritten_and_a_taken_name_leaves_nothing_behind() {
        let scratch = tempfile::tempdir().unwrap();
        let manifest = scratch.path().join("app.toml");
        let text = "[application]\nname = \"a\"\n[component.taken]\nartifact = \"a.wasm\"\n";
        fs::write(&manifest, text).unwrap();
        let taken: ComponentName = "taken".parse().unwrap();
        let error = new(&taken, Template::HttpJs, scratch.path(), Some(&manifest)).unwrap_err();
        assert!(matches!(error, NewError::Manifest(_)), "{error}");
        assert!(!scratch.path().join("taken").exists());
        assert_eq!(fs::read_to_string(&manifest).unwrap(), text);
        fs::create_dir(scratch.path().join("taken")).unwrap();
        let error = new(&taken, Template::HttpJs, scratch.path(), None).unwrap_err();
        assert!(matches!(error, NewError::Exists(_)), "{error}");
        let digit: ComponentName = "1st".parse().unwrap();
        let error = new(&digit, Template::HttpRust, scratch.path(), None).unwrap_err();
        assert!(matches!(error, NewError::Digit(_)), "{error}");
    }
}
