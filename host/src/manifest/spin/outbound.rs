//! Where a component's connections may go, as Spin writes it:
//! `scheme://host[:port]`, with `*` for any of the three.

use crate::document::Wrong;
use crate::manifest::SPIN_INTERNAL_DOMAIN;
use crate::manifest::forms::canonical_host;
use crate::manifest::model::{HostPattern, Network, OutboundHost, Ports, Scheme};

/// Reads one of `allowed_outbound_hosts`.
pub(super) fn parse(text: &str) -> Result<OutboundHost, Wrong> {
    let written = text.trim();
    let Some((scheme, rest)) = written.split_once("://") else {
        let what = format!("{text:?} has no scheme");
        let fix = match written {
            "" | "*" | ":" | "?" => "write \"*://*:*\" to allow everything".to_owned(),
            "insecure:allow-all" => "write \"*://*:*\" instead".to_owned(),
            _ => format!("write \"https://{written}\", or the scheme of what is meant"),
        };
        return Err(Wrong::new(what, fix));
    };
    let scheme = self::scheme(text, scheme)?;
    let (host, port) = split(rest);
    Ok(OutboundHost {
        port: self::port(text, port, &scheme)?,
        host: self::host(text, host)?,
        scheme,
    })
}

/// Reads one of Spin 1's `allowed_http_hosts`: a host with or without scheme and port, whose HTTP and
/// HTTPS are meant.
pub(super) fn parse_http(text: &str) -> Result<Vec<OutboundHost>, Wrong> {
    if text.trim() == "insecure:allow-all" {
        return ["http://*:*", "https://*:*"]
            .map(parse)
            .into_iter()
            .collect();
    }
    if text.contains("://") {
        return Ok(vec![parse(text)?]);
    }
    ["http", "https"]
        .map(|scheme| parse(&format!("{scheme}://{}", text.trim())))
        .into_iter()
        .collect()
}

/// The host and the port, which a colon after the last bracket separates, without a slash at the end.
fn split(rest: &str) -> (&str, Option<&str>) {
    let after_address = rest.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match rest[after_address..].rfind(':') {
        Some(colon) => {
            let colon = after_address + colon;
            (&rest[..colon], Some(&rest[colon + 1..]))
        }
        None => (rest, None),
    };
    let bare = |text: &'_ str| text.len() - usize::from(text.ends_with('/'));
    (
        &host[..bare(host)],
        port.map(|port| &port[..bare(port)])
            .filter(|p| !p.is_empty()),
    )
}

fn scheme(text: &str, scheme: &str) -> Result<Scheme, Wrong> {
    let letters = !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphabetic());
    if letters || scheme == "*" {
        return Ok(Scheme::of(&scheme.to_ascii_lowercase()));
    }
    let what = format!("the scheme of {text:?} is not one");
    Err(Wrong::new(
        what,
        "write letters alone, such as \"https\" or \"redis\", or \"*\" for any",
    ))
}

fn port(text: &str, port: Option<&str>, scheme: &Scheme) -> Result<Ports, Wrong> {
    let Some(port) = port else {
        return scheme.default_port().map(Ports::One).ok_or_else(|| {
            let what = format!("{text:?} has no port, and its scheme has none of its own");
            Wrong::new(what, "add a port, or \":*\" for any")
        });
    };
    if port == "*" {
        return Ok(Ports::ANY);
    }
    let wrong = || {
        let what = format!("the port of {text:?} is not a port");
        let fix = "write a number, a range such as \"8000..9000\", or \"*\" for any";
        Wrong::new(what, fix)
    };
    let Some((first, end)) = port.split_once("..") else {
        return port.parse().map(Ports::One).map_err(|_| wrong());
    };
    // The end is not part of the range.
    let first: u16 = first.parse().map_err(|_| wrong())?;
    let end: u16 = end.parse().map_err(|_| wrong())?;
    match end.checked_sub(1) {
        Some(last) if last >= first => Ok(Ports::Range { first, last }),
        Some(_) | None => Err(wrong()),
    }
}

