//! Serving HTTP with a component, in either version of `wasi:http`, or by the handler of Spin 1.
//!
//! ```text
//! request -> limits -> sync (0.2): a task with its own instance      -> response -> body
//!                   |-> concurrent (0.3): a shared instance's worker /
//!                   \-> whole (Spin 1): bodies in one piece         /
//! ```
//!
//! The deadline counts to the first byte of the response; after that an idle limit counts between
//! the pieces of its body, so that server-sent events live and a stuck stream does not. Bodies are
//! streamed in both directions and never held whole, but by the handler that has them so.

mod body;
pub mod concurrent;
mod exchange;
pub mod sync;
pub mod whole;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::Either;
use http::{HeaderMap, Request, Response};
use http_body::Body;
use tokio::time::Instant;

pub use body::{GuestBody, LimitedBody};
pub use exchange::Exchange;

use super::error::InvokeError;
use super::state::Context;
use super::work::Work;

/// What a component exports for HTTP, ready to be called.
pub enum HttpExport {
    /// `wasi:http/incoming-handler@0.2.x`.
    Sync(sync::Handler),
    /// `wasi:http/handler@0.3.x`.
    Concurrent(concurrent::Handler),
    /// `fermyon:spin/inbound-http`.
    Whole(whole::Handler),
}

/// The exports of which a component needs one to serve HTTP.
pub const HTTP_EXPORTS: &str =
    "wasi:http/incoming-handler, wasi:http/handler or fermyon:spin/inbound-http";

impl HttpExport {
    /// Has the component answer `request`, which came when it `began`. `lease` is held until its work
    /// has ended. Also returns how long the response took to begin.
    ///
    /// The request is handed on in the call, so that the future, which is moved up to the connection, does
    /// not hold it.
    ///
    /// Cancelling, before or by dropping the response's body, cancels the work of a 0.2 component.
    /// A 0.3 instance is shared: it takes no more requests and ends once it has answered the others.
    ///
    /// # Errors
    ///
    /// Every variant of [`InvokeError`] but `TooDeep` and `NotRunning`.
    pub fn handle<B, L>(
        &self,
        request: Request<B>,
        work: Work,
        lease: L,
        began: Instant,
    ) -> impl Future<Output = Result<(Response<GuestBody>, Duration), InvokeError>> + Send + use<B, L>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasmtime_wasi_http::Error>,
        L: Send + Sync + 'static,
    {
        let exchange = Exchange::begun(began);
        let of = exchange.clone();
        let handled = match self {
            Self::Sync(handler) => Either::Left(handler.handle(request, work, lease, of)),
            Self::Concurrent(handler) => {
                Either::Right(handler.handle(request, work, lease, of).boxed())
            }
            Self::Whole(handler) => Either::Right(handler.handle(request, work, lease, of).boxed()),
        };
        handled.map(move |handled| Ok((handled?, exchange.respond())))
    }
}

/// Checks what can be checked before the component sees the request, bounds its body, and writes its
/// place in the trace into its headers, where the limit on them does not count it.
fn limited<B>(
    context: &Context,
    mut request: Request<B>,
    work: &Work,
    exchange: &Arc<Exchange>,
) -> Result<Request<LimitedBody<B>>, InvokeError>
where
    B: Body<Data = Bytes>,
{
    let limits = &context.limits;
    let bytes = header_bytes(request.headers());
    if bytes > limits.request_header_bytes_max {
        return Err(InvokeError::HeadersTooLarge {
            component: context.component.clone(),
            bytes,
            bytes_max: limits.request_header_bytes_max,
        });
    }
    if request.body().size_hint().lower() > limits.request_body_bytes_max {
        return Err(body_too_large(context));
    }
    // An older protocol's request may name none; 0.3 guests can tell, and 0.2 guests cannot be given it.
    let named =
        request.uri().authority().is_some() || request.headers().contains_key(http::header::HOST);
    if !named && context.ambient.is_none() {
        return Err(InvokeError::BadRequest {
            reason: "it names no host".to_owned(),
        });
    }
    if let Some(trace) = &work.trace {
        trace.write(request.headers_mut());
    }
    Ok(request.map(|body| LimitedBody::new(body, limits.request_body_bytes_max, exchange.clone())))
}

fn body_too_large(context: &Context) -> InvokeError {
    InvokeError::BodyTooLarge {
        component: context.component.clone(),
        bytes_max: context.limits.request_body_bytes_max,
    }
}

/// Names and values, as HTTP/2 counts them without its 32 bytes of overhead (RFC 9113, 6.5.2).
fn header_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum()
}
