//! Handling messages with a component: `wasmcloud:messaging/handler@0.2.0`.

use std::sync::Arc;
use std::time::Duration;

use super::bindings::messaging::MessagesIndices;
use super::bindings::messaging::wasmcloud::messaging::types::BrokerMessage;
use super::error::InvokeError;
use super::instance::{Instance, Instances};
use super::work::Work;
use crate::capability::streams::Delivery;

/// Handles messages with a revision of a component.
pub struct Handler {
    instances: Arc<Instances>,
    indices: MessagesIndices,
}

impl Handler {
    /// Handles with `instances`, whose export `indices` has found.
    pub fn new(instances: Arc<Instances>, indices: MessagesIndices) -> Self {
        Self { instances, indices }
    }

    /// Has the component handle the delivery's message within `deadline`. Cancelling ends the work.
    ///
    /// # Errors
    ///
    /// [`InvokeError::GuestError`] with the handler's own words, or why it could not finish.
    pub async fn handle(
        &self,
        delivery: &Arc<Delivery>,
        work: Work,
        deadline: Duration,
    ) -> Result<(), InvokeError> {
        let over = self.instances.context().over.of(work.kind);
        tokio::select! {
            biased;
            handled = self.handle_in_time(delivery, work, deadline) => handled,
            () = over.cancelled() => Err(InvokeError::Retired {
                component: self.instances.context().component.clone(),
            }),
        }
    }

    async fn handle_in_time(
        &self,
        delivery: &Arc<Delivery>,
        work: Work,
        deadline: Duration,
    ) -> Result<(), InvokeError> {
        // Waiting for an instance is not the handler's time.
        let instance = self.instances.take(work).await?;
        match tokio::time::timeout(deadline, self.call(instance, delivery)).await {
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

    async fn call(
        &self,
        mut instance: Instance,
        delivery: &Arc<Delivery>,
    ) -> Result<(), InvokeError> {
        let component = || self.instances.context().component.clone();
        let store = &mut instance.store;
        let messages = self
            .indices
            .load(&mut *store, &instance.instance)
            .map_err(|source| InvokeError::Host {
                component: component(),
                source,
            })?;
        // Until the instance turns to other work, its configuration answers for this message, too.
        store.data_mut().delivery = Some(delivery.clone());
        let message = &delivery.message;
        let message = BrokerMessage {
            subject: message.subject.to_string(),
            body: message.body.to_vec(),
            reply_to: message.reply_to.clone(),
        };
        let handler = messages.wasmcloud_messaging_handler();
        match handler.call_handle_message(&mut *store, &message).await {
            Ok(outcome) => {
                self.instances.give_back(instance);
                outcome.map_err(|error| InvokeError::GuestError {
                    component: component(),
                    error,
                })
            }
            Err(source) => Err(InvokeError::of_call(store, source)),
        }
    }
}
