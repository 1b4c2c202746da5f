//! The calls of the admin API: one table, from which calls are found and described.

use http::Method;

use super::refusal::Refusal;

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Components,
    Revisions,
    StoreArtifact,
    Swap,
    RollBack,
    History,
    Rollout,
    Events,
    Cancel,
    Apply,
    Document,
}

impl Operation {
    pub(super) const ALL: [Self; 11] = [
        Self::Components,
        Self::Revisions,
        Self::StoreArtifact,
        Self::Swap,
        Self::RollBack,
        Self::History,
        Self::Rollout,
        Self::Events,
        Self::Cancel,
        Self::Apply,
        Self::Document,
    ];

    pub(super) fn method(self) -> Method {
        match self {
            Self::Components
            | Self::Revisions
            | Self::History
            | Self::Rollout
            | Self::Events
            | Self::Document => Method::GET,
            Self::StoreArtifact | Self::Swap | Self::RollBack | Self::Apply => Method::POST,
            Self::Cancel => Method::DELETE,
        }
    }

    /// The path; a segment in braces stands for any one, and there is one of these at most.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Components => "/v1/components",
            Self::Revisions => "/v1/components/{component}/revisions",
            Self::StoreArtifact => "/v1/artifacts",
            Self::Swap => "/v1/components/{component}/rollouts",
            Self::RollBack => "/v1/components/{component}/rollback",
            Self::History => "/v1/rollouts",
            Self::Rollout | Self::Cancel => "/v1/rollouts/{id}",
            Self::Events => "/v1/rollouts/{id}/events",
            Self::Apply => "/v1/application",
            Self::Document => "/v1/openapi.json",
        }
    }

    /// What its query may have.
    pub(super) fn query(self) -> &'static [&'static str] {
        match self {
            Self::StoreArtifact => &["sha256"],
            Self::History => &["component", "limit"],
            Self::Components
            | Self::Revisions
            | Self::Swap
            | Self::RollBack
            | Self::Rollout
            | Self::Events
            | Self::Cancel
            | Self::Apply
            | Self::Document => &[],
        }
    }
}

/// The call that a request is, and what stands in its path for the braces; empty where there are
/// none.
pub(super) fn find<'a>(method: &Method, path: &'a str) -> Result<(Operation, &'a str), Refusal> {
    let mut allowed: Vec<Method> = Vec::new();
    for operation in Operation::ALL {
        let Some(parameter) = matched(operation.path(), path) else {
            continue;
        };
        let own = operation.method();
        if *method == own || (*method == Method::HEAD && own == Method::GET) {
            return Ok((operation, parameter));
        }
        if own == Method::GET {
            allowed.push(Method::HEAD);
        }
        allowed.push(own);
    }
    if allowed.is_empty() {
        return Err(Refusal::Path(path.to_owned()));
    }
    let allow: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    Err(Refusal::Method {
        allow: allow.join(", "),
    })
}

fn matched<'a>(template: &str, path: &'a str) -> Option<&'a str> {
    let mut parameter = "";
    let mut segments = path.split('/');
    for expected in template.split('/') {
        let segment = segments.next()?;
        if expected.starts_with('{') && !segment.is_empty() {
            parameter = segment;
        } else if expected != segment {
            return None;
        }
    }
    segments.next().is_none().then_some(parameter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Option<(Operation, &str)> {
        find(&method, path).ok()
    }

    #[test]
    fn every_call_is_found_by_its_method_and_path() {
        for operation in Operation::ALL {
            let path = operation.path().replace("{component}", "hello");
            let path = path.replace("{id}", "7");
            let (same, parameter) = found(operation.method(), &path).expect("it is found");
            assert_eq!(same, operation);
            assert_eq!(!parameter.is_empty(), operation.path().contains('{'));
        }
        assert_eq!(
            found(Method::HEAD, "/v1/rollouts/12"),
            Some((Operation::Rollout, "12"))
        );
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        for path in [
            "/v1",
            "/v1/",
            "/v1/components/",
            "/v1/components//revisions",
            "/v1/components/a/b/revisions",
            "/v1/rollouts/7/",
            "/v2/components",
        ] {
            assert!(
                matches!(find(&Method::GET, path), Err(Refusal::Path(_))),
                "{path}"
            );
        }
        let refused = find(&Method::PUT, "/v1/rollouts/7");
        assert!(
            matches!(&refused, Err(Refusal::Method { allow }) if allow == "HEAD, GET, DELETE"),
            "{refused:?}"
        );
    }
}
