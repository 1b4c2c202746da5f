//! `allowedHosts`: where outbound requests may go. Nothing there, or an empty list, allows nothing.

use super::raw::LocalResources;
use crate::document::{Located, Report, TextForm as _};
use crate::manifest::model::{HostPattern, OutboundHost, Ports, Scheme};

/// The places that are allowed.
pub(super) fn allowed(
    resources: Option<&LocalResources>,
    report: &mut Report,
) -> Vec<OutboundHost> {
    let list = resources.and_then(|resources| resources.allowedHosts.as_ref());
    let entries = list
        .into_iter()
        .flat_map(|list| list.value.iter().map(|entry| (entry, &list.at)));
    entries
        .enumerate()
        .filter_map(|(index, (entry, at))| {
            let entry = Located {
                value: entry.trim().to_owned(),
                at: at.index(index),
            };
            host(&entry, report)
        })
        .collect()
}

/// `*`, or `[scheme://]host[:port]`, where the host may be `*.domain`. A scheme or port that is not
/// named may be any.
fn host(entry: &Located<String>, report: &mut Report) -> Option<OutboundHost> {
    if entry.value == "*" {
        return Some(OutboundHost {
            scheme: Scheme::Any,
            host: HostPattern::Any,
            port: Ports::ANY,
        });
    }
    let text = entry.value.strip_suffix('/').unwrap_or(&entry.value);
    let (text, any_scheme) = match text.contains("://") {
        true => (text.to_owned(), false),
        false => (format!("http://{text}"), true),
    };
    let authority = text
        .split_once("://")
        .map_or("", |(_, authority)| authority);
    let named_port = authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    match OutboundHost::parse(&text) {
        Ok(host) => Some(OutboundHost {
            scheme: match any_scheme {
                true => Scheme::Any,
                false => host.scheme,
            },
            port: match named_port {
                true => host.port,
                false => Ports::ANY,
            },
            host: host.host,
        }),
        Err(_) => {
            let what = format!("{:?} does not name a host", entry.value);
            let fix = "write \"*\", \"api.example.com\", \"*.example.com:8443\" or \"https://api.example.com\"";
            report.problem(&entry.at, what, fix);
            None
        }
    }
}
