//! Where outbound HTTP may go, as it is written: `https://*.example.com:8443`,
//! `http://auth.internal`.

use std::fmt;

use schemars::{Schema, json_schema};

use super::forms::canonical_host;
use super::model::{HostPattern, OutboundHost, Scheme};
use crate::document::{TextForm, Wrong};
use crate::name::ComponentName;

/// The domain below which each component has its name.
pub const INTERNAL_DOMAIN: &str = "internal";

impl Scheme {
    /// As it is written before `://`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port where none is named.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl OutboundHost {
    /// Whether a request by `scheme` to `host` (without port; an IPv6 address in brackets) at `port`
    /// is allowed by this grant.
    pub fn allows(&self, scheme: Scheme, host: &str, port: u16) -> bool {
        self.scheme == scheme && self.port == port && self.host.matches(host)
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact.eq_ignore_ascii_case(host),
            Self::Below(domain) => is_below(host, domain),
            Self::Component(name) => {
                is_below(host, INTERNAL_DOMAIN)
                    && host.split_once('.').is_some_and(|(label, rest)| {
                        label.eq_ignore_ascii_case(name.as_str())
                            && rest.eq_ignore_ascii_case(INTERNAL_DOMAIN)
                    })
            }
        }
    }
}

/// Whether `host` is a name below `domain`, by whole labels; the domain itself is not.
fn is_below(host: &str, domain: &str) -> bool {
    let (host, domain) = (host.as_bytes(), domain.as_bytes());
    host.len() > domain.len() + 1
        && host[host.len() - domain.len() - 1] == b'.'
        && host[host.len() - domain.len()..].eq_ignore_ascii_case(domain)
}

impl TextForm for OutboundHost {
    const NAME: &'static str = "outbound host";

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Some((scheme, authority)) = text.split_once("://") else {
            let what = format!("{text:?} has no scheme");
            return Err(Wrong::new(what, format!("write \"https://{text}\"")));
        };
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => {
                let what = format!("the scheme of {text:?} is not one that requests can have");
                return Err(Wrong::new(what, format!("write \"https://{authority}\"")));
            }
        };
        if let Some((before, _)) = authority.split_once(['/', '?', '#']) {
            let what = format!("{text:?} goes on after the host");
            let fix = format!(
                "write \"{}://{before}\": hosts are granted whole",
                scheme.as_str()
            );
            return Err(Wrong::new(what, fix));
        }
        let (host, port) = split_port(text, authority)?;
        let host = host_pattern(text, scheme, host, port)?;
        let port = port.unwrap_or(scheme.default_port());
        Ok(Self { scheme, host, port })
    }

    fn schema() -> Schema {
        json_schema!({ "type": "string", "pattern": r"^https?://[^/?#@]+$" })
    }
}

fn split_port<'a>(text: &str, authority: &'a str) -> Result<(&'a str, Option<u16>), Wrong> {
    let after_address = authority.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = authority[after_address..].rfind(':') else {
        return Ok((authority, None));
    };
    let colon = after_address + colon;
    match authority[colon + 1..].parse() {
        Ok(port) if port > 0 => Ok((&authority[..colon], Some(port))),
        _ => {
            let what = format!("the port of {text:?} is not a port");
            Err(Wrong::new(
                what,
                "write a number from 1 to 65535, or leave it out",
            ))
        }
    }
}

