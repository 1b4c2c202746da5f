//! All traffic passes here: lease the current revision, have an instance work under its limits, and
//! count what came of it.

mod outcome;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use async_trait::async_trait;
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{Either, ready};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, Empty};
use tokio::time::Instant;
use wasi_body::WasiBody;

use crate::capability::streams::Delivery;
use crate::manifest::model::{RouteTarget, Subscription};
use crate::name::{ComponentName, RevisionId};
use crate::revision::{Lease, Registry};
use crate::routing::{Outcome, Router};
use crate::runtime::{
    CALL_DEPTH_MAX, Callee, GuestBody, HTTP_EXPORTS, Incoming, InvokeError, MESSAGE_EXPORTS, Peers,
    Trace, Work, WorkKind, WorkName, tell, wasi_body,
};
use crate::telemetry::{ComponentMetrics, Metrics, in_words};
use outcome::settle;
pub use outcome::{Settlement, status};

/// Leases, invokes and counts.
pub struct Dispatch {
    registry: Arc<Registry>,
    router: ArcSwap<Router>,
    metrics: Arc<Metrics>,
    next_id: AtomicU64,
}

impl Dispatch {
    /// Dispatches to the registry's revisions, and counts in `metrics`.
    pub fn new(registry: Arc<Registry>, metrics: Arc<Metrics>) -> Self {
        // Identifiers of two runs of a host differ, so that their log lines can be told apart.
        let next_id = AtomicU64::new(u64::from(rand::random::<u32>()) << 24);
        Self {
            registry,
            router: ArcSwap::default(),
            metrics,
            next_id,
        }
    }

    /// The registry that it leases from.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Which route serves a request.
    pub fn router(&self) -> Guard<Arc<Router>> {
        self.router.load()
    }

    /// Routes later requests by `router`.
    pub fn route_by(&self, router: Router) {
        self.router.store(Arc::new(router));
    }

    /// A new piece of work for a request, pinned to a revision or not.
    pub fn request(&self, pin: Option<RevisionId>, trace: Trace) -> Work {
        self.work(WorkKind::Request, pin, Some(trace))
    }

    /// A new piece of work for a request that belongs to no trace: its component sees its headers as
    /// they came.
    pub fn untraced_request(&self) -> Work {
        self.work(WorkKind::Request, None, None)
    }

    /// A new piece of work for a delivery, in the trace that the message was published in.
    pub fn delivery(&self, delivery: &Delivery) -> Work {
        let trace = Trace::of_message(&delivery.message.headers);
        self.work(WorkKind::Delivery, None, Some(trace))
    }

    fn work(&self, kind: WorkKind, pin: Option<RevisionId>, trace: Option<Trace>) -> Work {
        Work {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            depth: 0,
            kind,
            pin,
            trace,
        }
    }

    /// Has `component` answer a request: leases at once, and works when it is polled. Cancelling cancels
    /// the component's work.
    ///
    /// # Errors
    ///
    /// See [`InvokeError`]. The failure is logged and counted here.
    pub fn http<B>(
        &self,
        component: &ComponentName,
        request: Request<B>,
        work: Work,
    ) -> impl Future<Output = Result<Response<GuestBody>, InvokeError>> + Send + use<B>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<wasi_body::Error>,
    {
        let began = Instant::now();
        let name = work.name();
        let lease = match self.lease(component, &work) {
            Ok(lease) => lease,
            Err(error) => {
                log_failure(component, &error, None, name);
                let metrics = self.metrics.component(component);
                metrics.answered(status(&error), began.elapsed());
                return Either::Left(ready(Err(error)));
            }
        };
        let revision = lease.revision().clone();
        let context = revision.loaded().instances.context().clone();
        let answered = match &revision.loaded().http {
            Some(export) => Either::Left(export.handle(request, work, lease, began)),
            None => Either::Right(ready(Err(InvokeError::NotExported {
                component: component.clone(),
                export: HTTP_EXPORTS.to_owned(),
            }))),
        };
        let unanswered = Unanswered(Some(context.metrics.clone()));
        Either::Right(answered.map(move |answered| {
            let (status, latency) = match &answered {
                Ok((response, latency)) => (response.status(), *latency),
                Err(error) => {
                    log_failure(&context.component, error, Some(context.revision), name);
                    (status(error), began.elapsed())
                }
            };
            unanswered.answered();
            context.metrics.answered(status, latency);
            context.stats.ended(status.is_server_error(), latency);
            answered.map(|(response, _)| response)
        }))
    }

