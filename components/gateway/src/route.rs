//! Which of the gateway's resources a path names, and which methods that resource has.
//!
//! Pure: a path in, a resource out. Paths are compared byte for byte, without decoding, so that an
//! encoded slash or dot never becomes another path. What matches nothing is answered with 404.

use crate::assets::{self, Asset};
use crate::id::JobId;

/// A public resource.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// A file of the page.
    Asset(&'static Asset),
    /// Takes a file.
    Upload,
    /// The caller's jobs.
    Jobs,
    /// One job.
    Job(JobId),
    /// One job's changes, as they happen.
    Events(JobId),
    /// A result; the job is named in the query.
    Download,
    /// What the notifier told the caller.
    Notices,
    /// A path of auth's, passed on as it is.
    Account(&'static str),
}

impl Route {
    /// Gives the resource that `path` (without its query) names.
    pub fn of(path: &str) -> Option<Self> {
        if let Some(asset) = assets::find(path) {
            return Some(Self::Asset(asset));
        }
        match path {
            "/upload" => Some(Self::Upload),
            "/jobs" => Some(Self::Jobs),
            "/download" => Some(Self::Download),
            "/notices" => Some(Self::Notices),
            "/register" => Some(Self::Account("/register")),
            "/login" => Some(Self::Account("/login")),
            "/validate" => Some(Self::Account("/validate")),
            _ => Self::of_job(path.strip_prefix("/jobs/")?),
        }
    }

    fn of_job(rest: &str) -> Option<Self> {
        let id = |text: &str| JobId::try_from(text.to_owned()).ok();
        match rest.strip_suffix("/events") {
            Some(text) => id(text).map(Self::Events),
            None => id(rest).map(Self::Job),
        }
    }

    /// The methods that this resource answers, as they stand in an `Allow` header.
    pub fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Asset(_) | Self::Jobs | Self::Download | Self::Notices => &["GET", "HEAD"],
            Self::Upload | Self::Account(_) => &["POST"],
            Self::Job(_) => &["GET", "HEAD", "DELETE"],
            Self::Events(_) => &["GET"],
        }
    }
}

/// Gives the value of the first parameter called `name`, undecoded: the values that the gateway
/// reads (identifiers and numbers) have no character that needs an escape.
pub fn query_value<'q>(query: &'q str, name: &str) -> Option<&'q str> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn every_path_of_the_application_is_found() {
        let id = JobId::try_from(ID.to_owned()).expect("a valid id");
        assert!(matches!(Route::of("/"), Some(Route::Asset(_))));
        assert!(matches!(Route::of("/app.js"), Some(Route::Asset(_))));
        assert_eq!(Route::of("/upload"), Some(Route::Upload));
        assert_eq!(Route::of("/login"), Some(Route::Account("/login")));
        assert_eq!(
            Route::of(&format!("/jobs/{ID}")),
            Some(Route::Job(id.clone()))
        );
        assert_eq!(
            Route::of(&format!("/jobs/{ID}/events")),
            Some(Route::Events(id))
        );
    }

    #[test]
    fn path_tricks_lead_nowhere() {
        for path in [
            "",
            "//",
            "/jobs/",
            "/jobs//events",
            "/jobs/../jobs",
            "/jobs/%2e%2e",
            "/jobs/0123456789ABCDEF0123456789ABCDEF",
            "/jobs/0123456789abcdef0123456789abcdef/",
            "/jobs/0123456789abcdef0123456789abcdef/events/",
            "/index.html",
            "/login/",
            "/page/app.js",
            "/%61pp.js",
        ] {
            assert_eq!(Route::of(path), None, "{path:?}");
        }
    }

    #[test]
    fn a_query_is_read_by_whole_names() {
        assert_eq!(query_value("fid=abc", "fid"), Some("abc"));
        assert_eq!(query_value("afid=x&fid=y&fid=z", "fid"), Some("y"));
        assert_eq!(query_value("fid", "fid"), None);
        assert_eq!(query_value("", "limit"), None);
    }
}