fn host_pattern(
    text: &str,
    scheme: Scheme,
    host: &str,
    port: Option<u16>,
) -> Result<HostPattern, Wrong> {
    let not_a_host = || {
        Wrong::new(
            format!("{text:?} does not name a host"),
            "write a host such as \"https://api.example.com\", or all below a domain such as \
             \"https://*.example.com\"",
        )
    };
    let (host, below) = match host.strip_prefix("*.") {
        Some(domain) => (domain, true),
        None => (host, false),
    };
    let host = canonical_host(host).ok_or_else(not_a_host)?;
    let internal = host == INTERNAL_DOMAIN || is_below(&host, INTERNAL_DOMAIN);
    if internal {
        let fix = "write \"http://NAME.internal\", where NAME is a component";
        let label = host
            .strip_suffix(INTERNAL_DOMAIN)
            .and_then(|host| host.strip_suffix('.'));
        let name = label.and_then(|label| label.parse::<ComponentName>().ok());
        return match name {
            Some(name) if !below && scheme == Scheme::Http && port.is_none() => {
                Ok(HostPattern::Component(name))
            }
            _ => Err(Wrong::new(
                format!("{text:?} does not name a component"),
                fix,
            )),
        };
    }
    Ok(if below {
        HostPattern::Below(host)
    } else {
        HostPattern::Exact(host)
    })
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(domain) => write!(f, "*.{domain}"),
            Self::Component(name) => write!(f, "{name}.{INTERNAL_DOMAIN}"),
        }
    }
}

/// As the manifest writes it.
impl fmt::Display for OutboundHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        if self.port != self.scheme.default_port() {
            write!(f, ":{}", self.port)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> OutboundHost {
        OutboundHost::parse(text).unwrap_or_else(|wrong| panic!("{wrong:?}"))
    }

    #[test]
    fn a_grant_reads_back_as_it_prints() {
        for text in [
            "https://api.example.com",
            "http://127.0.0.1:8081",
            "http://[::1]:80",
            "https://*.example.com:8443",
            "http://auth.internal",
        ] {
            assert_eq!(
                parsed(text).to_string(),
                text.replace(":80\0", "").replace("]:80", "]")
            );
        }
        assert_eq!(
            parsed("https://API.Example.com").to_string(),
            "https://api.example.com"
        );
    }

    #[test]
    fn a_grant_allows_what_it_names_and_nothing_else() {
        let exact = parsed("https://api.example.com");
        assert!(exact.allows(Scheme::Https, "API.example.com", 443));
        assert!(!exact.allows(Scheme::Http, "api.example.com", 443));
        assert!(!exact.allows(Scheme::Https, "api.example.com", 8443));
        assert!(!exact.allows(Scheme::Https, "api.example.com.evil.test", 443));

        let below = parsed("https://*.example.com");
        assert!(below.allows(Scheme::Https, "a.b.Example.com", 443));
        assert!(!below.allows(Scheme::Https, "example.com", 443));
        assert!(!below.allows(Scheme::Https, ".example.com", 443));
        assert!(!below.allows(Scheme::Https, "badexample.com", 443));

        let component = parsed("http://auth.internal");
        assert!(component.allows(Scheme::Http, "auth.internal", 80));
        assert!(!component.allows(Scheme::Http, "x.auth.internal", 80));
        assert!(!component.allows(Scheme::Http, "auth.internal.test", 80));
        assert!(!component.allows(Scheme::Http, "notifier.internal", 80));
    }

    #[test]
    fn what_is_not_a_grant_is_refused_with_what_would_be() {
        for (text, fix) in [
            ("api.example.com", "write \"https://api.example.com\""),
            ("ftp://example.com", "write \"https://example.com\""),
            ("https://example.com/", "write \"https://example.com\""),
            ("https://example.com/path", "write \"https://example.com\""),
            ("https://example.com?x", "write \"https://example.com\""),
            ("https://example.com:0", "1 to 65535"),
            ("https://example.com:http", "1 to 65535"),
            ("https://example.com:70000", "1 to 65535"),
            ("https://", "write a host"),
            ("https://*", "write a host"),
            ("https://*.", "write a host"),
            ("https://a.*.com", "write a host"),
            ("https://user@example.com", "write a host"),
            ("https://[::g]", "write a host"),
            ("https://-a.test", "write a host"),
            ("https://auth.internal", "http://NAME.internal"),
            ("http://auth.internal:8080", "http://NAME.internal"),
            ("http://*.internal", "http://NAME.internal"),
            ("http://internal", "http://NAME.internal"),
            ("http://a.b.internal", "http://NAME.internal"),
        ] {
            let wrong = OutboundHost::parse(text).expect_err(text);
            assert!(wrong.fix.contains(fix), "{text:?}: {wrong:?}");
        }
    }
}