fn host(text: &str, host: &str) -> Result<HostPattern, Wrong> {
    let wrong = |fix: &str| Wrong::new(format!("{text:?} does not name a host"), fix);
    match host {
        "*" => return Ok(HostPattern::Any),
        "self" | "self.alt" => return Ok(HostPattern::Itself),
        _ => {}
    }
    if let Some(network) = host.contains('/').then(|| Network::parse(host)).flatten() {
        return Ok(HostPattern::Network(network));
    }
    if host.contains('/') {
        return Err(wrong("remove the path: hosts are allowed whole"));
    }
    let (domain, below) = match host.strip_prefix("*.") {
        Some(domain) => (domain, true),
        None => (host, false),
    };
    if domain.contains('*') {
        return Err(wrong(
            "write \"*\" alone, or at the start as in \"*.example.com\"",
        ));
    }
    let Some(domain) = canonical_host(domain) else {
        return Err(wrong(
            "write a host such as \"api.example.com\", or \"*\" for any",
        ));
    };
    if below {
        return Ok(HostPattern::Below(domain));
    }
    let chained = domain
        .strip_suffix(SPIN_INTERNAL_DOMAIN)
        .and_then(|rest| rest.strip_suffix('.'));
    match chained.map(str::parse) {
        Some(Ok(component)) => Ok(HostPattern::Component(component)),
        Some(Err(_)) => Err(wrong("write \"http://COMPONENT.spin.internal\"")),
        None => Ok(HostPattern::Exact(domain)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::model::Grants;

    /// Whether `pattern` allows a connection to `scheme://host:port`.
    fn allows(pattern: &str, scheme: &str, host: &str, port: u16) -> bool {
        let outbound = vec![parse(pattern).unwrap_or_else(|wrong| panic!("{pattern}: {wrong:?}"))];
        let grants = Grants {
            outbound,
            ..Grants::default()
        };
        grants.allows(scheme, host, port)
    }

    #[test]
    fn what_a_pattern_names_is_allowed_and_nothing_else() {
        for (pattern, scheme, host, port, expected) in [
            ("https://example.com", "https", "Example.com", 443, true),
            ("https://example.com/", "https", "example.com", 443, true),
            ("https://example.com", "http", "example.com", 443, false),
            ("https://example.com", "https", "example.com", 444, false),
            ("https://example.com", "https", "a.example.com", 443, false),
            ("https://example.com:*", "https", "example.com", 9, true),
            ("*://example.com:80", "redis", "example.com", 80, true),
            ("*://*:*", "mqtt", "anything.test", 1, true),
            (
                "https://*.example.com",
                "https",
                "a.b.example.com",
                443,
                true,
            ),
            ("https://*.example.com", "https", "example.com", 443, false),
            (
                "https://*.example.com",
                "https",
                "anexample.com",
                443,
                false,
            ),
            ("redis://cache.test", "redis", "cache.test", 6379, true),
            ("postgres://db.test", "postgres", "db.test", 5432, true),
            ("mysql://db.test", "mysql", "db.test", 3306, true),
            ("mqtt://broker.test", "mqtt", "broker.test", 1883, true),
            ("http://h.test:8000..8002", "http", "h.test", 8000, true),
            ("http://h.test:8000..8002", "http", "h.test", 8001, true),
            ("http://h.test:8000..8002", "http", "h.test", 8002, false),
            ("http://10.0.0.0/8:80", "http", "10.9.8.7", 80, true),
            ("http://10.0.0.0/8", "http", "11.9.8.7", 80, false),
            ("http://10.0.0.0/8", "http", "ten.test", 80, false),
            ("http://0.0.0.0/0", "http", "8.8.8.8", 80, true),
            (
                "http://[2001:db8::]/32:80",
                "http",
                "[2001:db8::1]",
                80,
                true,
            ),
            ("http://[::1]:80", "http", "::1", 80, true),
            ("http://127.0.0.1:81", "http", "127.0.0.1", 81, true),
            (
                "http://a.spin.internal",
                "http",
                "a.spin.internal",
                80,
                true,
            ),
            (
                "http://a.spin.internal",
                "http",
                "b.spin.internal",
                80,
                false,
            ),
            (
                "http://*.spin.internal",
                "http",
                "b.spin.internal",
                80,
                true,
            ),
            ("http://self", "http", "self", 80, false),
        ] {
            let allowed = allows(pattern, scheme, host, port);
            assert_eq!(allowed, expected, "{pattern} {scheme}://{host}:{port}");
        }
    }

    #[test]
    fn the_application_itself_is_asked_where_that_is_allowed() {
        for (pattern, http) in [
            ("http://self", true),
            ("*://self:*", true),
            ("http://self.alt", true),
            ("http://*:*", true),
            ("https://self", false),
            ("http://example.com", false),
        ] {
            let grants = Grants {
                outbound: vec![parse(pattern).unwrap()],
                ..Grants::default()
            };
            assert_eq!(grants.allows_itself("http"), http, "{pattern}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_refused_with_what_would_be() {
        for (text, fix) in [
            ("example.com", "\"https://example.com\""),
            ("*", "\"*://*:*\""),
            ("insecure:allow-all", "\"*://*:*\""),
            ("https://example.com/path", "remove the path"),
            ("https://example.com:80/path", "write a number"),
            ("https://a.*.com", "\"*.example.com\""),
            ("https://*.*.com", "\"*.example.com\""),
            ("ftp://example.com", "\":*\""),
            ("*://example.com", "\":*\""),
            ("{http,https}://example.com", "letters alone"),
            ("http://example.com:{80,81}", "write a number"),
            ("http://example.com:9..8", "a range"),
            ("http://example.com:http", "write a number"),
            ("http://exa mple.com", "write a host"),
            ("http://a_b.spin.internal", "COMPONENT.spin.internal"),
        ] {
            let wrong = parse(text).expect_err(text);
            assert!(wrong.fix.contains(fix), "{text:?}: {wrong:?}");
        }
    }

    #[test]
    fn hosts_of_spin_1_are_both_schemes() {
        let schemes = |text: &str| {
            let hosts = parse_http(text).unwrap();
            hosts.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(schemes("a.test"), ["http://a.test", "https://a.test"]);
        assert_eq!(
            schemes("a.test:8080"),
            ["http://a.test:8080", "https://a.test:8080"]
        );
        assert_eq!(schemes("https://a.test"), ["https://a.test"]);
        assert_eq!(schemes("insecure:allow-all"), ["http://*:*", "https://*:*"]);
    }
}
