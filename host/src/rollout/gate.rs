//! The gate: what a candidate must be before it gets any work.
//!
//! Types are compared one by one, on the compiled components; where they differ, the difference of
//! the two worlds is shown as WIT, because that is what a person wrote.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use similar::TextDiff;
use tokio::time::Instant;

use super::candidate::CandidateError;
use crate::manifest::model::{Application, Component, Health};
use crate::name::ComponentName;
use crate::revision::Registry;
use crate::runtime::{
    Compiled, Exports, HTTP_EXPORTS, Loaded, MESSAGE_EXPORTS, Work, wasi_body::WasiBody, whole_wit,
};

/// Lines of WIT around a difference: enough to see the interface's name.
const DIFF_CONTEXT_LINES: usize = 3;

/// Bytes of a health answer that are read: whoever sends more does not answer a health request.
const HEALTH_BODY_BYTES_MAX: usize = 64 * 1024;

/// What the active revisions of all components but `except` export.
pub fn exports_of_others(registry: &Registry, except: &ComponentName) -> Exports {
    let mut exports = Exports::default();
    for component in registry.components() {
        if let (Some(traffic), true) = (registry.traffic(&component), component != *except) {
            traffic.active.loaded().add_exports(&mut exports);
        }
    }
    exports
}

/// Exports that the application's routes and subscriptions need, or a health request, and that
/// `loaded` does not have.
pub fn check_bindings(
    application: &Application,
    settings: &Component,
    loaded: &Loaded,
) -> Vec<CandidateError> {
    let name = &settings.name;
    let mut problems = Vec::new();
    let mut missing = |export, binding| {
        problems.push(CandidateError::Export {
            component: name.clone(),
            export,
            binding,
        });
    };
    let routed = application
        .routes
        .iter()
        .any(|route| route.component() == Some(name));
    if loaded.http.is_none() && (routed || settings.health.is_some()) {
        let binding = if routed {
            "its route"
        } else {
            "its health request"
        };
        missing(HTTP_EXPORTS, binding.to_owned());
    }
    for subscription in &application.subscriptions {
        if subscription.component == *name && loaded.messages.is_none() {
            let binding = format!("its subscription to {}", subscription.subject);
            missing(MESSAGE_EXPORTS, binding);
        }
    }
    for channel in &application.channels {
        if channel.component == *name && loaded.messages.is_none() {
            missing(MESSAGE_EXPORTS, format!("its channel {}", channel.channel));
        }
    }
    for wildcard in &application.wildcards {
        if wildcard.component == *name && loaded.messages.is_none() {
            let binding = format!("its subscription to {}", wildcard.pattern);
            missing(MESSAGE_EXPORTS, binding);
        }
    }
    problems
}

/// Calls that would fail: of every living revision of another component into the candidate, and of
/// the candidate into another component's candidate.
pub fn check_calls(
    registry: &Registry,
    name: &ComponentName,
    loaded: &Loaded,
) -> Vec<CandidateError> {
    let mut problems = Vec::new();
    let world = loaded.world();
    for caller in registry.components() {
        if caller == *name {
            continue;
        }
        for revision in registry.living(&caller) {
            for problem in revision.loaded().missing_in(name, &world) {
                problems.push(CandidateError::Call {
                    caller: caller.clone(),
                    callee: name.clone(),
                    import: problem.import,
                    reason: problem.reason,
                });
            }
        }
    }
    for callee in loaded.callees() {
        let traffic = registry.traffic(callee);
        let candidate = traffic
            .as_ref()
            .and_then(|traffic| traffic.candidate.as_ref());
        let Some((candidate, _)) = candidate else {
            continue;
        };
        for problem in loaded.missing_in(callee, &candidate.loaded().world()) {
            problems.push(CandidateError::Call {
                caller: name.clone(),
                callee: callee.clone(),
                import: problem.import,
                reason: format!("{} (in its canary)", problem.reason),
            });
        }
    }
    dedup(problems)
}

/// Several revisions of one caller have mostly the same problem.
fn dedup(problems: Vec<CandidateError>) -> Vec<CandidateError> {
    let mut seen = std::collections::BTreeSet::new();
    let is_new = |problem: &CandidateError| seen.insert(problem.to_string());
    problems.into_iter().filter(is_new).collect()
}

/// How two artifacts' worlds differ, as a unified diff of their WIT; empty where they do not.
pub fn world_diff(old: &[u8], new: &[u8]) -> String {
    let text =
        |bytes: &[u8]| whole_wit(bytes).unwrap_or_else(|error| format!("// no WIT: {error}\n"));
    let (old, new) = (text(old), text(new));
    if old == new {
        return String::new();
    }
    TextDiff::from_lines(&old, &new)
        .unified_diff()
        .context_radius(DIFF_CONTEXT_LINES)
        .header("current", "candidate")
        .to_string()
}

/// Instantiates the candidate once within its limits, and has it answer its health request.
///
/// # Errors
///
/// [`CandidateError::Instantiate`], [`CandidateError::Health`] and [`CandidateError::Unhealthy`].
pub async fn prewarm(
    settings: &Component,
    loaded: &Loaded,
    work: Work,
) -> Result<Option<http::StatusCode>, CandidateError> {
    loaded
        .prewarm(work.clone())
        .await
        .map_err(CandidateError::Instantiate)?;
    match (&settings.health, &loaded.http) {
        (Some(health), Some(export)) => {
            let request = health_request(&settings.name, health);
            let shown = || health.to_string();
            let handled = export.handle(request, work, (), Instant::now()).await;
            let (response, _) = handled.map_err(|source| {
                let request = shown();
                CandidateError::Health { request, source }
            })?;
            let (head, body) = response.into_parts();
            // Read, so that the component can finish; what it says is not looked at.
            let _ = Limited::new(body, HEALTH_BODY_BYTES_MAX).collect().await;
            if head.status.is_success() {
                Ok(Some(head.status))
            } else {
                let (request, status) = (shown(), head.status);
                Err(CandidateError::Unhealthy { request, status })
            }
        }
        (Some(_), None) | (None, _) => Ok(None),
    }
}

fn health_request(component: &ComponentName, health: &Health) -> Request<WasiBody> {
    let nothing = Empty::<Bytes>::new().map_err(|never| match never {});
    Request::builder()
        .method(health.method.as_str())
        .uri(format!("http://{component}.internal{}", health.path))
        .header(http::header::HOST, format!("{component}.internal"))
        .body(nothing.boxed_unsync())
        .expect("the manifest's method and path are valid")
}

/// What is said of a candidate's code.
pub fn origin(compiled: &Compiled) -> &'static str {
    match compiled.origin {
        crate::runtime::Origin::Cached => "from the cache",
        crate::runtime::Origin::Compiled => "compiled",
    }
}
