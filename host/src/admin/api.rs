//! The calls below `/v1`: read what is asked, ask the rollouts or the streams, write what
//! they say.
//!
//! It decides nothing about them. What changes something is carried out to its end even if its
//! caller is gone before.

use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::answer::{self, Body};
use super::operations::{self, Operation};
use super::query::Query;
use super::refusal::Refusal;
use super::streams::{self, StreamsOperator};
use super::{body, events, openapi};
use crate::name::{ComponentName, Digest, RolloutId};
use crate::rollout::model::{ApplyRequest, SwapRequest};
use crate::rollout::{RolloutError, Rollouts};

/// Artifacts that are taken in at once. Each is held in memory until it is whole.
const UPLOADS_MAX: usize = 2;

/// The API.
pub(super) struct Api {
    access: Access,
    rollouts: Arc<Rollouts>,
    streams: Arc<StreamsOperator>,
    document: Bytes,
    uploads: Semaphore,
}

impl Api {
    pub(super) fn new(
        access: Access,
        rollouts: Arc<Rollouts>,
        streams: Arc<StreamsOperator>,
    ) -> Self {
        Self {
            access,
            rollouts,
            streams,
            document: openapi::document().to_string().into(),
            uploads: Semaphore::new(UPLOADS_MAX),
        }
    }

    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        stop: &CancellationToken,
    ) -> Response<Body> {
        match self.carried_out(request, stop).await {
            Ok(response) => response,
            Err(refusal) => {
                tracing::debug!(reason = %refusal, "an operator's call is refused");
                refusal.into_response()
            }
        }
    }

    async fn carried_out(
        &self,
        request: Request<Incoming>,
        stop: &CancellationToken,
    ) -> Result<Response<Body>, Refusal> {
        self.access.check(&request)?;
        let (head, body) = request.into_parts();
        let (operation, parameters) = operations::find(&head.method, head.uri.path())?;
        let query = Query::read(head.uri.query(), operation.query())?;
        match operation {
            Operation::Components => Ok(answer::json(StatusCode::OK, &self.rollouts.status())),
            Operation::Revisions => {
                let revisions = self
                    .rollouts
                    .revisions(&parameters.read("component")?)
                    .await?;
                Ok(answer::json(StatusCode::OK, &revisions))
            }
            Operation::StoreArtifact => self.store(&query, body).await,
            Operation::Swap => {
                let request = body::json(body, body::JSON_BYTES_MAX).await?;
                self.swap(parameters.read("component")?, request).await
            }
            Operation::RollBack => {
                let component: ComponentName = parameters.read("component")?;
                let request = body::json(body, body::JSON_BYTES_MAX).await?;
                let rollouts = self.rollouts.clone();
                let begun =
                    to_its_end(async move { rollouts.roll_back(&component, request).await });
                let rollout = begun.await?;
                Ok(answer::begun(rollout.id, &rollout))
            }
            Operation::History => {
                let component: Option<ComponentName> = query.get("component")?;
                let history = self.rollouts.history(component.as_ref(), query.limit()?);
                Ok(answer::json(StatusCode::OK, &history.await?))
            }
            Operation::Rollout => {
                let rollout = self.rollouts.rollout(parameters.read("id")?).await?;
                Ok(answer::json(StatusCode::OK, &rollout))
            }
            Operation::Events => {
                let events = self.rollouts.events(parameters.read("id")?).await?;
                Ok(events::response(events, stop.clone()))
            }
            Operation::Cancel => {
                let rollout: RolloutId = parameters.read("id")?;
                let rollouts = self.rollouts.clone();
                let rollout = to_its_end(async move { rollouts.cancel(rollout).await }).await?;
                Ok(answer::begun(rollout.id, &rollout))
            }
            Operation::Apply => {
                let request = body::json(body, body::JSON_BYTES_MAX).await?;
                self.apply(request).await
            }
            Operation::Streams
            | Operation::DeadLetters
            | Operation::Redrive
            | Operation::Messages
            | Operation::Publish
            | Operation::Forget => {
                let call = streams::Call {
                    operation,
                    parameters,
                    query,
                    body,
                };
                streams::answer(&self.streams, call).await
            }
            Operation::Document => Ok(answer::json_text(StatusCode::OK, self.document.clone())),
        }
    }

    async fn store(&self, query: &Query<'_>, body: Incoming) -> Result<Response<Body>, Refusal> {
        let expected: Option<Digest> = query.get("sha256")?;
        let _turn = self.uploads.acquire().await.expect("it is never closed");
        let bytes = body::bytes(body, body::ARTIFACT_BYTES_MAX).await?;
        let rollouts = self.rollouts.clone();
        let stored = to_its_end(async move { rollouts.store_artifact(bytes, expected).await });
        Ok(answer::json(StatusCode::CREATED, &stored.await?))
    }

    async fn swap(
        &self,
        component: ComponentName,
        request: SwapRequest,
    ) -> Result<Response<Body>, Refusal> {
        if request.dry_run {
            let plan = self.rollouts.plan(&component, request).await?;
            return Ok(answer::json(StatusCode::OK, &plan));
        }
        let rollouts = self.rollouts.clone();
        let begun = to_its_end(async move { rollouts.swap(&component, request).await });
        let rollout = begun.await?;
        Ok(answer::begun(rollout.id, &rollout))
    }

    async fn apply(&self, request: ApplyRequest) -> Result<Response<Body>, Refusal> {
        let dry_run = request.dry_run;
        let rollouts = self.rollouts.clone();
        let plan = to_its_end(async move { rollouts.apply(request).await }).await?;
        let begun = !dry_run && plan.problems.is_empty();
        let status = if begun {
            StatusCode::ACCEPTED
        } else {
            StatusCode::OK
        };
        Ok(answer::json(status, &plan))
    }
}

/// Carries out what must not stop halfway, whether or not its caller still waits.
pub(super) async fn to_its_end<T, E>(
    work: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, Refusal>
where
    T: Send + 'static,
    E: Into<Refusal> + Send + 'static,
{
    match tokio::spawn(work).await {
        Ok(ended) => ended.map_err(Into::into),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Nobody aborts it but the runtime, when the process ends.
            Err(_) => Err(RolloutError::ShuttingDown.into()),
        },
    }
}
