//! Calls of the admin API, one connection each.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Options;
use super::parse::EventText;
use crate::admin::token::{Token, TokenError};
use crate::admin::{Failure, address};
use crate::name::{Digest, RolloutId};
use crate::rollout::model::{RolloutEvent, StoredArtifact};

/// Longest wait for a connection.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for an answer to begin: an upload is sent before, and a plan may compile.
const ANSWER_WITHIN: Duration = Duration::from_secs(300);

/// Most bytes of an answer: a history of a thousand rollouts has below one megabyte.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Longest silence of an event stream; the host says something every 15 s.
const EVENT_WITHIN: Duration = Duration::from_secs(60);

/// Why a host did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum AskError {
    /// There is no address.
    #[error("no host has run with the state directory {}: start one with `wharf up`, or name the directory of the one that runs with --state-dir", .0.display())]
    NoHost(PathBuf),
    /// The address cannot be read.
    #[error("the host's address in {} cannot be read: name it with --admin", path.display())]
    Address {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// The token cannot be had.
    #[error(
        "the host's token cannot be had: name the state directory of the host that runs with --state-dir, and ask as the user that runs it"
    )]
    Token(#[source] TokenError),
    /// Nothing listens there.
    #[error(
        "no host answers at {address}: start it with `wharf up`, or name its address with --admin"
    )]
    Unreachable {
        /// Where.
        address: SocketAddr,
        /// What happened.
        source: io::Error,
    },
    /// The host has another token.
    #[error("the host at {address} does not accept the token in {}: name the state directory of that host with --state-dir", token.display())]
    OtherToken {
        /// Where.
        address: SocketAddr,
        /// The token's file.
        token: PathBuf,
    },
    /// It is not a host of this kind.
    #[error(
        "what answers at {address} is not the operators' address of a host (it says {status}): name that with --admin"
    )]
    NotAHost {
        /// Where.
        address: SocketAddr,
        /// What it said.
        status: StatusCode,
    },
    /// The host said no.
    #[error("{}", joined(.failure))]
    Refused {
        /// The status.
        status: StatusCode,
        /// What it said.
        failure: Failure,
    },
    /// The connection ended before the answer did.
    #[error("the connection to the host at {address} broke")]
    Broken {
        /// Where.
        address: SocketAddr,
        /// What happened.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No answer came.
    #[error("the host at {address} does not answer")]
    Silent {
        /// Where.
        address: SocketAddr,
    },
}

fn joined(failure: &Failure) -> String {
    let mut text = failure.error.clone();
    for cause in &failure.causes {
        text.push_str("\n  because ");
        text.push_str(cause);
    }
    text
}

/// Asks one host.
pub(in crate::cli) struct Client {
    address: SocketAddr,
    token: Token,
    token_file: PathBuf,
}

impl Client {
    /// The host that the options name.
    pub(in crate::cli) fn of(options: &Options) -> Result<Self, AskError> {
        let state_dir = &options.state_dir;
        let address = match options.admin {
            Some(address) => address,
            None => address::read(state_dir)
                .map_err(|source| AskError::Address {
                    path: address::path(state_dir),
                    source,
                })?
                .ok_or_else(|| AskError::NoHost(state_dir.clone()))?,
        };
        Ok(Self {
            address,
            token: Token::read(state_dir).map_err(AskError::Token)?,
            token_file: Token::path(state_dir),
        })
    }

