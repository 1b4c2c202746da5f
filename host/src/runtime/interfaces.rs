//! Which interfaces a component may import, and what grants each.
//!
//! This table is the one in the README. An import outside of it is linked to the component of the
//! application that exports it, or refused when the application loads.

use crate::manifest::model::Grants;

/// What an interface needs before a component may import it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: it gives no access to anything outside of the instance.
    Nothing,
    /// A grant of at least one key-value label.
    KeyValue,
    /// A grant of at least one blob container.
    Blobstore,
    /// A grant of at least one subject to publish to.
    Publish,
    /// A grant of at least one SQLite database.
    Sqlite,
}

/// One accepted interface package.
#[derive(Debug, Clone, Copy)]
pub struct Accepted {
    /// Namespace and name, and the interface where others of the package need something else.
    pub package: &'static str,
    /// The versions. One that ends in `.x` is a semver track; any other is exact, as drafts are.
    pub versions: &'static [&'static str],
    /// What it needs.
    pub need: Need,
    /// What it is for, in a few words.
    pub purpose: &'static str,
}

/// Every interface package that the host provides.
pub const ACCEPTED: &[Accepted] = &[
    Accepted {
        package: "wasi:http",
        versions: &["0.2.x", "0.3.x"],
        need: Need::Nothing,
        purpose: "serve HTTP; outbound requests where outbound_http grants the host",
    },
    Accepted {
        package: "wasi:keyvalue",
        versions: &["0.2.0-draft", "0.2.0-draft2"],
        need: Need::KeyValue,
        purpose: "key-value stores: store, atomics, batch",
    },
    Accepted {
        package: "wasi:blobstore",
        versions: &["0.2.0-draft"],
        need: Need::Blobstore,
        purpose: "blob containers, streamed",
    },
    Accepted {
        package: "wasmcloud:messaging",
        versions: &["0.2.0"],
        need: Need::Publish,
        purpose: "publish messages; handle those of a subscription",
    },
    Accepted {
        package: "wasi:config",
        versions: &["0.2.0-rc.1", "0.2.0-draft-2024-09-27", "0.2.0-draft"],
        need: Need::Nothing,
        purpose: "configuration values",
    },
    Accepted {
        package: "wasi:logging",
        versions: &["0.1.0-draft"],
        need: Need::Nothing,
        purpose: "structured log lines",
    },
    Accepted {
        package: "wasmcloud:secrets",
        versions: &["0.1.0-draft"],
        need: Need::Nothing,
        purpose: "the component's secrets, revealed one by one",
    },
    Accepted {
        package: "fermyon:spin/key-value",
        versions: &["2.0.0"],
        need: Need::KeyValue,
        purpose: "key-value stores, as Spin 2 has them",
    },
    Accepted {
        package: "fermyon:spin/sqlite",
        versions: &["2.0.0"],
        need: Need::Sqlite,
        purpose: "SQLite databases, as Spin 2 has them",
    },
    Accepted {
        package: "fermyon:spin",
        versions: &["2.0.0"],
        need: Need::Nothing,
        purpose: "variables; outbound Redis and PostgreSQL; llm, mysql and mqtt answer an error",
    },
    Accepted {
        package: "spin:key-value",
        versions: &["3.0.x"],
        need: Need::KeyValue,
        purpose: "key-value stores, as Spin 4 has them",
    },
    Accepted {
        package: "spin:sqlite",
        versions: &["3.0.x", "3.1.x"],
        need: Need::Sqlite,
        purpose: "SQLite databases",
    },
    Accepted {
        package: "spin:variables",
        versions: &["3.0.x"],
        need: Need::Nothing,
        purpose: "configuration values",
    },
    Accepted {
        package: "spin:redis",
        versions: &["3.0.x"],
        need: Need::Nothing,
        purpose: "outbound Redis; handle messages of a channel or a subscription",
    },
    Accepted {
        package: "spin:postgres",
        versions: &["3.0.x", "4.0.x", "4.1.x", "4.2.x"],
        need: Need::Nothing,
        purpose: "outbound PostgreSQL",
    },
    Accepted {
        package: "spin:mysql",
        versions: &["3.0.x"],
        need: Need::Nothing,
        purpose: "linked because SDKs import it; every connection fails",
    },
    Accepted {
        package: "spin:mqtt",
        versions: &["3.0.x"],
        need: Need::Nothing,
        purpose: "linked because SDKs import it; every connection fails",
    },
    Accepted {
        package: "wasi:cli",
        versions: &["0.2.x", "0.3.x"],
        need: Need::Nothing,
        purpose: "environment variables; standard output and error become log lines",
    },
    Accepted {
        package: "wasi:clocks",
        versions: &["0.2.x", "0.3.x"],
        need: Need::Nothing,
        purpose: "time",
    },
    Accepted {
        package: "wasi:random",
        versions: &["0.2.x", "0.3.x"],
        need: Need::Nothing,
        purpose: "random numbers",
    },
    Accepted {
        package: "wasi:io",
        versions: &["0.2.x"],
        need: Need::Nothing,
        purpose: "streams and polling",
    },
    Accepted {
        package: "wasi:filesystem",
        versions: &["0.2.x", "0.3.x"],
        need: Need::Nothing,
        purpose: "linked because standard libraries import it; no directory is there",
    },
    Accepted {
        package: "wasi:sockets",
        versions: &["0.2.x", "0.3.x"],
        need: Need::Nothing,
        purpose: "linked because standard libraries import it; every address is denied",
    },
];

/// Interfaces that have types alone, which those that components export need.
const TYPES_ONLY: &[&str] = &["fermyon:spin/redis-types", "fermyon:spin/http-types"];

