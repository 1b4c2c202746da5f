//! The architecture, read from the source: imports go down, and siblings do not meet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::harness::root;

/// The floor of each module of the host. What is not listed is an error, so that a new module is
/// given its place.
const FLOORS: [(&str, u8); 31] = [
    ("main", 8),
    ("cli", 7),
    ("host", 6),
    ("trigger::http", 5),
    ("trigger::stream", 5),
    ("trigger::channel", 5),
    // What both of them take, and which knows neither.
    ("trigger::stop", 0),
    ("admin", 5),
    ("toolchain", 5),
    ("export", 5),
    ("dispatch", 4),
    ("rollout", 4),
    ("revision", 3),
    ("runtime", 2),
    ("capability::blobs", 1),
    ("capability::keyvalue", 1),
    ("capability::mounts", 1),
    ("capability::streams", 1),
    ("capability::secrets", 1),
    ("capability::sqlite", 1),
    ("capability::outbound", 1),
    ("capability::channels", 1),
    // The one file that key-value and streams share; it knows neither.
    ("capability::embedded", 0),
    // So is the connection to Redis, which secrets use as well.
    ("capability::redis", 0),
    ("capability::tls", 0),
    ("routing", 1),
    ("manifest", 0),
    ("config", 0),
    ("document", 0),
    ("name", 0),
    ("telemetry", 0),
];

/// What everything may import, its own floor included: newtypes, and how files are read.
const GROUND: [&str; 2] = ["name", "document"];

/// Who may use what stands beside it on floor 0 and knows nothing of it.
const BESIDE: [(&str, &str); 1] = [("capability::redis", "config")];

/// Modules whose children stand on the floor each for itself.
const SHELVES: [&str; 2] = ["trigger", "capability"];

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The module that owns a path of segments: its name in [`FLOORS`].
fn owner(segments: &[&str]) -> Option<String> {
    let first = *segments.first()?;
    if SHELVES.contains(&first) {
        return segments.get(1).map(|second| format!("{first}::{second}"));
    }
    Some(first.to_owned())
}

fn floor(module: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(name, _)| *name == module)
        .map(|(_, floor)| *floor)
}

/// The module of a file, from its path below `src/`.
fn module_of(path: &Path) -> Vec<String> {
    let mut segments: Vec<String> = path
        .with_extension("")
        .components()
        .map(|part| part.as_os_str().to_string_lossy().into_owned())
        .collect();
    if segments.last().is_some_and(|last| last == "mod") {
        segments.pop();
    }
    segments
}

/// Every `crate::a::b` of a source text outside of comments, `crate::{a, b::c}` opened up.
fn imports(text: &str) -> BTreeSet<(String, Option<String>)> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n");
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        for path in opened(rest) {
            let mut segments = path.split("::");
            let first = segments.next().unwrap_or_default().trim().to_owned();
            found.insert((
                first,
                segments.next().map(|second| second.trim().to_owned()),
            ));
        }
    }
    found
}

/// The paths at the start of `rest`, two levels of braces opened.
fn opened(rest: &str) -> Vec<String> {
    let word = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect()
    };
    if let Some(group) = rest.strip_prefix('{') {
        return members(group)
            .iter()
            .flat_map(|member| opened(member))
            .collect();
    }
    let first = word(rest);
    match rest[first.len()..].strip_prefix("::") {
        Some(tail) if tail.starts_with('{') => members(&tail[1..])
            .iter()
            .map(|member| format!("{first}::{}", word(member)))
            .collect(),
        Some(tail) => vec![format!("{first}::{}", word(tail))],
        None => vec![first],
    }
}

/// The members of a brace group, given what follows its opening brace.
fn members(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut all = vec![String::new()];
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                all.push(String::new());
                continue;
            }
            _ => {}
        }
        all.last_mut().expect("it starts with one").push(c);
    }
    all.iter()
        .map(|member| member.trim().to_owned())
        .filter(|member| !member.is_empty())
        .collect()
}

/// What is wrong with an import of `to` by `from`, if anything is.
fn wrong(from: &str, to: &str) -> Option<String> {
    if from == to {
        return None;
    }
    let Some(own) = floor(from) else {
        return Some(format!("{from} has no floor"));
    };
    let Some(other) = floor(to) else {
        return Some(format!("{from} imports {to}, which has no floor"));
    };
    let excused = GROUND.contains(&to) || BESIDE.contains(&(from, to));
    if other < own || excused {
        return None;
    }
    Some(format!("{from} (floor {own}) imports {to} (floor {other})"))
}

#[test]
fn imports_go_to_lower_floors_only() {
    let src = root().join("host/src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 20, "the host's source is where it was");
    let mut problems = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap().to_owned();
        let segments = module_of(&relative);
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        // lib.rs only declares modules; a shelf's own file only names its children.
        if segments == ["lib"] || (segments.len() == 1 && SHELVES.contains(&segments[0])) {
            continue;
        }
        let Some(from) = owner(&segments) else {
            continue;
        };
        let text = std::fs::read_to_string(&file).unwrap();
        for (first, second) in imports(&text) {
            let path: Vec<&str> = std::iter::once(first.as_str())
                .chain(second.as_deref())
                .collect();
            let Some(to) = owner(&path) else { continue };
            if let Some(problem) = wrong(&from, &to) {
                problems.push(format!("{}: {problem}", relative.display()));
            }
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn only_the_runtime_names_wasmtime() {
    let src = root().join("host/src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let offenders: Vec<String> = files
        .iter()
        .filter(|file| !file.starts_with(src.join("runtime")))
        .filter(|file| {
            let text = std::fs::read_to_string(file).unwrap();
            let mut code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            code.any(|line| line.contains("wasmtime::") || line.contains("wasmtime_wasi"))
        })
        .map(|file| file.strip_prefix(&src).unwrap().display().to_string())
        .collect();
    assert!(offenders.is_empty(), "{offenders:?}");
}

#[test]
fn the_reading_of_imports_is_right() {
    let text = "use crate::{name::A, capability::{blobs, streams::{X, Y}}};\n\
                // crate::commented\nfn f() { crate::runtime::f(); $crate::skipped!(); }";
    let found: Vec<String> = imports(text)
        .into_iter()
        .map(|(first, second)| format!("{first}::{}", second.unwrap_or_default()))
        .collect();
    assert_eq!(
        found,
        [
            "capability::blobs",
            "capability::streams",
            "name::A",
            "runtime::f"
        ]
    );
    assert!(wrong("runtime", "dispatch").is_some());
    assert!(wrong("dispatch", "runtime").is_none());
    assert!(wrong("capability::blobs", "capability::streams").is_some());
    assert!(wrong("novelty", "name").is_some());
}
