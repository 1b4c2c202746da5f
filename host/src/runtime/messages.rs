//! Handling messages with a component, by whichever handler it exports:
//!
//! | export | it is given | it answers |
//! | --- | --- | --- |
//! | `wasmcloud:messaging/handler@0.2.0` | subject, body, reply-to | nothing, or an error in words |
//! | `spin:redis/inbound-redis@3.0.0` | body | nothing, or an error of Redis |
//! | `fermyon:spin/inbound-redis` | body | nothing, or that it failed |

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::InstancePre;

use super::bindings::messaging::MessagesIndices;
use super::bindings::messaging::wasmcloud::messaging::types::BrokerMessage;
use super::bindings::spin_3::spin::redis::redis;
use super::bindings::spin_redis_handler_2::RedisHandlerTwoIndices;
use super::bindings::spin_redis_handler_2::fermyon::spin::redis_types;
use super::bindings::spin_redis_handler_3::RedisHandlerThreeIndices;
use super::error::InvokeError;
use super::instance::{Instance, Instances};
use super::state::InstanceState;
use super::work::Work;
use crate::capability::streams::Delivery;

/// A message as a handler is given it.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// What it was published to.
    pub subject: String,
    /// What was published.
    pub body: Bytes,
    /// Where its publisher waits for an answer.
    pub reply_to: Option<String>,
    /// The delivery that it is, where it came from a stream.
    pub delivery: Option<Arc<Delivery>>,
}

impl From<Delivery> for Incoming {
    fn from(delivery: Delivery) -> Self {
        let message = &delivery.message;
        Self {
            subject: message.subject.to_string(),
            body: message.body.clone(),
            reply_to: message.reply_to.clone(),
            delivery: Some(Arc::new(delivery)),
        }
    }
}

/// The handler that a component exports.
pub enum Export {
    Messaging(MessagesIndices),
    Redis3(RedisHandlerThreeIndices),
    Redis2(RedisHandlerTwoIndices),
}

impl Export {
    /// The component's handler, the first in this order if it has several.
    pub fn of(pre: &InstancePre<InstanceState>) -> Option<Self> {
        MessagesIndices::new(pre)
            .map(Self::Messaging)
            .or_else(|_| RedisHandlerThreeIndices::new(pre).map(Self::Redis3))
            .or_else(|_| RedisHandlerTwoIndices::new(pre).map(Self::Redis2))
            .ok()
    }
}

/// The exports of which a component needs one to handle messages.
pub const MESSAGE_EXPORTS: &str = "wasmcloud:messaging/handler@0.2.0, spin:redis/inbound-redis@3.0.0 or \
                                   fermyon:spin/inbound-redis";

/// Handles messages with a revision of a component.
pub struct Handler {
    instances: Arc<Instances>,
    export: Export,
}

impl Handler {
    /// Handles with `instances`, whose export `export` is.
    pub fn new(instances: Arc<Instances>, export: Export) -> Self {
        Self { instances, export }
    }

    /// Has the component handle a message within `deadline`. Cancelling ends the work.
    ///
    /// # Errors
    ///
    /// [`InvokeError::GuestError`] with the handler's own words, or why it could not finish.
    pub async fn handle(
        &self,
        message: Incoming,
        work: Work,
        deadline: Duration,
    ) -> Result<(), InvokeError> {
        let over = self.instances.context().over.of(work.kind);
        tokio::select! {
            biased;
            handled = self.handle_in_time(message, work, deadline) => handled,
            () = over.cancelled() => Err(InvokeError::Retired {
                component: self.instances.context().component.clone(),
            }),
        }
    }

    async fn handle_in_time(
        &self,
        message: Incoming,
        work: Work,
        deadline: Duration,
    ) -> Result<(), InvokeError> {
        // Waiting for an instance is not the handler's time.
        let instance = self.instances.take(work).await?;
        match tokio::time::timeout(deadline, self.call(instance, message)).await {
            Ok(called) => called,
            Err(_) => {
                let component = self.instances.context().component.clone();
                Err(InvokeError::Deadline {
                    component,
                    deadline,
                })
            }
        }
    }

    async fn call(&self, mut instance: Instance, message: Incoming) -> Result<(), InvokeError> {
        // Until the instance turns to other work, its configuration answers for this message, too.
        instance.store.data_mut().delivery = message.delivery.clone();
        match self.outcome(&mut instance, message).await {
            Ok(outcome) => {
                self.instances.give_back(instance);
                outcome.map_err(|error| InvokeError::GuestError {
                    component: self.instances.context().component.clone(),
                    error,
                })
            }
            Err(source) => Err(InvokeError::of_call(&instance.store, source)),
        }
    }

    /// What the handler answers; the outer error is a trap.
    async fn outcome(
        &self,
        instance: &mut Instance,
        message: Incoming,
    ) -> wasmtime::Result<Result<(), String>> {
        let Instance {
            store, instance, ..
        } = instance;
        match &self.export {
            Export::Messaging(indices) => {
                let message = BrokerMessage {
                    subject: message.subject,
                    body: message.body.into(),
                    reply_to: message.reply_to,
                };
                let exports = indices.load(&mut *store, instance)?;
                let handler = exports.wasmcloud_messaging_handler();
                handler.call_handle_message(&mut *store, &message).await
            }
            Export::Redis3(indices) => {
                let exports = indices.load(&mut *store, instance)?;
                let handler = exports.spin_redis_inbound_redis();
                let payload = message.body.into();
                let outcome = store.run_concurrent(async move |accessor| {
                    handler.call_handle_message(accessor, payload).await
                });
                let outcome = outcome.await??;
                Ok(outcome.map_err(|error| match error {
                    redis::Error::Other(text) => text,
                    error => error.to_string(),
                }))
            }
            Export::Redis2(indices) => {
                let exports = indices.load(&mut *store, instance)?;
                let handler = exports.fermyon_spin_inbound_redis();
                let payload = message.body.into();
                let outcome = handler.call_handle_message(&mut *store, &payload).await?;
                // Its two cases say no more than that it is one.
                let failed = |_: redis_types::Error| "it failed; its log may say why".to_owned();
                Ok(outcome.map_err(failed))
            }
        }
    }
}
