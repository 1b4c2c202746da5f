//! `wasi:logging`: structured log lines, tagged with who wrote them.

use crate::runtime::bindings::logging::wasi::logging::logging::{Host, Level};
use crate::runtime::state::InstanceState;

impl Host for InstanceState {
    fn log(&mut self, level: Level, context: String, message: String) -> wasmtime::Result<()> {
        if !self.guest_log().admits(context.len() + message.len()) {
            return Ok(());
        }
        let component = &self.context.component;
        let revision = self.context.revision;
        let name = self.work.name();
        let (request_id, trace_id) = (name.request_id(), name.trace_id());
        let span_id = name.span_id();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(target: "wharf::guest", %component, %revision, request_id, trace_id, span_id, context, line = message, "guest logged")
            };
        }
        match level {
            Level::Trace => line!(trace),
            Level::Debug => line!(debug),
            Level::Info => line!(info),
            Level::Warn => line!(warn),
            Level::Error | Level::Critical => line!(error),
        }
        Ok(())
    }
}
