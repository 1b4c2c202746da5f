//! `fermyon:spin/variables@2.0.0` and `spin:variables@3.0.0`: the component's configuration values.

use super::{Caller, Spin, at};
use crate::runtime::bindings::spin_2::fermyon::spin::variables as two;
use crate::runtime::bindings::spin_3::spin::variables::variables as three;
use crate::runtime::state::InstanceState;

/// Why there is no value.
enum Refusal {
    InvalidName(String),
    Undefined(String),
}

impl InstanceState {
    fn variable(&self, name: &str) -> Result<String, Refusal> {
        if let Some(value) = self.config_value(name) {
            return Ok(value);
        }
        // The names that a manifest of Spin can give.
        let valid = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        if !valid {
            let rule = "use lower-case letters, digits and '_', a letter first";
            return Err(Refusal::InvalidName(format!("{name:?}: {rule}")));
        }
        let component = &self.context.component;
        let text = format!("component {component} has no variable {name:?}");
        Err(Refusal::Undefined(text))
    }
}

macro_rules! errors {
    ($version:ident) => {
        impl From<Refusal> for $version::Error {
            fn from(refusal: Refusal) -> Self {
                match refusal {
                    Refusal::InvalidName(text) => Self::InvalidName(text),
                    Refusal::Undefined(text) => Self::Undefined(text),
                }
            }
        }
    };
}

errors!(two);
errors!(three);

impl two::Host for InstanceState {
    async fn get(&mut self, name: String) -> wasmtime::Result<Result<String, two::Error>> {
        Ok(self.variable(&name).map_err(Into::into))
    }
}

impl three::Host for InstanceState {}

impl three::HostWithStore<InstanceState> for Spin {
    async fn get(caller: &Caller, name: String) -> wasmtime::Result<Result<String, three::Error>> {
        at(caller, |state| state.variable(&name).map_err(Into::into))
    }
}
