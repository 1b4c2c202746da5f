use std::collections::BTreeSet;

use super::*;
use crate::document::TextForm;
use crate::manifest::model::{PathPattern, PathSegment};

/// A route from `[HOST ][METHOD[,METHOD]... ]PATH`; a host has a dot in it.
fn route(text: &str, component: usize) -> Route {
    let mut host = None;
    let mut methods = BTreeSet::new();
    let (before, path) = text.split_at(text.find('/').expect("a route has a path"));
    for word in before.split_whitespace() {
        if word.contains('.') {
            host = Some(word.to_owned());
        } else {
            methods = word.split(',').map(str::to_owned).collect();
        }
    }
    Route {
        host,
        methods,
        ..Route::new(
            PathPattern::parse(path).unwrap(),
            format!("c{component}").parse().unwrap(),
        )
    }
}

fn routes(texts: &[&str]) -> Vec<Route> {
    let numbered = texts.iter().enumerate();
    numbered.map(|(index, text)| route(text, index)).collect()
}

/// The index of the route that `router` finds.
fn found(router: &Router, method: &str, host: Option<&str>, path: &str) -> Option<usize> {
    match router.find(method, host, path) {
        Outcome::Found(found) => {
            assert_eq!(
                found.route.component().unwrap().as_str(),
                format!("c{}", found.index)
            );
            Some(found.index)
        }
        Outcome::NotFound | Outcome::MethodNotAllowed { .. } => None,
    }
}

#[test]
fn the_most_specific_path_wins() {
    let texts = [
        "/...",
        "/",
        "/jobs",
        "/jobs/:id",
        "/jobs/latest",
        "/jobs/:id/events",
        "/jobs/latest/...",
        "/jobs/...",
        "/static/...",
        "/static/",
        "/:any/about",
        "/a b/ü",
    ];
    for (path, expected) in [
        ("/", "/"),
        ("", "/"),
        ("/jobs", "/jobs"),
        ("/jobs/", "/jobs/..."),
        ("/jobs/1", "/jobs/:id"),
        ("/jobs/latest", "/jobs/latest"),
        ("/jobs/%6Catest", "/jobs/latest"),
        ("/jobs/Latest", "/jobs/:id"),
        ("/jobs/1/events", "/jobs/:id/events"),
        ("/jobs/latest/events", "/jobs/latest/..."),
        ("/jobs/1/events/2", "/jobs/..."),
        ("/jobs/1/", "/jobs/..."),
        ("/jobs/about", "/jobs/:id"),
        ("/other/about", "/:any/about"),
        ("/static", "/static/..."),
        ("/static/", "/static/"),
        ("/static/a/b", "/static/..."),
        ("/statics", "/..."),
        ("/jobs%2Flatest", "/..."),
        ("/jobs/a%2Fevents", "/jobs/:id"),
        ("/jobs/%2e%2e", "/jobs/:id"),
        ("/jobs/..", "/jobs/:id"),
        ("/jobs/../static/a", "/jobs/..."),
        ("/./jobs", "/..."),
        ("//jobs", "/..."),
        ("//about", "/..."),
        ("/jobs/%FF", "/jobs/:id"),
        ("/a%20b/%C3%BC", "/a b/ü"),
        ("/a b/ü", "/a b/ü"),
    ] {
        for reversed in [false, true] {
            let mut texts = texts.to_vec();
            if reversed {
                texts.reverse();
            }
            let router = Router::new(&routes(&texts));
            let index = found(&router, "GET", None, path);
            assert_eq!(index.map(|index| texts[index]), Some(expected), "{path}");
        }
    }
}

#[test]
fn what_no_pattern_matches_is_not_found() {
    let router = Router::new(&routes(&["/", "/jobs/:id", "GET /list", "/a/b"]));
    for path in [
        "/jobs",
        "/jobs/",
        "/jobs/1/2",
        "/nothing",
        "/a",
        "/a/b/",
        "*",
        "jobs/1",
        "/a%2Fb",
        "/a/./b",
    ] {
        assert_eq!(router.find("GET", None, path), Outcome::NotFound, "{path}");
    }
    assert_eq!(Router::new(&[]).find("GET", None, "/"), Outcome::NotFound);
}

