//! Spin's manifest, version 2, as it is written
//! (<https://spinframework.dev/manifest-reference>), and what Wharf reads of `tool.wharf` in it.
#![expect(dead_code, reason = "keys that are allowed and decide nothing here")]

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use toml::Spanned;
use toml::de::DeValue;

use super::super::forms::EnvironmentName;
use super::super::model::{Health, Preemption};
use super::super::raw::{Drain, Limits, Reuse};
use crate::document::{At, Located, Map, Read, Report, Text, raw_table, wrong_type};
use crate::name::Digest;

raw_table! {
    /// The whole manifest.
    pub struct Manifest {
        required {
            /// 2.
            spin_manifest_version: u64,
            /// The application as a whole.
            application: ApplicationTable,
            /// What calls components.
            trigger: Triggers,
        }
        optional {
            /// Variables of the application.
            variables: Map<String, Variable>,
            /// The components, by their identifiers.
            component: Map<String, Component>,
        }
    }
}

raw_table! {
    /// The application as a whole.
    pub struct ApplicationTable {
        required {
            /// Its name.
            name: String,
        }
        optional {
            /// Its version.
            version: String,
            /// What it is.
            description: String,
            /// Who wrote it.
            authors: Vec<String>,
            /// Environments that `spin build` checks it against.
            targets: Anything,
            /// Settings of all triggers of a kind.
            trigger: TriggerDefaults,
            /// Settings of tools.
            tool: Tools<ApplicationTool>,
        }
    }
}

raw_table! {
    /// Settings of all triggers of a kind.
    pub struct TriggerDefaults {
        required {}
        optional {
            /// HTTP.
            http: HttpDefaults,
            /// Redis.
            redis: RedisDefaults,
        }
    }
}

raw_table! {
    /// Settings of all HTTP triggers.
    pub struct HttpDefaults {
        required {}
        optional {
            /// What all routes began with, up to Spin 2.
            base: String,
        }
    }
}

raw_table! {
    /// Settings of all Redis triggers.
    pub struct RedisDefaults {
        required {}
        optional {
            /// The server.
            address: String,
        }
    }
}

raw_table! {
    /// A variable of the application.
    pub struct Variable {
        required {}
        optional {
            /// What it is.
            description: String,
            /// Its value where none is supplied.
            default: String,
            /// Whether a value must be supplied.
            required: bool,
            /// Whether its value must not be shown.
            secret: bool,
        }
    }
}

raw_table! {
    /// What calls components.
    pub struct Triggers {
        required {}
        optional {
            /// HTTP requests.
            http: Vec<Located<HttpTrigger>>,
            /// Messages on channels of Redis servers.
            redis: Vec<Located<RedisTrigger>>,
        }
    }
}

raw_table! {
    /// A route.
    pub struct HttpTrigger {
        required {
            /// The path.
            route: RouteForm,
        }
        optional {
            /// The trigger's name.
            id: String,
            /// Who answers.
            component: OrTable<Component>,
            /// Components for further purposes.
            components: Anything,
            /// Components before and after the one that answers.
            dependencies: Anything,
            /// How it is called.
            executor: Executor,
            /// The answer, where no component gives it.
            static_response: StaticResponse,
        }
    }
}

raw_table! {
    /// How a component is called.
    pub struct Executor {
        required {
            /// `http`, `spin` or `wagi`.
            r#type: String,
        }
        optional {
            /// Of `wagi`.
            argv: String,
            /// Of `wagi`.
            entrypoint: String,
        }
    }
}

raw_table! {
    /// A response that is always the same.
    pub struct StaticResponse {
        required {}
        optional {
            /// The status.
            status_code: u64,
            /// The headers.
            headers: Map<String, String>,
            /// The body.
            body: String,
        }
    }
}

raw_table! {
    /// A route that only other components reach.
    pub struct Private {
        required {
            /// True.
            private: bool,
        }
        optional {}
    }
}

raw_table! {
    /// A channel of a Redis server.
    pub struct RedisTrigger {
        required {
            /// The channel.
            channel: String,
            /// Who handles its messages.
            component: OrTable<Component>,
        }
        optional {
            /// The trigger's name.
            id: String,
            /// The server.
            address: String,
            /// Components for further purposes.
            components: Anything,
            /// Components before and after the one that handles.
            dependencies: Anything,
        }
    }
}

raw_table! {
    /// A component.
    pub struct Component {
        required {
            /// Where its bytes are.
            source: OrTable<RemoteSource>,
        }
        optional {
            /// What it is.
            description: String,
            /// Values of its variables.
            variables: Map<String, String>,
            /// Environment variables.
            environment: Map<EnvironmentName, String>,
            /// Files that it sees.
            files: Vec<Located<OrTable<Placement>>>,
            /// Those among them that it does not see.
            exclude_files: Vec<Located<String>>,
            /// Where its HTTP requests may go, as Spin 1 wrote it.
            allowed_http_hosts: Vec<Located<String>>,
            /// Where its connections may go.
            allowed_outbound_hosts: Vec<Located<String>>,
            /// Key-value stores.
            key_value_stores: Vec<Located<String>>,
            /// SQLite databases.
            sqlite_databases: Vec<Located<String>>,
            /// Language models.
            ai_models: Vec<Located<String>>,
            /// Environments that `spin build` checks it against.
            targets: Anything,
            /// How it is built.
            build: Build,
            /// Settings of tools.
            tool: Tools<ComponentTool>,
            /// Whether its dependencies may do what it may do.
            dependencies_inherit_configuration: bool,
            /// Components that satisfy its imports.
            dependencies: Map<String, OrTable<Dependency>>,
            /// Other values for other ways to build.
            profile: Anything,
        }
    }
}

