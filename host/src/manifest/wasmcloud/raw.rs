//! Kubernetes objects as a file has them: every key that the workload's definition knows, and no other.
//! Fields are spelled as they are written.

#![allow(
    non_snake_case,
    reason = "keys of Kubernetes objects are in camel case"
)]
#![allow(dead_code, reason = "keys that have no effect are known nonetheless")]

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use crate::document::{At, Map, Read, Report, TableReader, raw_table};

/// What is looked at only to say that it has no effect, or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Anything;

impl Read for Anything {
    fn read(_: &Spanned<DeValue<'_>>, _: &At, _: &mut Report) -> Option<Self> {
        Some(Self)
    }
}

impl JsonSchema for Anything {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Anything".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!(true)
    }
}

/// Text by key.
pub(crate) type Texts = Map<String, String>;

raw_table! {
    /// A `WorkloadDeployment`.
    pub struct WorkloadDeployment {
        required {
            apiVersion: String,
            kind: String,
            metadata: Metadata,
            spec: DeploymentSpec,
        }
        optional {
            status: Anything,
        }
    }
}

raw_table! {
    /// A `Workload`.
    pub struct Workload {
        required {
            apiVersion: String,
            kind: String,
            metadata: Metadata,
            spec: WorkloadSpec,
        }
        optional {
            status: Anything,
        }
    }
}

raw_table! {
    /// An object's metadata: as it is written by hand, and as a cluster gives it out.
    pub struct Metadata {
        required {
            name: String,
        }
        optional {
            namespace: String,
            labels: Texts,
            annotations: Texts,
            creationTimestamp: Anything,
            finalizers: Anything,
            generation: Anything,
            managedFields: Anything,
            ownerReferences: Anything,
            resourceVersion: Anything,
            uid: Anything,
        }
    }
}

raw_table! {
    /// What a deployment keeps true.
    pub struct DeploymentSpec {
        required {
            template: Template,
        }
        optional {
            replicas: u64,
            deployPolicy: String,
            artifacts: Anything,
            kubernetes: Anything,
            service: Anything,
        }
    }
}

raw_table! {
    /// What each replica is.
    pub struct Template {
        required {
            spec: WorkloadSpec,
        }
        optional {
            metadata: Anything,
            labels: Texts,
            annotations: Texts,
        }
    }
}

raw_table! {
    /// A workload.
    pub struct WorkloadSpec {
        required {}
        optional {
            components: Vec<Component>,
            hostInterfaces: Vec<HostInterface>,
            service: Service,
            volumes: Vec<Volume>,
            hostSelector: Texts,
            hostId: String,
            kubernetes: Anything,
            kubernetesService: Anything,
        }
    }
}

raw_table! {
    /// A component of a workload.
    pub struct Component {
        required {
            name: String,
            image: String,
        }
        optional {
            imagePullSecret: Reference,
            imagePullPolicy: String,
            poolSize: Limit,
            maxInvocations: Limit,
            maxConcurrency: Limit,
            localResources: LocalResources,
        }
    }
}

raw_table! {
    /// A long-running part of a workload.
    pub struct Service {
        required {
            image: String,
        }
        optional {
            name: String,
            imagePullSecret: Reference,
            imagePullPolicy: String,
            maxRestarts: Limit,
            localResources: LocalResources,
        }
    }
}

raw_table! {
    /// What a component gets.
    pub struct LocalResources {
        required {}
        optional {
            environment: ConfigLayer,
            config: Texts,
            volumeMounts: Vec<VolumeMount>,
            allowedHosts: Vec<String>,
        }
    }
}

raw_table! {
    /// Values from several places.
    pub struct ConfigLayer {
        required {}
        optional {
            config: Texts,
            configFrom: Vec<Reference>,
            secretFrom: Vec<Reference>,
        }
    }
}

raw_table! {
    /// An object of the same namespace.
    pub struct Reference {
        required {
            name: String,
        }
        optional {}
    }
}

raw_table! {
    /// Where a component sees a volume.
    pub struct VolumeMount {
        required {
            name: String,
            mountPath: String,
        }
        optional {
            readOnly: bool,
        }
    }
}

raw_table! {
    /// A directory.
    pub struct Volume {
        required {
            name: String,
        }
        optional {
            ephemeral: Ephemeral,
            hostPath: HostPath,
        }
    }
}

/// A directory that is empty at first: `{}`.
#[derive(Debug, Clone)]
pub(crate) struct Ephemeral;

impl Read for Ephemeral {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        TableReader::open(value, at, report)?.close(&[]);
        Some(Self)
    }
}

impl JsonSchema for Ephemeral {
    fn schema_name() -> Cow<'static, str> {
        "Ephemeral".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "object", "additionalProperties": false })
    }
}

raw_table! {
    /// A directory of the host's.
    pub struct HostPath {
        required {
            path: String,
        }
        optional {}
    }
}

raw_table! {
    /// An interface that the host provides, or calls.
    pub struct HostInterface {
        required {
            namespace: String,
            package: String,
            interfaces: Vec<String>,
        }
        optional {
            version: String,
            name: String,
            config: Texts,
            configFrom: Vec<Reference>,
            secretFrom: Vec<Reference>,
        }
    }
}

raw_table! {
    /// A `ConfigMap`.
    pub struct ConfigMap {
        required {
            apiVersion: String,
            kind: String,
            metadata: Metadata,
        }
        optional {
            data: Texts,
            binaryData: Texts,
            immutable: bool,
        }
    }
}

raw_table! {
    /// A `Secret`.
    pub struct Secret {
        required {
            apiVersion: String,
            kind: String,
            metadata: Metadata,
        }
        optional {
            data: Texts,
            stringData: Texts,
            r#type: String,
            immutable: bool,
        }
    }
}

/// A number of 32 bits, of which those below 1 mean that it is left to the host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit(pub Option<u32>);

impl Read for Limit {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let number = value.get_ref().as_integer();
        let Some(number) = number.and_then(|number| number.as_str().parse::<i32>().ok()) else {
            report.problem(at, "must be a whole number", "write a number of 32 bits");
            return None;
        };
        Some(Self(u32::try_from(number).ok().filter(|n| *n > 0)))
    }
}

impl JsonSchema for Limit {
    fn schema_name() -> Cow<'static, str> {
        "Limit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer" })
    }
}
