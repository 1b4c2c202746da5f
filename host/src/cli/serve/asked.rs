//! What the options of `wharf serve` ask for, once they are read.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::manifest::ambient::Ambient;

/// What `-S`, `-W` and their like ask for.
#[derive(Default)]
pub struct Asked {
    /// The component may use key-value stores.
    pub keyvalue: bool,
    /// What `wasi:config` answers.
    pub variables: BTreeMap<String, String>,
    /// The component has the variables of the process's environment.
    pub inherit_env: bool,
    /// How long a request may take.
    pub timeout: Option<Duration>,
    /// Linear memory of one instance, in bytes.
    pub memory_bytes_max: Option<usize>,
    /// What it has without a grant.
    pub ambient: Ambient,
}
