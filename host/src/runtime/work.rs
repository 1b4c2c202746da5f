//! What an instance works for: the request or delivery, and its place in a trace.

use tracing::field::{DisplayValue, display};

use super::trace::{SpanId, Trace, TraceId};
use crate::name::RevisionId;

/// How deep calls between components may go. Applications have two or three layers; a circle would
/// otherwise eat every instance of the pool.
pub const CALL_DEPTH_MAX: u8 = 8;

/// What an instance works for right now.
#[derive(Debug, Clone)]
pub struct Work {
    /// Names the request or delivery in the logs; 0 for what the host does by itself.
    pub id: u64,
    /// How many calls between components lie between it and the outside world.
    pub depth: u8,
    /// What brought it in.
    pub kind: WorkKind,
    /// The revision that its sender asked for, which serves wherever its component is called.
    pub pin: Option<RevisionId>,
    /// Its place among what other components and hosts do for the same reason; `None` for what the
    /// host does by itself.
    pub trace: Option<Trace>,
}

impl Work {
    /// The work that it hands to another component.
    pub fn next(&self) -> Self {
        Self {
            id: self.id,
            depth: self.depth + 1,
            kind: self.kind,
            pin: self.pin,
            trace: self.trace.as_ref().map(Trace::next),
        }
    }

    /// What names it in log lines.
    pub fn name(&self) -> WorkName {
        WorkName {
            id: (self.id != 0).then_some(self.id),
            trace: self.trace.as_ref().map(|trace| (trace.id, trace.span)),
        }
    }

    /// The trace, for log lines.
    pub fn trace_id(&self) -> Option<DisplayValue<TraceId>> {
        self.name().trace_id()
    }
}

/// What brings work in. Requests and deliveries are drained under limits of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WorkKind {
    /// An HTTP request, and the calls that it leads to.
    Request,
    /// A delivery of a message, and the calls that it leads to.
    Delivery,
}

/// What names a piece of work in log lines: the fields `request_id`, `trace_id` and `span_id`.
#[derive(Debug, Clone, Copy)]
pub struct WorkName {
    id: Option<u64>,
    trace: Option<(TraceId, SpanId)>,
}

impl WorkName {
    /// No request's or delivery's alone.
    pub const NOBODY: Self = Self {
        id: None,
        trace: None,
    };

    /// The request or delivery within this host.
    pub fn request_id(&self) -> Option<u64> {
        self.id
    }

    /// The trace that it belongs to, here and elsewhere.
    pub fn trace_id(&self) -> Option<DisplayValue<TraceId>> {
        self.trace.map(|(trace, _)| display(trace))
    }

    /// Its own place in the trace.
    pub fn span_id(&self) -> Option<DisplayValue<SpanId>> {
        self.trace.map(|(_, span)| display(span))
    }
}
