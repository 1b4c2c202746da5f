//! The calls of the admin API: one table, from which calls are found and described.

use std::str::FromStr;

use http::Method;

use super::refusal::Refusal;
use crate::name::NameError;

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
    Streams,
    DeadLetters,
    Redrive,
    Messages,
    Publish,
    Forget,
    Document,
}

impl Operation {
    pub(super) const ALL: [Self; 17] = [
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
        Self::Streams,
        Self::DeadLetters,
        Self::Redrive,
        Self::Messages,
        Self::Publish,
        Self::Forget,
        Self::Document,
    ];

    pub(super) fn method(self) -> Method {
        match self {
            Self::Components
            | Self::Revisions
            | Self::History
            | Self::Rollout
            | Self::Events
            | Self::Streams
            | Self::DeadLetters
            | Self::Messages
            | Self::Document => Method::GET,
            Self::StoreArtifact
            | Self::Swap
            | Self::RollBack
            | Self::Apply
            | Self::Redrive
            | Self::Publish => Method::POST,
            Self::Cancel | Self::Forget => Method::DELETE,
        }
    }

    /// The path; a segment in braces stands for any one and names what it is.
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
            Self::Streams => "/v1/streams",
            Self::DeadLetters => "/v1/streams/{subject}/dead",
            Self::Redrive => "/v1/streams/{subject}/redrive",
            Self::Messages | Self::Publish => "/v1/streams/{subject}/messages",
            Self::Forget => "/v1/streams/{subject}/groups/{group}",
            Self::Document => "/v1/openapi.json",
        }
    }

    /// What its query may have.
    pub(super) fn query(self) -> &'static [&'static str] {
        match self {
            Self::StoreArtifact => &["sha256"],
            Self::History => &["component", "limit"],
            Self::Streams => &["subject"],
            Self::DeadLetters => &["group", "limit", "full"],
            Self::Messages => &["after", "limit", "full"],
            Self::Components
            | Self::Revisions
            | Self::Swap
            | Self::RollBack
            | Self::Rollout
            | Self::Events
            | Self::Cancel
            | Self::Apply
            | Self::Redrive
            | Self::Publish
            | Self::Forget
            | Self::Document => &[],
        }
    }
}

/// What stands in a path for the braces, by their names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parameters<'a>(Vec<(&'static str, &'a str)>);

impl Parameters<'_> {
    /// Reads one that the operation's path has.
    pub(super) fn read<T: FromStr<Err = NameError>>(&self, name: &str) -> Result<T, Refusal> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        let (_, text) = found.expect("a call reads what its path has");
        Ok(text.parse()?)
    }
}

/// The call that a request is, and what its path says.
pub(super) fn find<'a>(
    method: &Method,
    path: &'a str,
) -> Result<(Operation, Parameters<'a>), Refusal> {
    let mut allowed: Vec<Method> = Vec::new();
    for operation in Operation::ALL {
        let Some(parameters) = matched(operation.path(), path) else {
            continue;
        };
        let own = operation.method();
        if *method == own || (*method == Method::HEAD && own == Method::GET) {
            return Ok((operation, parameters));
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

fn matched<'a>(template: &'static str, path: &'a str) -> Option<Parameters<'a>> {
    let mut parameters = Vec::new();
    let mut segments = path.split('/');
    for expected in template.split('/') {
        let segment = segments.next()?;
        let name = expected.strip_prefix('{');
        match name.and_then(|name| name.strip_suffix('}')) {
            Some(name) if !segment.is_empty() => parameters.push((name, segment)),
            None if expected == segment => {}
            Some(_) | None => return None,
        }
    }
    segments.next().is_none().then_some(Parameters(parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(method: Method, path: &str) -> Option<(Operation, Parameters<'_>)> {
        find(&method, path).ok()
    }

    #[test]
    fn every_call_is_found_by_its_method_and_path() {
        for operation in Operation::ALL {
            let path = operation.path().replace("{component}", "hello");
            let path = path.replace("{id}", "7").replace("{subject}", "a.b");
            let path = path.replace("{group}", "worker");
            let (same, parameters) = found(operation.method(), &path).expect("it is found");
            assert_eq!(same, operation);
            assert_eq!(parameters.0.len(), operation.path().matches('{').count());
        }
        assert_eq!(
            found(Method::HEAD, "/v1/rollouts/12"),
            Some((Operation::Rollout, Parameters(vec![("id", "12")])))
        );
        let (_, parameters) =
            found(Method::DELETE, "/v1/streams/a.b/groups/worker").expect("it is found");
        let subject: crate::name::Subject = parameters.read("subject").expect("a subject");
        let group: crate::name::ComponentName = parameters.read("group").expect("a name");
        assert_eq!((subject.as_str(), group.as_str()), ("a.b", "worker"));
        let (_, parameters) = found(Method::GET, "/v1/streams/a..b/dead").expect("it is found");
        assert!(parameters.read::<crate::name::Subject>("subject").is_err());
    }

    #[test]
    fn other_paths_and_methods_are_refused() {
        for path in [
            "/v1",
            "/v1/",
            "/v1/components/",
            "/v1/streams/a//groups/worker",
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
