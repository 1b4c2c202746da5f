//! Channels of Redis servers.

use std::fmt;

use crate::name::ComponentName;

/// What binds a channel of a Redis server to a component. Redis sends a message to who listens just
/// then: at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// The server.
    pub address: ChannelAddress,
    /// The channel.
    pub channel: String,
    /// Who handles its messages.
    pub component: ComponentName,
}

/// A Redis server's URL. Its password is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ChannelAddress(pub String);

impl fmt::Display for ChannelAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, rest) = self.0.split_once("://").unwrap_or(("redis", &self.0));
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        write!(f, "{scheme}://{host}")
    }
}

impl fmt::Debug for ChannelAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
