//! Who may command the host: whoever has the token and asks for the host by an address of its own.

use std::net::{IpAddr, SocketAddr};

use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, Request};

use super::refusal::Refusal;
use super::token::Token;

/// What a request has to show.
pub(super) struct Access {
    pub(super) token: Token,
    /// Where the operators' listener is bound.
    pub(super) address: SocketAddr,
}

impl Access {
    /// Refuses a request that does not show it.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let authority = request.uri().authority().map(|named| named.as_str());
        let named = authority.or_else(|| {
            let host = request.headers().get(HOST)?;
            host.to_str().ok()
        });
        let named = named.unwrap_or_default();
        if !self.is_own(named) {
            return Err(Refusal::Host(named.to_owned()));
        }
        match bearer(request.headers()) {
            Some(given) if self.token.is(given) => Ok(()),
            Some(_) | None => Err(Refusal::Token),
        }
    }

    /// A page on the web can make its own name lead to this address (DNS rebinding), and then speaks
    /// to it from within the operator's browser; it cannot make an address its name. A host that
    /// listens beyond its own machine may have any name there.
    fn is_own(&self, named: &str) -> bool {
        let host = without_port(named);
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok() {
            return true;
        }
        !host.is_empty() && !self.address.ip().is_loopback()
    }
}

fn without_port(named: &str) -> &str {
    match named.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        Some(_) | None => named,
    }
}

/// The token of a bearer's `Authorization` (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(address: &str) -> (tempfile::TempDir, Access) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let access = Access {
            token: Token::open(dir.path()).expect("a token"),
            address: address.parse().expect("an address"),
        };
        (dir, access)
    }

    #[test]
    fn names_of_others_are_refused_on_loopback() {
        let (_dir, access) = access("127.0.0.1:9090");
        for own in [
            "127.0.0.1:9090",
            "127.0.0.1",
            "localhost:1",
            "LOCALHOST",
            "[::1]:9090",
            "10.0.0.7:9090",
        ] {
            assert!(access.is_own(own), "{own}");
        }
        for other in [
            "",
            ":9090",
            "evil.example:9090",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9090",
        ] {
            assert!(!access.is_own(other), "{other}");
        }
    }

    #[test]
    fn a_listener_beyond_its_machine_has_names() {
        let (_dir, access) = access("0.0.0.0:9090");
        assert!(access.is_own("wharf.internal:9090"));
        assert!(!access.is_own(""));
    }

    #[test]
    fn only_the_tokens_bearer_passes() {
        let (_dir, access) = access("127.0.0.1:9090");
        let asked = |authorization: Option<&str>| {
            let mut request = Request::get("/v1/components").header(HOST, "localhost:9090");
            if let Some(authorization) = authorization {
                request = request.header(AUTHORIZATION, authorization);
            }
            access.check(&request.body(()).expect("a request"))
        };
        let good = access.token.authorization();
        let good = good.to_str().expect("it is text");
        assert!(asked(Some(good)).is_ok());
        assert!(asked(Some(&good.replace("Bearer", "bearer"))).is_ok());
        for bad in [
            None,
            Some(""),
            Some("Bearer"),
            Some("Bearer "),
            Some("Bearer wrong"),
            Some(&good["Bearer ".len()..]),
            Some(&good.replace("Bearer", "Basic")),
        ] {
            assert!(matches!(asked(bad), Err(Refusal::Token)), "{bad:?}");
        }
    }
}
