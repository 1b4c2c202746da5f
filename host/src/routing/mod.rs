//! Which route serves a request: pure matching, request facts in, decision out.
//!
//! Among the routes that match a request's host, path and method, the most specific one serves it:
//!
//! 1. one that names the host before one for any host,
//! 2. by path, from its first segment on: exact text before a parameter before a wildcard, so that
//!    the longest prefix wins,
//! 3. one that names the method before one for any method,
//! 4. the earlier one in the manifest.
//!
//! Paths are compared segment by segment after percent-decoding, so that `%2F` is a character of its
//! segment and never a separator. Nothing is normalised: `.`, `..` and empty segments are segments
//! like others. A parameter matches any segment that is not empty. `HEAD` and `OPTIONS` are methods
//! like others.
//!
//! It knows nothing of connections, revisions or components beyond their names.

mod path;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use crate::manifest::model::Route;
use tree::{Target, Tree};

/// Decides which route serves a request.
#[derive(Debug, Default)]
pub struct Router {
    by_host: HashMap<String, Tree>,
    any_host: Tree,
    routes: Vec<Arc<Route>>,
}

/// What a router decides about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This route serves it.
    Found(RouteMatch),
    /// No route matches its host and path.
    NotFound,
    /// Routes match its host and path, and none of them its method.
    MethodNotAllowed {
        /// The methods that would be served, sorted: the answer's `Allow` header (RFC 9110, section
        /// 15.5.6).
        allow: Vec<String>,
    },
}

/// The route that serves a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// Its index in the application's routes.
    pub index: usize,
    /// The route.
    pub route: Arc<Route>,
}

impl Router {
    /// A router for `routes`, in the manifest's order.
    pub fn new(routes: &[Route]) -> Self {
        let mut router = Self::default();
        for (index, route) in routes.iter().enumerate() {
            let tree = match &route.host {
                Some(host) => router.by_host.entry(host.clone()).or_default(),
                None => &mut router.any_host,
            };
            tree.insert(&route.path, Target::new(index, &route.methods));
            router.routes.push(Arc::new(route.clone()));
        }
        router
    }

    /// Decides on a request with `method`, to `host` (as its `Host` header or authority has it, with
    /// or without port, in any case) and `path` (as it was sent, without the query).
    pub fn find(&self, method: &str, host: Option<&str>, path: &str) -> Outcome {
        let bound = self.bound_to(host);
        let trees = || bound.into_iter().chain([&self.any_host]);
        if let Some(index) = trees().find_map(|tree| tree.find(method, path)) {
            let route = self.routes[index].clone();
            return Outcome::Found(RouteMatch { index, route });
        }
        let mut allow = Vec::new();
        trees().for_each(|tree| tree.allowed(path, &mut allow));
        if allow.is_empty() {
            return Outcome::NotFound;
        }
        allow.sort_unstable();
        allow.dedup();
        Outcome::MethodNotAllowed { allow }
    }

    /// The routes that name `host`.
    fn bound_to(&self, host: Option<&str>) -> Option<&Tree> {
        if self.by_host.is_empty() {
            return None;
        }
        let host = without_port(host?);
        if host.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.by_host.get(&host.to_ascii_lowercase());
        }
        self.by_host.get(host)
    }
}

/// `host` without its port; the colons of a bracketed IPv6 address are its own.
fn without_port(host: &str) -> &str {
    let after_address = host.rfind(']').map_or(0, |at| at + 1);
    let colon = host[after_address..].find(':');
    colon.map_or(host, |colon| &host[..after_address + colon])
}
