//! `wasmcloud:messaging/consumer`: publishing, durable when the call returns.

use crate::capability::streams::{MESSAGE_BYTES_MAX, Message};
use crate::name::Subject;
use crate::runtime::bindings::messaging::wasmcloud::messaging::consumer::Host;
use crate::runtime::bindings::messaging::wasmcloud::messaging::types::{self, BrokerMessage};
use crate::runtime::state::InstanceState;

impl types::Host for InstanceState {}

impl Host for InstanceState {
    async fn request(
        &mut self,
        _subject: String,
        _body: Vec<u8>,
        _timeout_ms: u32,
    ) -> wasmtime::Result<Result<BrokerMessage, String>> {
        Ok(Err("requests over messages are not supported: streams are durable and answer nobody; \
                publish and subscribe to the answer, or call the component over its WIT interface or \
                http://NAME.internal/"
            .to_owned()))
    }

    async fn publish(&mut self, message: BrokerMessage) -> wasmtime::Result<Result<(), String>> {
        let subject = match message.subject.parse::<Subject>() {
            Ok(subject) => subject,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let grants = &self.context.grants;
        if !grants.any.publish && !grants.publish.contains(&subject) {
            let component = &self.context.component;
            let text = format!(
                "component {component} may not publish to {subject}: add \"{subject}\" to publish in \
                 [component.{component}.grants]"
            );
            tracing::warn!(%component, request_id = self.work.id, trace_id = self.work.trace_id(), "{text}");
            return Ok(Err(text));
        }
        let mut message = Message {
            subject,
            body: message.body.into(),
            reply_to: message.reply_to,
            headers: Vec::new(),
        };
        if let Some(trace) = &self.work.trace {
            message.headers = trace.next().message_headers();
            // The guest knows nothing of them, so a message that fits without them is not refused.
            if message.bytes() > MESSAGE_BYTES_MAX {
                message.headers.clear();
            }
        }
        match self.context.backends.streams.publish(message).await {
            Ok(_) => Ok(Ok(())),
            Err(error) => Ok(Err(error.to_string())),
        }
    }
}