raw_table! {
    /// Bytes that are elsewhere.
    pub struct RemoteSource {
        required {}
        optional {
            /// Where they are downloaded.
            url: String,
            /// What they must be.
            digest: Text<Digest>,
            /// The registry.
            registry: String,
            /// The package in it.
            package: String,
            /// Its version.
            version: String,
        }
    }
}

raw_table! {
    /// A file or directory, and where a component sees it.
    pub struct Placement {
        required {
            /// The file or directory.
            source: String,
            /// Where it is seen.
            destination: String,
        }
        optional {}
    }
}

raw_table! {
    /// How a component is built.
    pub struct Build {
        required {
            /// One or several shell commands.
            command: Commands,
        }
        optional {
            /// Where they run.
            workdir: String,
            /// What `spin watch` looks at.
            watch: Vec<String>,
        }
    }
}

raw_table! {
    /// A component that satisfies an import.
    pub struct Dependency {
        required {}
        optional {
            /// A file.
            path: String,
            /// Another component of the application.
            component: String,
            /// Where it is downloaded.
            url: String,
            /// What its bytes must be.
            digest: Text<Digest>,
            /// The version of a package in a registry.
            version: String,
            /// The registry.
            registry: String,
            /// The package.
            package: String,
            /// The export that is taken.
            export: String,
            /// What it may do of what the component may do.
            inherit_configuration: Anything,
            /// Environment variables of its own.
            environment: Anything,
        }
    }
}

raw_table! {
    /// What Wharf is told of the application.
    pub struct ApplicationTool {
        required {}
        optional {
            /// Redis triggers take durable streams of Wharf's, named like their channels.
            durable_redis_triggers: bool,
        }
    }
}

raw_table! {
    /// What Wharf is told of a component, as in its own manifests.
    pub struct ComponentTool {
        required {}
        optional {
            /// What it may consume.
            limits: Limits,
            /// Where its deadline is checked.
            preemption: Text<Preemption>,
            /// How far its instances are shared by requests.
            reuse: Reuse,
            /// The request that a new revision must answer.
            health: Text<Health>,
            /// How long a replaced revision may take to finish.
            drain: Drain,
        }
    }
}

/// A value that is allowed and not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Anything;

impl Read for Anything {
    fn read(_: &Spanned<DeValue<'_>>, _: &At, _: &mut Report) -> Option<Self> {
        Some(Self)
    }
}

/// Tables of tools by name, of which only Wharf's own is read.
#[derive(Debug, Clone)]
pub(crate) struct Tools<T> {
    /// Wharf's own.
    pub wharf: Option<Located<T>>,
}

impl<T: Read> Read for Tools<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        let Some(tools) = value.get_ref().as_table() else {
            wrong_type(value.get_ref(), "a table", at, report);
            return None;
        };
        let own = tools.get("wharf");
        let wharf = own.and_then(|own| Located::read(own, &at.key("wharf"), report));
        Some(Self { wharf })
    }
}

/// A name, or what it would name.
#[derive(Debug, Clone)]
pub(crate) enum OrTable<T> {
    /// A string.
    Text(String),
    /// A table.
    Table(Box<T>),
}

impl<T: Read> Read for OrTable<T> {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(text) => Some(Self::Text(text.to_string())),
            DeValue::Table(_) => T::read(value, at, report).map(Box::new).map(Self::Table),
            other => {
                wrong_type(other, "a string or a table", at, report);
                None
            }
        }
    }
}

/// A route as it is written.
#[derive(Debug, Clone)]
pub(crate) enum RouteForm {
    /// A path.
    Path(String),
    /// `{ private = true }`.
    Private,
}

impl Read for RouteForm {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        match OrTable::<Private>::read(value, at, report)? {
            OrTable::Text(path) => Some(Self::Path(path)),
            OrTable::Table(table) => {
                let private = table.private?;
                if !private.value {
                    report.problem(
                        &private.at,
                        "a route is a path or private",
                        "write a path, such as \"/...\", or private = true",
                    );
                }
                Some(Self::Private)
            }
        }
    }
}

/// One shell command, or several that run one after another.
#[derive(Debug, Clone)]
pub(crate) struct Commands(pub Vec<String>);

impl Read for Commands {
    fn read(value: &Spanned<DeValue<'_>>, at: &At, report: &mut Report) -> Option<Self> {
        match value.get_ref() {
            DeValue::String(command) => Some(Self(vec![command.to_string()])),
            _ => Vec::read(value, at, report).map(Self),
        }
    }
}

/// The schema of what is only read: there is one for Wharf's own manifests.
macro_rules! no_schema {
    ($($type:ident $(<$parameter:ident>)?),*) => {$(
        impl $(<$parameter>)? JsonSchema for $type $(<$parameter>)? {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({})
            }
        }
    )*};
}

no_schema!(Anything, Tools<T>, OrTable<T>, RouteForm, Commands);