#[test]
fn a_host_is_matched_before_any_host() {
    let texts = ["/a", "www.example.com /...", "[::1] /v.6", "127.0.0.1 /a"];
    let mut routes = routes(&texts[..2]);
    routes.push(Route {
        host: Some("[::1]".into()),
        ..route("/a", 2)
    });
    routes.push(route(texts[3], 3));
    let router = Router::new(&routes);
    for (host, expected) in [
        (None, 0),
        (Some("other.example.com"), 0),
        (Some(""), 0),
        (Some("www.example.com"), 1),
        (Some("WWW.Example.com:8080"), 1),
        (Some("www.example.com:"), 1),
        (Some("[::1]"), 2),
        (Some("[::1]:8080"), 2),
        (Some("[::2]:8080"), 0),
        (Some("127.0.0.1:80"), 3),
    ] {
        assert_eq!(
            found(&router, "GET", host, "/a"),
            Some(expected),
            "{host:?}"
        );
    }
    assert_eq!(router.find("GET", None, "/b"), Outcome::NotFound);
    assert_eq!(
        found(&router, "GET", Some("www.example.com"), "/b"),
        Some(1)
    );
}

#[test]
fn a_named_method_is_matched_before_any_method_and_after_the_path() {
    let router = Router::new(&routes(&[
        "/jobs/:id",
        "GET,PUT /jobs/:name",
        "DELETE /jobs/...",
        "GET /jobs/latest",
    ]));
    for (method, path, expected) in [
        ("GET", "/jobs/1", 1),
        ("PUT", "/jobs/1", 1),
        ("DELETE", "/jobs/1", 0),
        ("get", "/jobs/1", 0),
        ("GET", "/jobs/latest", 3),
        ("PUT", "/jobs/latest", 1),
        ("POST", "/jobs/latest", 0),
        ("DELETE", "/jobs", 2),
    ] {
        assert_eq!(
            found(&router, method, None, path),
            Some(expected),
            "{method} {path}"
        );
    }
}

#[test]
fn the_earlier_route_wins_a_tie() {
    let router = Router::new(&routes(&["POST,GET /:a", "GET,PUT /:b"]));
    assert_eq!(found(&router, "GET", None, "/x"), Some(0));
    assert_eq!(found(&router, "PUT", None, "/x"), Some(1));
}

#[test]
fn a_method_that_no_matching_route_serves_is_answered_with_those_that_are() {
    let router = Router::new(&routes(&[
        "PUT,GET /jobs/:id",
        "DELETE,GET /jobs/...",
        "a.test POST /jobs/...",
    ]));
    let allow = |methods: &[&str]| Outcome::MethodNotAllowed {
        allow: methods.iter().map(|method| (*method).to_owned()).collect(),
    };
    assert_eq!(
        router.find("PATCH", None, "/jobs/1"),
        allow(&["DELETE", "GET", "PUT"])
    );
    assert_eq!(
        router.find("POST", None, "/jobs"),
        allow(&["DELETE", "GET"])
    );
    let host = Some("a.test");
    assert_eq!(
        router.find("HEAD", host, "/jobs"),
        allow(&["DELETE", "GET", "POST"])
    );
    assert_eq!(found(&router, "POST", host, "/jobs"), Some(2));
    assert_eq!(found(&router, "GET", host, "/jobs"), Some(1));
    assert_eq!(router.find("PATCH", None, "/job"), Outcome::NotFound);
}

/// What the module's documentation says, read off one route at a time.
mod stated {
    use super::*;

    /// The rank of a route that matches; the smallest wins.
    type Rank = (bool, Vec<u8>, bool, usize);

