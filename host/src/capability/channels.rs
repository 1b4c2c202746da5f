//! Channels of Redis: publish and subscribe, where a message goes to whoever listens at that moment and
//! is kept nowhere.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisError};
use tokio::time::timeout;

use super::tls::install_crypto;
use crate::manifest::model::ChannelAddress;

/// Longest wait for a connection, and for an answer to a subscription.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long nothing may come before the server is asked whether it is still there: a peer that vanished
/// without a word is found in this time and the one above.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Why a channel is not listened to.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The server cannot be reached, or refuses.
    #[error("Redis at {address} cannot be listened to")]
    Redis {
        /// Where, without its password.
        address: ChannelAddress,
        /// What it said.
        source: RedisError,
    },
    /// It does not answer.
    #[error("Redis at {address} does not answer")]
    Silent {
        /// Where, without its password.
        address: ChannelAddress,
    },
    /// The connection was lost.
    #[error("the connection to Redis at {address} was lost")]
    Lost {
        /// Where, without its password.
        address: ChannelAddress,
    },
}

/// One channel that is listened to.
pub struct Listener {
    address: ChannelAddress,
    channel: String,
    sink: PubSubSink,
    messages: PubSubStream,
}

impl Listener {
    /// Listens to a channel. What is published once this returns is heard.
    ///
    /// # Errors
    ///
    /// See [`ListenError`].
    pub async fn open(address: &ChannelAddress, channel: &str) -> Result<Self, ListenError> {
        install_crypto();
        let failed = |source| ListenError::Redis {
            address: address.clone(),
            source,
        };
        let client = Client::open(address.0.as_str()).map_err(failed)?;
        let opening = async {
            let (mut sink, messages) = client.get_async_pubsub().await?.split();
            sink.subscribe(channel).await?;
            Ok((sink, messages))
        };
        let opened = timeout(ANSWER_TIMEOUT, opening).await;
        let (sink, messages) = opened
            .map_err(|_| ListenError::Silent {
                address: address.clone(),
            })?
            .map_err(failed)?;
        Ok(Self {
            address: address.clone(),
            channel: channel.to_owned(),
            sink,
            messages,
        })
    }

    /// The next message. Cancelling loses none.
    ///
    /// # Errors
    ///
    /// The connection is of no use any more: [`ListenError`].
    pub async fn next(&mut self) -> Result<Bytes, ListenError> {
        loop {
            match timeout(SILENCE_MAX, self.messages.next()).await {
                Ok(Some(message)) => return Ok(message.get_payload_bytes().to_vec().into()),
                Ok(None) => {
                    return Err(ListenError::Lost {
                        address: self.address.clone(),
                    });
                }
                Err(_) => self.check().await?,
            }
        }
    }

    /// Subscribes once more, which changes nothing, and is answered by a server that is there.
    async fn check(&mut self) -> Result<(), ListenError> {
        let answered = timeout(ANSWER_TIMEOUT, self.sink.subscribe(&self.channel)).await;
        let address = || self.address.clone();
        answered
            .map_err(|_| ListenError::Silent { address: address() })?
            .map_err(|source| ListenError::Redis {
                address: address(),
                source,
            })
    }
}