/// The host's answer to an import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The host provides it and the component may have it.
    Provided,
    /// The host would provide it, but nothing grants it.
    NotGranted {
        /// The line of the component's grants that would allow it.
        line: &'static str,
    },
    /// The host has the package, in other versions.
    OtherVersions {
        /// The versions that it has.
        versions: &'static [&'static str],
    },
    /// The host does not know the package.
    Unknown,
}

/// Decides about the import of `interface`, such as `wasi:keyvalue/store@0.2.0-draft`.
pub fn verdict(interface: &str, grants: &Grants) -> Verdict {
    let (path, version) = interface.split_once('@').unwrap_or((interface, ""));
    let package = path.split_once('/').map_or(path, |(package, _)| package);
    if TYPES_ONLY.contains(&interface) {
        return Verdict::Provided;
    }
    let is_meant = |accepted: &&Accepted| accepted.package == path || accepted.package == package;
    let Some(accepted) = ACCEPTED.iter().find(is_meant) else {
        return Verdict::Unknown;
    };
    if !accepted
        .versions
        .iter()
        .any(|known| is_on_track(version, known))
    {
        return Verdict::OtherVersions {
            versions: accepted.versions,
        };
    }
    let needs_publish = path.ends_with("/consumer");
    let missing = match accepted.need {
        Need::Nothing => None,
        Need::KeyValue => {
            (!grants.any.keyvalue && grants.keyvalue.is_empty() && grants.stores.is_empty())
                .then_some("keyvalue = [\"default\"]")
        }
        Need::Sqlite => grants.sqlite.is_empty().then_some("sqlite = [\"default\"]"),
        Need::Blobstore => (!grants.any.blobstore && grants.blobstore.is_empty())
            .then_some("blobstore = [\"CONTAINER\"]"),
        Need::Publish => (needs_publish && !grants.any.publish && grants.publish.is_empty())
            .then_some("publish = [\"SUBJECT\"]"),
    };
    match missing {
        None => Verdict::Provided,
        Some(_) if grants.refuse_when_called => Verdict::Provided,
        Some(line) => Verdict::NotGranted { line },
    }
}

/// Whether `version` is `known`, or on its track where that ends in `.x`.
fn is_on_track(version: &str, known: &str) -> bool {
    match known.strip_suffix('x') {
        None => version == known,
        Some(track) => version.strip_prefix(track).is_some_and(|patch| {
            !patch.is_empty() && patch.bytes().all(|byte| byte.is_ascii_digit())
        }),
    }
}

/// Whether an export serves an import: the same interface, and versions of one semver track.
pub fn serves(export: &str, import: &str) -> bool {
    if export == import {
        return true;
    }
    match (export.split_once('@'), import.split_once('@')) {
        (Some((export, exported)), Some((import, imported))) => {
            export == import && track(exported).is_some() && track(exported) == track(imported)
        }
        _ => false,
    }
}

/// The semver track of a released version: `1` for 1.4.2, `0.3` for 0.3.7. Pre-releases have none.
fn track(version: &str) -> Option<&str> {
    if version.contains(['-', '+']) {
        return None;
    }
    let (major, rest) = version.split_once('.')?;
    if major != "0" {
        return Some(major);
    }
    let (minor, _) = rest.split_once('.')?;
    (minor != "0").then(|| &version[..2 + minor.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_versions_are_a_track_and_drafts_are_exact() {
        let verdict = |interface| verdict(interface, &Grants::default());
        assert_eq!(verdict("wasi:http/types@0.2.12"), Verdict::Provided);
        assert_eq!(verdict("wasi:http/handler@0.3.0"), Verdict::Provided);
        assert!(matches!(
            verdict("wasi:http/types@0.2.0-rc-2023-11-10"),
            Verdict::OtherVersions { .. }
        ));
        assert_eq!(verdict("wasi:config/store@0.2.0-rc.1"), Verdict::Provided);
        assert!(matches!(
            verdict("wasi:config/store@0.2.0-rc.2"),
            Verdict::OtherVersions { .. }
        ));
        assert_eq!(verdict("wasi:nn/graph@0.2.0"), Verdict::Unknown);
        assert_eq!(verdict("adhoc"), Verdict::Unknown);
    }

    #[test]
    fn what_is_not_granted_names_the_line_that_would_grant_it() {
        let mut grants = Grants::default();
        let import = "wasi:keyvalue/store@0.2.0-draft";
        assert_eq!(
            verdict(import, &grants),
            Verdict::NotGranted {
                line: "keyvalue = [\"default\"]"
            }
        );
        grants.keyvalue.insert("default".parse().expect("a label"));
        assert_eq!(verdict(import, &grants), Verdict::Provided);
        assert_eq!(
            verdict("wasmcloud:messaging/types@0.2.0", &grants),
            Verdict::Provided
        );
        assert!(matches!(
            verdict("wasmcloud:messaging/consumer@0.2.0", &grants),
            Verdict::NotGranted { .. }
        ));
    }

    #[test]
    fn an_export_serves_imports_of_its_track() {
        assert!(serves("a:b/c@0.1.0", "a:b/c@0.1.4"));
        assert!(serves("a:b/c@1.0.0", "a:b/c@1.9.0"));
        assert!(serves("a:b/c", "a:b/c"));
        assert!(serves("a:b/c@0.0.1", "a:b/c@0.0.1"));
        assert!(!serves("a:b/c@0.0.1", "a:b/c@0.0.2"));
        assert!(!serves("a:b/c@0.1.0", "a:b/c@0.2.0"));
        assert!(!serves("a:b/c@1.0.0-rc.1", "a:b/c@1.0.0"));
        assert!(!serves("a:b/c@0.1.0", "a:b/d@0.1.0"));
        assert!(!serves("a:b/c@0.1.0", "a:b/c"));
    }
}
