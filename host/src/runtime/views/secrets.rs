//! `wasmcloud:secrets`: the component's secrets, by the names that its manifest gives them.

use wasmtime::component::Resource;

use crate::runtime::bindings::secrets::wasmcloud::secrets::{reveal, store};
use crate::runtime::state::InstanceState;

/// A secret that the guest may ask the value of.
pub struct HeldSecret(String);

impl store::Host for InstanceState {
    fn get(
        &mut self,
        key: String,
    ) -> wasmtime::Result<Result<Resource<HeldSecret>, store::SecretsError>> {
        let mut secrets = self.context.secrets.iter();
        let found = secrets.find_map(|(name, value)| (*name == key).then(|| value.clone()));
        Ok(match found {
            Some(value) => Ok(self.table.push(HeldSecret(value))?),
            None => Err(store::SecretsError::NotFound),
        })
    }
}

impl store::HostSecret for InstanceState {
    fn drop(&mut self, secret: Resource<HeldSecret>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}

impl reveal::Host for InstanceState {
    fn reveal(&mut self, secret: Resource<HeldSecret>) -> wasmtime::Result<store::SecretValue> {
        let HeldSecret(value) = self.table.get(&secret)?;
        Ok(store::SecretValue::String(value.clone()))
    }
}
