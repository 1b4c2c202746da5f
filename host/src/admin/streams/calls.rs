//! The calls of the admin API on streams: read what is asked, ask the operator's hands, write what
//! they say.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, StatusCode};
use hyper::body::Incoming;
use tokio::time::timeout;

use super::model::Published;
use super::{OperateError, StreamsOperator};
use crate::admin::answer::{self, Body};
use crate::admin::api::to_its_end;
use crate::admin::body;
use crate::admin::operations::{Operation, Parameters};
use crate::admin::query::Query;
use crate::admin::refusal::Refusal;
use crate::name::Subject;

/// Longest that the streams may take. Reading some hundred messages takes milliseconds, and so does a
/// step of a redrive; what a lost backend does not answer, an operator asks again.
const WITHIN: Duration = Duration::from_secs(30);

/// A call on streams, as it came.
pub(in crate::admin) struct Call<'a> {
    pub(in crate::admin) operation: Operation,
    pub(in crate::admin) parameters: Parameters<'a>,
    pub(in crate::admin) query: Query<'a>,
    pub(in crate::admin) body: Incoming,
}

/// Carries it out. What changes something goes to its end even if its caller is gone before.
pub(in crate::admin) async fn answer(
    streams: &Arc<StreamsOperator>,
    call: Call<'_>,
) -> Result<Response<Body>, Refusal> {
    let Call {
        operation,
        parameters,
        query,
        body,
    } = call;
    if operation == Operation::Streams {
        let only: Option<Subject> = query.get("subject")?;
        let subjects = within(streams.list(only.as_ref())).await?;
        return Ok(answer::json(StatusCode::OK, &subjects));
    }
    let subject: Subject = parameters.read("subject")?;
    let streams = streams.clone();
    match operation {
        Operation::DeadLetters => {
            let group = query.get("group")?;
            let (limit, full) = (query.messages_limit()?, query.flag("full")?);
            let dead = within(streams.dead(&subject, group.as_ref(), limit, full)).await?;
            Ok(answer::json(StatusCode::OK, &dead))
        }
        Operation::Messages => {
            let after = query.entry("after")?;
            let (limit, full) = (query.messages_limit()?, query.flag("full")?);
            let held = within(streams.peek(&subject, after, limit, full)).await?;
            Ok(answer::json(StatusCode::OK, &held))
        }
        Operation::Redrive => {
            let request = body::json(body, body::JSON_BYTES_MAX).await?;
            let work = async move { within(streams.redrive(&subject, request)).await };
            Ok(answer::json(StatusCode::OK, &to_its_end(work).await?))
        }
        Operation::Publish => {
            let request = body::json(body, body::MESSAGE_JSON_BYTES_MAX).await?;
            let work = async move { within(streams.publish(&subject, request)).await };
            let id = to_its_end(work).await?.to_string();
            Ok(answer::json(StatusCode::CREATED, &Published { id }))
        }
        Operation::Forget => {
            let group = parameters.read("group")?;
            let work = async move { within(streams.forget(&subject, &group)).await };
            Ok(answer::json(StatusCode::OK, &to_its_end(work).await?))
        }
        other => unreachable!("{other:?} is no call on streams"),
    }
}

async fn within<T>(work: impl Future<Output = Result<T, OperateError>>) -> Result<T, OperateError> {
    match timeout(WITHIN, work).await {
        Ok(done) => done,
        Err(_) => Err(OperateError::Silent {
            seconds: WITHIN.as_secs(),
        }),
    }
}
