//! What a component has that no manifest grants. Only `wharf serve` gives it, where one component is
//! run as `wasmtime serve` runs it: outbound requests go anywhere, header fields and other resources
//! have that program's bounds, and each instance knows its number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a component has of the machine without a grant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ambient {
    /// Key-value stores by any name.
    pub keyvalue: bool,
    /// What its own key-value store holds when the host starts.
    pub keyvalue_data: BTreeMap<String, String>,
    /// Its standard output and error are the host's own; `None`: they become log lines.
    pub console: Option<Console>,
    /// The working directory that it is told.
    pub working_directory: Option<String>,
    /// What its sockets may do.
    pub sockets: Sockets,
    /// What its instances may hold.
    pub bounds: Bounds,
}

/// How what a guest prints is written to the host's standard streams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    /// Each line begins with its stream and its instance's number: `stdout [3] :: `.
    pub prefix: bool,
}

/// What `wasi:sockets` may do. Where a part is not said, it is as wasmtime has it: the protocols are
/// there, and neither an address nor a name is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sockets {
    /// Every address may be used, by either protocol.
    pub every_address: bool,
    /// TCP.
    pub tcp: Option<bool>,
    /// UDP.
    pub udp: Option<bool>,
    /// Names may be looked up.
    pub names: Option<bool>,
}

/// What one instance may hold; what is not said is as wasmtime has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// Elements of one table.
    pub table_elements_max: Option<usize>,
    /// Core instances.
    pub instances_max: Option<usize>,
    /// Tables.
    pub tables_max: Option<usize>,
    /// Linear memories.
    pub memories_max: Option<usize>,
    /// A memory or table that may not grow is a trap.
    pub growth_traps: bool,
    /// Resources of the host.
    pub resources_max: Option<usize>,
    /// Handles of the component model.
    pub handles_max: Option<usize>,
    /// What one call may hand over to the host, in bytes and elements.
    pub hostcall_fuel: Option<usize>,
    /// Random bytes that it gets at once.
    pub random_bytes_max: Option<u64>,
    /// Bytes of one set of header fields in the host's memory.
    pub fields_bytes_max: Option<usize>,
    /// Pieces of a response's body that may wait to be taken.
    pub body_pieces: Option<usize>,
    /// Bytes of one such piece.
    pub body_piece_bytes: Option<usize>,
}