    fn matches(pattern: &PathPattern, segments: &[&str]) -> bool {
        let (wanted, wildcard) = (&pattern.segments, pattern.wildcard);
        let enough = segments.len() == wanted.len() || wildcard && segments.len() > wanted.len();
        enough
            && wanted
                .iter()
                .zip(segments)
                .all(|(wanted, segment)| match wanted {
                    PathSegment::Literal(text) => text == segment,
                    PathSegment::Parameter(_) => !segment.is_empty(),
                })
    }

    fn rank(index: usize, route: &Route) -> Rank {
        let kind = |segment: &PathSegment| match segment {
            PathSegment::Literal(_) => 0,
            PathSegment::Parameter(_) => 1,
        };
        let mut kinds: Vec<u8> = route.path.segments.iter().map(kind).collect();
        kinds.push(if route.path.wildcard { 3 } else { 2 });
        (route.host.is_none(), kinds, route.methods.is_empty(), index)
    }

    pub fn found(routes: &[Route], method: &str, host: Option<&str>, path: &str) -> Option<usize> {
        let inner = path.strip_prefix('/')?;
        let segments: Vec<&str> = match inner {
            "" => Vec::new(),
            _ => inner.split('/').collect(),
        };
        let matching = routes.iter().enumerate().filter(|(_, route)| {
            route
                .host
                .as_deref()
                .is_none_or(|bound| Some(bound) == host)
                && (route.methods.is_empty() || route.methods.contains(method))
                && matches(&route.path, &segments)
        });
        let best = matching.map(|(index, route)| rank(index, route)).min();
        best.map(|(_, _, _, index)| index)
    }
}

/// A small generator (xorshift64), so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % bound
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }

    fn path(&mut self, of: &[&str]) -> String {
        let count = self.below(4);
        let segments: Vec<&str> = (0..count).map(|_| self.one(of)).collect();
        format!("/{}", segments.join("/"))
    }

    fn route(&mut self) -> String {
        let host = self.one(&["", "", "x.test ", "y.test "]);
        let methods = self.one(&["", "", "GET ", "GET,PUT ", "DELETE "]);
        let count = self.below(4);
        let mut path = String::new();
        for index in 0..count {
            let name = format!(":p{index}");
            path.push('/');
            path.push_str(self.one(&["a", "b", &name]));
        }
        let end = match (self.below(3), count) {
            (0, _) => "/...",
            (1, 1..) => "",
            _ => "/",
        };
        format!("{host}{methods}{path}{end}")
    }
}

#[test]
fn every_decision_is_the_stated_one() {
    for seed in 1..=400 {
        let mut random = Random(seed);
        let count = random.below(12);
        let texts: Vec<String> = (0..count).map(|_| random.route()).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let routes = routes(&texts);
        let router = Router::new(&routes);
        for _ in 0..100 {
            let method = random.one(&["GET", "PUT", "DELETE", "HEAD"]);
            let host = random.one(&["", "x.test", "y.test", "z.test"]);
            let host = Some(host).filter(|host| !host.is_empty());
            let path = random.path(&["a", "b", "c", "", ".."]);
            let expected = stated::found(&routes, method, host, &path);
            let actual = found(&router, method, host, &path);
            assert_eq!(
                actual, expected,
                "seed {seed}: {method} {host:?} {path} in {texts:?}"
            );
            if actual.is_none() {
                let mut served: Vec<String> = ["GET", "PUT", "DELETE", "HEAD"]
                    .into_iter()
                    .filter(|method| found(&router, method, host, &path).is_some())
                    .map(str::to_owned)
                    .collect();
                served.sort();
                let outcome = match served.is_empty() {
                    true => Outcome::NotFound,
                    false => Outcome::MethodNotAllowed { allow: served },
                };
                assert_eq!(
                    router.find(method, host, &path),
                    outcome,
                    "seed {seed}: {path}"
                );
            }
        }
    }
}
