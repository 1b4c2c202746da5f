//! What a guest that was written for Spin is told of the route that its request took, in headers.
//!
//! The headers and their values are those of Spin's HTTP trigger (its documentation, "Additional
//! request information"). What a client sends under their names is taken out.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use http::header::{HOST, HeaderName, HeaderValue};
use http::{HeaderMap, Request};

use crate::manifest::model::{PathPattern, PathSegment, ToldRoute};

const PATH_INFO: HeaderName = HeaderName::from_static("spin-path-info");
const FULL_URL: HeaderName = HeaderName::from_static("spin-full-url");
const MATCHED_ROUTE: HeaderName = HeaderName::from_static("spin-matched-route");
const COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-component-route");
const RAW_COMPONENT_ROUTE: HeaderName = HeaderName::from_static("spin-raw-component-route");
const BASE_PATH: HeaderName = HeaderName::from_static("spin-base-path");
const CLIENT_ADDR: HeaderName = HeaderName::from_static("spin-client-addr");
const FIXED: [HeaderName; 7] = [
    PATH_INFO,
    FULL_URL,
    MATCHED_ROUTE,
    COMPONENT_ROUTE,
    RAW_COMPONENT_ROUTE,
    BASE_PATH,
    CLIENT_ADDR,
];

/// What the headers begin with that give a parameter of the route.
const PATH_MATCH_PREFIX: &str = "spin-path-match-";

/// The client of a request that another component sent.
const NO_CLIENT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));

/// Tells `request` of the route `told` with this `pattern` that it took. Another component sent it
/// where there is no `client`.
pub fn tell<B>(
    request: &mut Request<B>,
    pattern: &PathPattern,
    told: &ToldRoute,
    client: Option<SocketAddr>,
) {
    let raw = told.raw.as_str();
    // What Spin calls the matched route begins with a slash, and never ends in one.
    let slash = if raw.starts_with('/') { "" } else { "/" };
    let matched = format!("{slash}{}", raw.strip_suffix('/').unwrap_or(raw));
    let prefix = raw.strip_suffix("/...").unwrap_or(raw);
    let path = request.uri().path().to_owned();
    let (parameters, rest) = captured(&path, pattern);
    let full_url = full_url(request);
    let headers = request.headers_mut();
    strip(headers);
    set(headers, PATH_INFO, rest);
    set(headers, FULL_URL, &full_url);
    set(headers, MATCHED_ROUTE, &matched);
    set(headers, COMPONENT_ROUTE, prefix);
    set(headers, RAW_COMPONENT_ROUTE, raw);
    set(headers, BASE_PATH, "/");
    set(
        headers,
        CLIENT_ADDR,
        &client.unwrap_or(NO_CLIENT).to_string(),
    );
    for (name, value) in parameters {
        let name = format!("{PATH_MATCH_PREFIX}{}", name.to_ascii_lowercase());
        if let Ok(name) = name.parse() {
            set(headers, name, value);
        }
    }
}

/// The same for a request to another component by its name: as if everything below `/` were its.
pub fn tell_chained<B>(request: &mut Request<B>) {
    let raw = "/...".to_owned();
    tell(request, &PathPattern::any(), &ToldRoute { raw }, None);
}

fn full_url<B>(request: &Request<B>) -> String {
    let uri = request.uri();
    let host = uri.authority().map(|authority| authority.as_str());
    let host = host.or_else(|| request.headers().get(HOST)?.to_str().ok());
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    format!("http://{}{target}", host.unwrap_or("localhost"))
}

fn strip(headers: &mut HeaderMap) {
    for name in FIXED {
        headers.remove(name);
    }
    let forged = |name: &&HeaderName| name.as_str().starts_with(PATH_MATCH_PREFIX);
    let forged: Vec<_> = headers.keys().filter(forged).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

/// What a path holds is visible, so that it can be a header's value; what cannot is left out.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// The parameters that `pattern` has in `path`, as they were sent, and what is left of it after the
/// pattern's segments where that ends in a wildcard.
fn captured<'a>(path: &'a str, pattern: &'a PathPattern) -> (Vec<(&'a str, &'a str)>, &'a str) {
    let mut parameters = Vec::new();
    let mut rest = path;
    for segment in &pattern.segments {
        let inner = rest.strip_prefix('/').unwrap_or(rest);
        let (text, after) = inner.split_at(inner.find('/').unwrap_or(inner.len()));
        if let PathSegment::Parameter(name) = segment {
            parameters.push((name.as_str(), text));
        }
        rest = after;
    }
    (parameters, if pattern.wildcard { rest } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::TextForm;

    /// The headers of a request to `uri` by the route `raw`, without the common part of their names.
    fn told(raw: &str, uri: &str) -> HeaderMap {
        let mut request = Request::get(uri).body(()).unwrap();
        let headers = request.headers_mut();
        headers.insert("host", "example.org:81".parse().unwrap());
        headers.insert("spin-path-match-forged", "1".parse().unwrap());
        headers.insert("spin-client-addr", "forged".parse().unwrap());
        let pattern = PathPattern::parse(raw).unwrap();
        let raw = raw.to_owned();
        let client = Some("192.0.2.1:4711".parse().unwrap());
        tell(&mut request, &pattern, &ToldRoute { raw }, client);
        request.headers().clone()
    }

    #[test]
    fn headers_say_which_route_matched_and_what_of_the_path_is_left() {
        for (raw, path, matched, component, info) in [
            ("/", "/", "", "/", ""),
            ("/...", "/", "/...", "", "/"),
            ("/...", "/a/b/", "/...", "", "/a/b/"),
            ("/foo", "/foo", "/foo", "/foo", ""),
            ("/foo", "/foo/", "/foo", "/foo", ""),
            ("/foo/...", "/foo", "/foo/...", "/foo", ""),
            ("/foo/...", "/foo/", "/foo/...", "/foo", "/"),
            ("/foo/...", "/foo/b%20c", "/foo/...", "/foo", "/b%20c"),
            ("/:a/x/...", "/1/x/y", "/:a/x/...", "/:a/x", "/y"),
        ] {
            let headers = told(raw, path);
            let of = |name: &HeaderName| headers[name].to_str().unwrap().to_owned();
            assert_eq!(of(&MATCHED_ROUTE), matched, "{raw} {path}");
            assert_eq!(of(&COMPONENT_ROUTE), component, "{raw} {path}");
            assert_eq!(of(&RAW_COMPONENT_ROUTE), raw, "{path}");
            assert_eq!(of(&PATH_INFO), info, "{raw} {path}");
            assert_eq!(of(&BASE_PATH), "/");
            assert_eq!(of(&CLIENT_ADDR), "192.0.2.1:4711");
            assert_eq!(of(&FULL_URL), format!("http://example.org:81{path}"));
        }
    }

    #[test]
    fn parameters_are_told_as_they_were_sent_and_none_is_forged() {
        let headers = told("/:userId/x/:n", "/a%2Fb/x/42?q=1");
        assert_eq!(headers["spin-path-match-userid"], "a%2Fb");
        assert_eq!(headers["spin-path-match-n"], "42");
        assert_eq!(headers[FULL_URL], "http://example.org:81/a%2Fb/x/42?q=1");
        assert!(!headers.contains_key("spin-path-match-forged"));
    }
}
