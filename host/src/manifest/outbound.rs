//! Where outbound requests and connections may go, as it is written: `https://*.example.com:8443`,
//! `http://auth.internal`; and whether one may.

use std::fmt;
use std::net::IpAddr;

use schemars::{Schema, json_schema};
use serde::{Deserialize, Serialize};

use super::forms::canonical_host;
use super::model::Grants;
use crate::document::{TextForm, Wrong};
use crate::name::ComponentName;

/// One place that outbound requests and connections may go to, such as
/// `https://api.example.com:8443`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundHost {
    /// The protocol.
    pub scheme: Scheme,
    /// The host.
    pub host: HostPattern,
    /// The port; the scheme's own where the manifest names none.
    pub port: Ports,
}

/// The protocols of outbound requests and connections.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// HTTP in cleartext.
    Http,
    /// HTTP with TLS.
    Https,
    /// Another one, lower-case: `redis`, `postgres`.
    Named(String),
    /// Whichever.
    Any,
}

/// A host, or many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostPattern {
    /// Exactly this host, lower-case.
    Exact(String),
    /// `*.example.com`: any name below this domain, which is kept without the `*.`.
    Below(String),
    /// `<component>.internal`: another component, in process.
    Component(ComponentName),
    /// Every address of a network, where a request names an address.
    Network(Network),
    /// The application itself, by its public routes.
    Itself,
    /// Every host, other components and the application itself as well.
    Any,
}

/// The addresses that begin with the same bits: `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// One of them.
    pub address: IpAddr,
    /// How many bits they have in common.
    pub prefix_bits: u8,
}

/// A port, or those from one up to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ports {
    /// One.
    One(u16),
    /// All from `first` to `last`, both included.
    Range {
        /// The lowest.
        first: u16,
        /// The highest.
        last: u16,
    },
}

/// The domain below which each component has its name.
pub const INTERNAL_DOMAIN: &str = "internal";

/// The domain below which each component has its name for guests that were written for Spin.
pub const SPIN_INTERNAL_DOMAIN: &str = "spin.internal";

impl Scheme {
    /// The scheme that is written `text`, lower-case.
    pub fn of(text: &str) -> Self {
        match text {
            "http" => Self::Http,
            "https" => Self::Https,
            "*" => Self::Any,
            _ => Self::Named(text.to_owned()),
        }
    }

    /// As it is written before `://`.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Named(name) => name,
            Self::Any => "*",
        }
    }

    /// The port where none is named.
    pub fn default_port(&self) -> Option<u16> {
        match self.as_str() {
            "http" => Some(80),
            "https" => Some(443),
            "redis" | "rediss" => Some(6379),
            "postgres" | "postgresql" => Some(5432),
            "mysql" => Some(3306),
            "mqtt" => Some(1883),
            _ => None,
        }
    }

    fn allows(&self, scheme: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Http | Self::Https | Self::Named(_) => self.as_str() == scheme,
        }
    }
}

impl Ports {
    /// Every port.
    pub const ANY: Self = Self::Range {
        first: 0,
        last: u16::MAX,
    };

    fn contains(self, port: u16) -> bool {
        match self {
            Self::One(one) => one == port,
            Self::Range { first, last } => (first..=last).contains(&port),
        }
    }
}

impl Network {
    /// The network of `text`: `10.0.0.0/8`, or an address alone.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text
            .split_once('/')
            .map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = unbracketed(address).parse().ok()?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = bits.map_or(Ok(bits_max), str::parse).ok()?;
        (prefix_bits <= bits_max).then_some(Self {
            address,
            prefix_bits,
        })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let bits = u32::from(self.prefix_bits);
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differ = u32::from(own) ^ u32::from(other);
                differ.leading_zeros() >= bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differ = u128::from(own) ^ u128::from(other);
                differ.leading_zeros() >= bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

/// The component that `host` (in any case, without port) is the internal name of.
pub fn internal_component(host: &str) -> Option<ComponentName> {
    let host = host.to_ascii_lowercase();
    let name = [SPIN_INTERNAL_DOMAIN, INTERNAL_DOMAIN]
        .into_iter()
        .find_map(|domain| host.strip_suffix(domain)?.strip_suffix('.'))?;
    name.parse().ok()
}

impl Grants {
    /// Whether an outbound request or connection by `scheme` (`https`, `redis`) to `host` (without
    /// port, in any case; an IPv6 address with or without brackets) at `port` is allowed.
    pub fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        self.outbound
            .iter()
            .any(|granted| granted.allows(scheme, host, port))
    }

    /// Whether a request by `scheme` to the application's own public routes is allowed.
    pub fn allows_itself(&self, scheme: &str) -> bool {
        let itself = |granted: &&OutboundHost| {
            matches!(granted.host, HostPattern::Itself | HostPattern::Any)
        };
        let mut granted = self.outbound.iter().filter(itself);
        granted.any(|granted| granted.scheme.allows(scheme))
    }
}

impl OutboundHost {
    /// Whether a request by `scheme` to `host` (without port) at `port` is allowed by this grant.
    pub fn allows(&self, scheme: &str, host: &str, port: u16) -> bool {
        self.scheme.allows(scheme) && self.port.contains(port) && self.host.matches(host)
    }
}

impl HostPattern {
    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => unbracketed(exact).eq_ignore_ascii_case(unbracketed(host)),
            Self::Below(domain) => is_below(host, domain),
            Self::Component(name) => internal_component(host).as_ref() == Some(name),
            Self::Network(network) => {
                let address = unbracketed(host).parse();
                address.is_ok_and(|address| network.contains(address))
            }
            Self::Any => true,
            Self::Itself => false,
        }
    }
}

/// An IPv6 address without the brackets that it has in URLs.
fn unbracketed(host: &str) -> &str {
    let inner = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host)
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
        let host = host_pattern(text, &scheme, host, port)?;
        let standard = if scheme == Scheme::Http { 80 } else { 443 };
        let port = Ports::One(port.unwrap_or(standard));
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
    scheme: &Scheme,
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
            Some(name) if !below && *scheme == Scheme::Http && port.is_none() => {
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
            Self::Network(network) => write!(f, "{}/{}", network.address, network.prefix_bits),
            Self::Itself => f.write_str("self"),
            Self::Any => f.write_str("*"),
        }
    }
}

/// As the manifest writes it.
impl fmt::Display for OutboundHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.host)?;
        match self.port {
            Ports::ANY => f.write_str(":*"),
            Ports::One(port) if self.scheme.default_port() == Some(port) => Ok(()),
            Ports::One(port) => write!(f, ":{port}"),
            Ports::Range { first, last } => write!(f, ":{first}..{}", u32::from(last) + 1),
        }
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
        assert!(exact.allows("https", "API.example.com", 443));
        assert!(!exact.allows("http", "api.example.com", 443));
        assert!(!exact.allows("https", "api.example.com", 8443));
        assert!(!exact.allows("https", "api.example.com.evil.test", 443));

        let below = parsed("https://*.example.com");
        assert!(below.allows("https", "a.b.Example.com", 443));
        assert!(!below.allows("https", "example.com", 443));
        assert!(!below.allows("https", ".example.com", 443));
        assert!(!below.allows("https", "badexample.com", 443));

        let component = parsed("http://auth.internal");
        assert!(component.allows("http", "auth.internal", 80));
        assert!(!component.allows("http", "x.auth.internal", 80));
        assert!(!component.allows("http", "auth.internal.test", 80));
        assert!(!component.allows("http", "notifier.internal", 80));
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
