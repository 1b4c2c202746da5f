//! Values that come from several places: written in place, from `ConfigMap`s, from `Secret`s. A later
//! place wins, in this order.

use std::collections::BTreeMap;

use super::objects::{Objects, pairs};
use super::raw::{ConfigLayer, HostInterface, Reference, Texts};
use crate::document::{Located, Report};
use crate::manifest::model::{Application, ProvidedSecret, Secret, Variables};
use crate::name::{Digest, SecretName};

/// The places of one layer.
pub(super) struct Layer<'a> {
    pub config: Option<&'a Located<Texts>>,
    pub config_from: Option<&'a Located<Vec<Reference>>>,
    pub secret_from: Option<&'a Located<Vec<Reference>>>,
}

impl<'a> From<&'a ConfigLayer> for Layer<'a> {
    fn from(layer: &'a ConfigLayer) -> Self {
        Self {
            config: layer.config.as_ref(),
            config_from: layer.configFrom.as_ref(),
            secret_from: layer.secretFrom.as_ref(),
        }
    }
}

impl<'a> From<&'a HostInterface> for Layer<'a> {
    fn from(interface: &'a HostInterface) -> Self {
        Self {
            config: interface.config.as_ref(),
            config_from: interface.configFrom.as_ref(),
            secret_from: interface.secretFrom.as_ref(),
        }
    }
}

impl Layer<'_> {
    /// Its values. Those of secrets are given to `application`, by names that are made of where they
    /// come from.
    pub fn values(
        &self,
        objects: &Objects,
        application: &mut Application,
        report: &mut Report,
    ) -> Variables {
        let mut plain: BTreeMap<String, String> = pairs(self.config).collect();
        for reference in names(self.config_from) {
            plain.extend(objects.map(reference, report));
        }
        let mut secrets = BTreeMap::new();
        for reference in names(self.secret_from) {
            for (key, value) in objects.secret(reference, report) {
                let name = secret_name(&reference.value, &key);
                plain.remove(&key);
                application
                    .provided_secrets
                    .insert(name.clone(), ProvidedSecret(value));
                let secret = Secret {
                    name,
                    generate: None,
                };
                secrets.insert(key, secret);
            }
        }
        Variables { plain, secrets }
    }
}

/// Values of `over` go before those of `under`.
pub(super) fn merged(mut under: Variables, over: Variables) -> Variables {
    for key in over.plain.keys().chain(over.secrets.keys()) {
        under.plain.remove(key);
        under.secrets.remove(key);
    }
    under.plain.extend(over.plain);
    under.secrets.extend(over.secrets);
    under
}

fn names(references: Option<&Located<Vec<Reference>>>) -> impl Iterator<Item = &Located<String>> {
    let references = references.into_iter().flat_map(|list| &list.value);
    references.filter_map(|reference| reference.name.as_ref())
}

/// A name for one key of a `Secret`: keys may hold more than a name may.
fn secret_name(secret: &str, key: &str) -> SecretName {
    let digest = Digest::of(format!("{secret}/{key}").as_bytes());
    let name = format!("manifest-{}", &digest.to_string()[..40]);
    name.parse().expect("hexadecimal digits after a label")
}
