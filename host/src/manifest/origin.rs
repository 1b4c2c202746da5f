//! What an artifact is made from, and where the file lies that is made of it.
//!
//! Nothing is fetched here: [`crate::toolchain`] makes the file before anything reads it.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};

use oci_client::{ParseError, Reference};

use super::model::{Artifact, Origin, Source};
use crate::name::Digest;

/// What an OCI reference begins with where it stands beside paths and URLs.
const OCI_SCHEME: &str = "oci://";

impl Source {
    /// Reads `written`: `oci://REFERENCE`, an `http` or `https` URL, or else a path, which is resolved
    /// against `directory`.
    pub fn parse(written: &str, directory: &Path) -> Self {
        match Self::remote(written) {
            Some(remote) => remote,
            None => Self::Path(directory.join(written)),
        }
    }

    /// What is wrong with a URL or a reference, in a clause; what can be found is known when it is
    /// fetched.
    pub fn wrong(&self) -> Option<String> {
        match self {
            Self::Path(_) => None,
            Self::Url(url) => match url.parse::<http::Uri>() {
                Ok(uri) if uri.authority().is_some() => None,
                Ok(_) => Some("names no host".to_owned()),
                Err(error) => Some(format!("is not a URL: {error}")),
            },
            Self::Oci(reference) => parse_reference(reference)
                .err()
                .map(|why| format!("is not an OCI reference: {why}")),
        }
    }

    /// The same without paths.
    pub fn remote(written: &str) -> Option<Self> {
        if let Some(reference) = written.strip_prefix(OCI_SCHEME) {
            return Some(Self::Oci(reference.to_owned()));
        }
        let is_url = ["https://", "http://"].map(|scheme| written.starts_with(scheme));
        is_url
            .contains(&true)
            .then(|| Self::Url(written.to_owned()))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Url(url) => f.write_str(url),
            Self::Oci(reference) => write!(f, "{OCI_SCHEME}{reference}"),
        }
    }
}

/// Reads an OCI reference, with or without `oci://` before it.
///
/// # Errors
///
/// It is not one, and why.
pub fn parse_reference(text: &str) -> Result<Reference, String> {
    let bare = text.strip_prefix(OCI_SCHEME).unwrap_or(text);
    bare.parse().map_err(|error: ParseError| error.to_string())
}

impl Origin {
    /// `source` alone.
    pub fn of(source: Source) -> Self {
        Self {
            source,
            sha256: None,
            dependencies: Vec::new(),
        }
    }
}

impl Artifact {
    /// The artifact that is made from `origin`: a file in the cache.
    pub fn from_origin(origin: Origin) -> Self {
        Self {
            origin: Some(origin.clone()),
            ..Self::file(cached(&origin))
        }
    }

    /// The file that a build makes: the artifact itself, or the one that the artifact is made from.
    pub fn built(&self) -> &Path {
        match &self.origin {
            Some(Origin {
                source: Source::Path(path),
                ..
            }) => path,
            Some(_) | None => &self.path,
        }
    }
}

/// The file that is made from `origin`: `artifacts/<sha256 of the origin>.wasm` below
/// [`cache_dir`]. Relative paths in it count from where the process runs.
pub fn cached(origin: &Origin) -> PathBuf {
    let mut origin = origin.clone();
    let dependencies = origin.dependencies.iter_mut().map(|d| &mut d.source);
    for source in dependencies.chain([&mut origin.source]) {
        if let Source::Path(path) = source
            && let Ok(absolute) = std::path::absolute(&path)
        {
            *path = absolute;
        }
    }
    let text = serde_json::to_string(&origin).expect("an origin has a form in JSON");
    let digest = Digest::of(text.as_bytes());
    artifacts_dir().join(format!("{digest}.wasm"))
}

/// Where artifacts lie that are made from what is elsewhere.
pub fn artifacts_dir() -> PathBuf {
    cache_dir().join("artifacts")
}

/// Wharf's part of the user's cache: what lies there can be had again.
/// <https://specifications.freedesktop.org/basedir-spec/latest/>
pub fn cache_dir() -> PathBuf {
    let named = std::env::var_os("XDG_CACHE_HOME").filter(|dir| dir != OsStr::new(""));
    let cache = named.map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::home_dir().unwrap_or_default();
        home.join(".cache")
    });
    cache.join("wharf")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::model::Dependency;

    #[test]
    fn a_source_is_told_by_its_scheme() {
        let parse = |text| Source::parse(text, Path::new("/app"));
        assert_eq!(parse("a/b.wasm"), Source::Path("/app/a/b.wasm".into()));
        assert_eq!(parse("/b.wasm"), Source::Path("/b.wasm".into()));
        let url = "https://example.com/b.wasm";
        assert_eq!(parse(url), Source::Url(url.to_owned()));
        let oci = parse("oci://ghcr.io/a/b:1");
        assert_eq!(oci, Source::Oci("ghcr.io/a/b:1".to_owned()));
        assert_eq!(oci.to_string(), "oci://ghcr.io/a/b:1");
    }

    #[test]
    fn what_cannot_be_fetched_is_known_before() {
        let wrong = |text: &str| Source::remote(text).and_then(|source| source.wrong());
        let pinned = format!("oci://127.0.0.1:5000/a/b@sha256:{}", "0".repeat(64));
        assert_eq!(wrong("https://example.com/a.wasm"), None);
        assert_eq!(wrong(&pinned), None);
        assert!(wrong("https://a b").is_some_and(|why| why.contains("not a URL")));
        assert!(wrong("oci://A B").is_some_and(|why| why.contains("not an OCI reference")));
    }

    #[test]
    fn whatever_an_origin_says_gives_another_file() {
        let origin = Origin::of(Source::Oci("a/b:1".to_owned()));
        let mut pinned = origin.clone();
        pinned.sha256 = Some(Digest::of(b"a"));
        let mut composed = origin.clone();
        composed.dependencies = vec![Dependency {
            import: "a:b/c".to_owned(),
            source: Source::Path("c.wasm".into()),
            sha256: None,
            export: None,
        }];
        let files = [&origin, &pinned, &composed].map(cached);
        assert_ne!(files[0], files[1]);
        assert_ne!(files[0], files[2]);
        assert_eq!(files[0], cached(&origin));
        assert!(files[0].starts_with(artifacts_dir()));
        composed.dependencies[0].source =
            Source::Path(std::env::current_dir().unwrap().join("c.wasm"));
        assert_eq!(files[2], cached(&composed));
    }

    #[test]
    fn a_build_makes_what_the_artifact_is_made_from() {
        let made = Artifact::from_origin(Origin::of(Source::Path("a.wasm".into())));
        assert_eq!(made.built(), Path::new("a.wasm"));
        assert_ne!(made.path, made.built());
        let file = Artifact::file("b.wasm".into());
        assert_eq!(file.built(), file.path);
    }
}