    /// Reads what is at `path`.
    pub(in crate::cli) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.whole(Method::GET, path, None).await
    }

    /// Asks for something to be done.
    pub(in crate::cli) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        request: &impl Serialize,
    ) -> Result<T, AskError> {
        let body = serde_json::to_vec(request).expect("the wire's types can be written as JSON");
        let body = Some(("application/json", body.into()));
        self.whole(Method::POST, path, body).await
    }

    /// Asks for something to end.
    pub(in crate::cli) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
    ) -> Result<T, AskError> {
        self.whole(Method::DELETE, path, None).await
    }

    /// Brings an artifact to the host.
    pub(in crate::cli) async fn upload(
        &self,
        artifact: Vec<u8>,
        digest: Digest,
    ) -> Result<StoredArtifact, AskError> {
        let path = format!("/v1/artifacts?sha256={digest}");
        let body = Some(("application/wasm", artifact.into()));
        self.whole(Method::POST, &path, body).await
    }

    /// Follows a rollout.
    pub(in crate::cli) async fn events(&self, rollout: RolloutId) -> Result<Events, AskError> {
        let path = format!("/v1/rollouts/{rollout}/events");
        let response = self.ask(Method::GET, &path, None).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refused(response).await);
        }
        Ok(Events {
            body: response.into_body(),
            text: EventText::default(),
            address: self.address,
        })
    }

    async fn whole<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<T, AskError> {
        let response = self.ask(method, path, body).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.refused(response).await);
        }
        let read = self.read(response).await?;
        serde_json::from_slice(&read).map_err(|_| AskError::NotAHost {
            address: self.address,
            status,
        })
    }

    async fn refused(&self, response: Response<Incoming>) -> AskError {
        let status = response.status();
        if status == StatusCode::UNAUTHORIZED {
            return AskError::OtherToken {
                address: self.address,
                token: self.token_file.clone(),
            };
        }
        let read = match self.read(response).await {
            Ok(read) => read,
            Err(error) => return error,
        };
        match serde_json::from_slice(&read) {
            Ok(failure) => AskError::Refused { status, failure },
            Err(_) => AskError::NotAHost {
                address: self.address,
                status,
            },
        }
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Bytes, AskError> {
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
        let collected = timeout(ANSWER_WITHIN, body.collect()).await;
        let collected = collected.map_err(|_| AskError::Silent {
            address: self.address,
        })?;
        let collected = collected.map_err(|source| AskError::Broken {
            address: self.address,
            source,
        })?;
        Ok(collected.to_bytes())
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<(&'static str, Bytes)>,
    ) -> Result<Response<Incoming>, AskError> {
        let address = self.address;
        let broken = |source: hyper::Error| AskError::Broken {
            address,
            source: source.into(),
        };
        let (mut sender, connection) = http1::handshake(TokioIo::new(self.connect().await?))
            .await
            .map_err(broken)?;
        // It ends with the response's body, and says through that how.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, address.to_string())
            .header(AUTHORIZATION, self.token.authorization());
        let (kind, bytes) = body.unzip();
        if let Some(kind) = kind {
            request = request.header(CONTENT_TYPE, kind);
        }
        let request = request
            .body(Full::new(bytes.unwrap_or_default()))
            .expect("paths are made of valid names");
        match timeout(ANSWER_WITHIN, sender.send_request(request)).await {
            Ok(answered) => answered.map_err(broken),
            Err(_) => Err(AskError::Silent { address }),
        }
    }

    async fn connect(&self) -> Result<TcpStream, AskError> {
        let connected = timeout(CONNECT_WITHIN, TcpStream::connect(self.address)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        connected.map_err(|source| AskError::Unreachable {
            address: self.address,
            source,
        })
    }
}

/// The events of a rollout, as they come.
pub(in crate::cli) struct Events {
    body: Incoming,
    text: EventText,
    address: SocketAddr,
}

impl Events {
    /// The next event; `None` where the host has ended the stream.
    pub(in crate::cli) async fn next(&mut self) -> Result<Option<RolloutEvent>, AskError> {
        let address = self.address;
        loop {
            if let Some(data) = self.text.next() {
                let event = serde_json::from_str(&data);
                return event.map(Some).map_err(|source| AskError::Broken {
                    address,
                    source: source.into(),
                });
            }
            let Ok(frame) = timeout(EVENT_WITHIN, self.body.frame()).await else {
                return Err(AskError::Silent { address });
            };
            let Some(frame) = frame else {
                return Ok(None);
            };
            let frame = frame.map_err(|source| AskError::Broken {
                address,
                source: source.into(),
            })?;
            if let Ok(bytes) = frame.into_data() {
                self.text.push(&bytes);
            }
        }
    }
}
