//! What a manifest is given from outside of it: values of its variables, and where databases are.
//!
//! Only manifests of Spin ask for such. It is gathered where a command runs, and goes along with the
//! manifest from there: a host that is told to apply one looks into no environment of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a manifest is given.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Supplied {
    /// Values of variables that this manifest was meant to have.
    pub named: BTreeMap<String, String>,
    /// Values of variables that other manifests may have instead.
    pub ambient: BTreeMap<String, String>,
    /// The files of SQLite databases that do not lie in the state directory, by their names.
    pub databases: BTreeMap<String, PathBuf>,
    /// Nothing runs what is made of the manifest, so that variables may lack their values.
    #[serde(skip)]
    pub unused: bool,
}

impl Supplied {
    /// The value of a variable.
    pub fn value(&self, variable: &str) -> Option<&str> {
        let named = self.named.get(variable);
        named
            .or_else(|| self.ambient.get(variable))
            .map(String::as_str)
    }
}

/// Values may be secret.
impl fmt::Debug for Supplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supplied")
            .field("named", &self.named.keys())
            .field("ambient", &self.ambient.keys())
            .field("databases", &self.databases)
            .finish()
    }
}
