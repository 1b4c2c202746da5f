//! `wasi:config`: the component's configuration values, without its secrets.

use crate::runtime::bindings::{config_2024_09_27, config_draft, config_rc1};
use crate::runtime::state::InstanceState;

macro_rules! config_view {
    ($bindings:ident) => {
        impl $bindings::wasi::config::store::Host for InstanceState {
            fn get(
                &mut self,
                key: String,
            ) -> wasmtime::Result<Result<Option<String>, $bindings::wasi::config::store::Error>>
            {
                let value = self.context.config.iter().find(|(known, _)| *known == key);
                Ok(Ok(value.map(|(_, value)| value.clone())))
            }

            fn get_all(
                &mut self,
            ) -> wasmtime::Result<
                Result<Vec<(String, String)>, $bindings::wasi::config::store::Error>,
            > {
                Ok(Ok(self.context.config.clone()))
            }
        }
    };
}

config_view!(config_rc1);
config_view!(config_2024_09_27);
config_view!(config_draft);