    /// A new piece of work for a message of a channel.
    pub fn channel_message(&self) -> Work {
        self.work(WorkKind::Delivery, None, Some(Trace::begin()))
    }

    /// Has `component` handle a message of a channel, which is brought once. Cancelling cancels its work.
    ///
    /// # Errors
    ///
    /// See [`InvokeError`]. The failure is logged here.
    pub async fn channel(
        &self,
        component: &ComponentName,
        message: Incoming,
        work: Work,
    ) -> Result<(), InvokeError> {
        let channel = message.subject.clone();
        let handled = match self.lease(component, &work) {
            Ok(lease) => {
                let deadline = lease
                    .revision()
                    .loaded()
                    .instances
                    .context()
                    .limits
                    .deadline;
                self.handle(lease, message, deadline, work.clone()).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &handled {
            tracing::warn!(
                %component,
                channel,
                request_id = work.id,
                trace_id = work.trace_id(),
                span_id = work.name().span_id(),
                error = %error,
                source = source_text(error),
                "message of a channel lost: its handler failed"
            );
        }
        handled
    }

    /// Has the subscription's component handle a delivery. Cancelling cancels its work.
    pub async fn deliver(
        &self,
        subscription: &Subscription,
        delivery: &Delivery,
        work: &Work,
    ) -> Settlement {
        let lease = self.lease(&subscription.component, work);
        let revision = lease.as_ref().ok();
        let revision = revision.map(|lease| tracing::field::display(lease.revision().id()));
        let handled = match lease {
            Ok(lease) => {
                let message = delivery.clone().into();
                self.handle(lease, message, subscription.deadline, work.clone())
                    .await
            }
            Err(error) => Err(error),
        };
        match handled {
            Ok(()) => Settlement::Acknowledge,
            Err(error) => {
                tracing::warn!(
                    component = %subscription.component,
                    revision,
                    subject = %subscription.subject,
                    entry_id = %delivery.entry,
                    request_id = work.id,
                    trace_id = work.trace_id(),
                    span_id = work.name().span_id(),
                    attempt = delivery.attempt,
                    error = %error,
                    source = source_text(&error),
                    "delivery failed"
                );
                settle(&error, delivery.attempt, subscription)
            }
        }
    }

    async fn handle(
        &self,
        lease: Lease,
        message: Incoming,
        deadline: Duration,
        work: Work,
    ) -> Result<(), InvokeError> {
        let began = Instant::now();
        let revision = lease.revision().clone();
        let context = revision.loaded().instances.context();
        if revision.loaded().messages.is_none() {
            return Err(InvokeError::NotExported {
                component: context.component.clone(),
                export: MESSAGE_EXPORTS.to_owned(),
            });
        }
        // Boxed, so that the futures around it stay small: each is moved with every message.
        let handling = Box::pin(async move {
            let handler = lease
                .revision()
                .loaded()
                .messages
                .as_ref()
                .expect("checked above");
            handler.handle(message, work, deadline).await
        });
        let instances = &revision.loaded().instances;
        let handled = if instances.yields() {
            // In the task of the delivery, in which most end at once.
            let handling = AssertUnwindSafe(handling).catch_unwind();
            handling.await.unwrap_or_else(|_panic| {
                Err(InvokeError::Panic {
                    component: context.component.clone(),
                })
            })
        } else {
            let task = AbortOnDrop(instances.spawn(handling));
            task.join(&context.component).await
        };
        context.stats.ended(handled.is_err(), began.elapsed());
        handled
    }

    fn lease(&self, component: &ComponentName, work: &Work) -> Result<Lease, InvokeError> {
        self.registry
            .lease(component.as_str(), work)
            .ok_or_else(|| InvokeError::NotRunning {
                component: component.clone(),
            })
    }
}

/// A request that nobody waits for any more, unless it was answered: counted when it is dropped.
struct Unanswered(Option<Arc<ComponentMetrics>>);

impl Unanswered {
    fn answered(mut self) {
        self.0 = None;
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if let Some(metrics) = &self.0 {
            metrics.cancelled.inc();
        }
    }
}

/// A task that ends with whoever waits for it.
struct AbortOnDrop(tokio::task::JoinHandle<Result<(), InvokeError>>);

impl AbortOnDrop {
    async fn join(mut self, component: &ComponentName) -> Result<(), InvokeError> {
        match (&mut self.0).await {
            Ok(outcome) => outcome,
            Err(error) if error.is_panic() => Err(InvokeError::Panic {
                component: component.clone(),
            }),
            // The threads are gone: the host shuts down.
            Err(_) => Err(InvokeError::NotRunning {
                component: component.clone(),
            }),
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[async_trait]
impl Peers for Dispatch {
    async fn http(
        &self,
        component: &ComponentName,
        request: Request<WasiBody>,
        work: Work,
    ) -> Result<Response<WasiBody>, InvokeError> {
        check_depth(component, &work)?;
        let response = Dispatch::http(self, component, request, work).await?;
        Ok(response.map(BodyExt::boxed_unsync))
    }

    async fn itself(
        &self,
        mut request: Request<WasiBody>,
        work: Work,
    ) -> Result<Response<WasiBody>, InvokeError> {
        let found = {
            let method = request.method().as_str();
            self.router().find(method, None, request.uri().path())
        };
        let route = match found {
            Outcome::Found(found) => found.route,
            Outcome::NotFound => return Ok(empty(StatusCode::NOT_FOUND)),
            Outcome::MethodNotAllowed { .. } => return Ok(empty(StatusCode::METHOD_NOT_ALLOWED)),
        };
        if let Some(told) = &route.told {
            tell(&mut request, &route.path, told, None);
        }
        match &route.target {
            RouteTarget::Component(component) => Peers::http(self, component, request, work).await,
            RouteTarget::Response(response) => Ok(response
                .answer()
                .map(|body| body.map_err(|never| match never {}).boxed_unsync())),
        }
    }

    fn callee(&self, component: &ComponentName, work: &Work) -> Result<Callee, InvokeError> {
        let lease = self.lease(component, work)?;
        let instances = lease.revision().loaded().instances.clone();
        Ok(Callee {
            instances,
            lease: Arc::new(lease),
        })
    }
}

fn empty(status: StatusCode) -> Response<WasiBody> {
    let body = Empty::new().map_err(|never| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = status;
    response
}

fn check_depth(component: &ComponentName, work: &Work) -> Result<(), InvokeError> {
    if work.depth <= CALL_DEPTH_MAX {
        return Ok(());
    }
    Err(InvokeError::TooDeep {
        component: component.clone(),
        depth_max: CALL_DEPTH_MAX,
    })
}

fn log_failure(
    component: &ComponentName,
    error: &InvokeError,
    revision: Option<RevisionId>,
    work: WorkName,
) {
    let (request_id, trace_id) = (work.request_id(), work.trace_id());
    let span_id = work.span_id();
    let revision = revision.map(tracing::field::display);
    let source = source_text(error);
    match status(error) {
        status if status.is_server_error() => {
            tracing::warn!(%component, revision, request_id, trace_id, span_id, error = %error, source, "request failed");
        }
        _ => {
            tracing::debug!(%component, revision, request_id, trace_id, span_id, error = %error, "request refused")
        }
    }
}

fn source_text(error: &InvokeError) -> Option<String> {
    std::error::Error::source(error).map(in_words)
}
