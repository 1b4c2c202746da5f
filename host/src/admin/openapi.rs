//! The OpenAPI 3.1 document: every call, with what it takes and every way in which it answers.
//!
//! The calls come from [`Operation`], the schemas from the very types that are read and written.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::operations::Operation;
use super::query::{LIMIT, LIMIT_MAX, MESSAGES, MESSAGES_MAX};
use super::refusal::Failure;
use super::streams::model::{
    DeadMessage, Forgotten, HeldMessage, PublishRequest, Published, RedriveRequest, Redriven,
    SubjectStatus,
};
use super::streams::{BODY_BYTES_SHOWN, SHOWN_BYTES_MAX};
use super::{body, events};
use crate::name::{ComponentName, Digest, RolloutId, Subject};
use crate::rollout::model::{
    ApplyPlan, ApplyRequest, ComponentStatus, Plan, RevisionSummary, RollbackRequest, Rollout,
    RolloutEvent, StoredArtifact, SwapRequest,
};

/// The document.
pub(super) fn document() -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for operation in Operation::ALL {
        let item = paths.entry(operation.path()).or_insert_with(|| json!({}));
        item[operation.method().as_str().to_ascii_lowercase()] = call(operation, &mut schemas);
    }
    // Nothing names it but the description of the event stream.
    schemas.written::<RolloutEvent>();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Wharf admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Rollouts of a running application: what serves, swaps, rollbacks, history; and its streams.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The content of `admin-token` in the host's state directory.",
                },
            },
        },
    })
}

/// Schemas of what is read and of what is written: what may be left out differs.
struct Schemas {
    read: SchemaGenerator,
    written: SchemaGenerator,
}

impl Schemas {
    fn new() -> Self {
        let settings = || {
            SchemaSettings::draft2020_12()
                .with(|settings| settings.definitions_path = "/components/schemas".into())
        };
        Self {
            read: settings().for_deserialize().into_generator(),
            written: settings().for_serialize().into_generator(),
        }
    }

    fn read<T: JsonSchema>(&mut self) -> Value {
        self.read.subschema_for::<T>().to_value()
    }

    fn written<T: JsonSchema>(&mut self) -> Value {
        self.written.subschema_for::<T>().to_value()
    }

    fn definitions(mut self) -> Map<String, Value> {
        let mut all = self.read.take_definitions(true);
        for (name, schema) in self.written.take_definitions(true) {
            let same = all.get(&name).is_none_or(|other| *other == schema);
            assert!(same, "{name} is written as it is read");
            all.insert(name, schema);
        }
        all
    }
}

fn call(operation: Operation, schemas: &mut Schemas) -> Value {
    let (id, summary) = words(operation);
    let mut responses = answers(operation, schemas);
    for status in refusals(operation) {
        let mut refusal = json!({
            "description": refusal_words(*status),
            "content": { "application/json": { "schema": schemas.written::<Failure>() } },
        });
        if let Some((name, description)) = refusal_header(*status) {
            refusal["headers"] =
                json!({ name: { "description": description, "schema": { "type": "string" } } });
        }
        responses.insert(status.to_string(), refusal);
    }
    let mut call = json!({
        "operationId": id,
        "summary": summary,
        "parameters": parameters(operation, schemas),
        "responses": responses,
    });
    if let Some(body) = request_body(operation, schemas) {
        call["requestBody"] = body;
    }
    call
}

fn words(operation: Operation) -> (&'static str, &'static str) {
    match operation {
        Operation::Components => (
            "listComponents",
            "What serves and what drains, by component.",
        ),
        Operation::Revisions => (
            "listRevisions",
            "The revisions of a component that are kept, the newest first.",
        ),
        Operation::StoreArtifact => ("storeArtifact", "Takes an artifact into the store."),
        Operation::Swap => (
            "beginSwap",
            "Begins a swap of a component, or queues it; with `dry_run` says what it would do.",
        ),
        Operation::RollBack => (
            "beginRollback",
            "Begins to bring an earlier revision of a component back, or queues it.",
        ),
        Operation::History => ("listRollouts", "The rollouts, the newest first."),
        Operation::Rollout => ("getRollout", "One rollout."),
        Operation::Events => (
            "followRollout",
            "What happens in a rollout, from its beginning; ends after its final state.",
        ),
        Operation::Cancel => ("cancelRollout", "Ends a rollout that has not switched yet."),
        Operation::Apply => (
            "applyManifest",
            "Makes a manifest true, component by component; with `dry_run` says what would change.",
        ),
        Operation::Streams => (
            "listStreams",
            "Every subject with its length, and how its groups stand.",
        ),
        Operation::DeadLetters => (
            "listDeadLetters",
            "Dead letters of a subject, group by group, the oldest first.",
        ),
        Operation::Redrive => (
            "redrive",
            "Puts dead letters back before their groups, with no attempt counted. Where it fails halfway, some are back.",
        ),
        Operation::Messages => (
            "listMessages",
            "Messages that a subject holds, the oldest first; none is delivered by it.",
        ),
        Operation::Publish => ("publish", "Publishes a message, as a component would."),
        Operation::Forget => (
            "forgetGroup",
            "Removes a group with its dead letters, and the messages that only it still owed.",
        ),
        Operation::Document => ("getDocument", "This document."),
    }
}

fn parameters(operation: Operation, schemas: &mut Schemas) -> Vec<Value> {
    let mut parameters = Vec::new();
    let mut add = |name: &str, place: &str, description: &str, schema: Value| {
        parameters.push(json!({
            "name": name,
            "in": place,
            "required": place == "path",
            "description": description,
            "schema": schema,
        }));
    };
    if operation.path().contains("{component}") {
        let schema = schemas.read::<ComponentName>();
        add("component", "path", "The component's name.", schema);
    }
    if operation.path().contains("{id}") {
        let schema = schemas.read::<RolloutId>();
        add("id", "path", "The rollout's number.", schema);
    }
    if operation.path().contains("{subject}") {
        let schema = schemas.read::<Subject>();
        add("subject", "path", "The subject.", schema);
    }
    if operation.path().contains("{group}") {
        let schema = schemas.read::<ComponentName>();
        add(
            "group",
            "path",
            "The group's name: its component's.",
            schema,
        );
    }
    for name in operation.query() {
        let (description, schema) = query_parameter(operation, name, schemas);
        add(name, "query", &description, schema);
    }
    parameters
}

fn query_parameter(operation: Operation, name: &str, schemas: &mut Schemas) -> (String, Value) {
    let limit = |max: usize, default: usize| json!({ "type": "integer", "minimum": 1, "maximum": max, "default": default });
    let (description, schema) = match (name, operation) {
        ("sha256", _) => (
            "The digest that the bytes must have.",
            schemas.read::<Digest>(),
        ),
        ("component", _) => (
            "Only rollouts of this component.",
            schemas.read::<ComponentName>(),
        ),
        ("subject", _) => ("Only this subject.", schemas.read::<Subject>()),
        ("group", _) => ("Only this group.", schemas.read::<ComponentName>()),
        ("after", _) => (
            "Only what follows this entry.",
            json!({ "type": "string", "pattern": "^[0-9A-Za-z-]{1,64}$" }),
        ),
        ("full", _) => {
            let description = format!(
                "Whole bodies, not {BODY_BYTES_SHOWN} bytes of each. Either way the answer ends with the message that takes it past {SHOWN_BYTES_MAX} bytes."
            );
            return (description, json!({ "type": "boolean", "default": false }));
        }
        (_, Operation::History) => ("Most rollouts in the answer.", limit(LIMIT_MAX, LIMIT)),
        (_, _) => (
            "Most messages in the answer.",
            limit(MESSAGES_MAX, MESSAGES),
        ),
    };
    (description.to_owned(), schema)
}

fn request_body(operation: Operation, schemas: &mut Schemas) -> Option<Value> {
    let json = |schema: Value| {
        let limit = match operation {
            Operation::Publish => body::MESSAGE_JSON_BYTES_MAX,
            _ => body::JSON_BYTES_MAX,
        };
        let description = format!("{limit} bytes at most.");
        json!({
            "required": true,
            "description": description,
            "content": { "application/json": { "schema": schema } },
        })
    };
    match operation {
        Operation::Swap => Some(json(schemas.read::<SwapRequest>())),
        Operation::RollBack => Some(json(schemas.read::<RollbackRequest>())),
        Operation::Apply => Some(json(schemas.read::<ApplyRequest>())),
        Operation::Redrive => Some(json(schemas.read::<RedriveRequest>())),
        Operation::Publish => Some(json(schemas.read::<PublishRequest>())),
        Operation::StoreArtifact => {
            let description = format!(
                "The artifact's bytes, {} at most.",
                body::ARTIFACT_BYTES_MAX
            );
            Some(json!({
                "required": true,
                "description": description,
                // Without a schema: bytes as they are (OpenAPI 3.1.1, section 4.8.14.3).
                "content": { "application/wasm": {} },
            }))
        }
        Operation::Components
        | Operation::Revisions
        | Operation::History
        | Operation::Rollout
        | Operation::Events
        | Operation::Cancel
        | Operation::Streams
        | Operation::DeadLetters
        | Operation::Messages
        | Operation::Forget
        | Operation::Document => None,
    }
}

/// The answers that say what was asked for.
fn answers(operation: Operation, schemas: &mut Schemas) -> Map<String, Value> {
    let json = |description: &str, schema: Value| {
        json!({
            "description": description,
            "content": { "application/json": { "schema": schema } },
        })
    };
    let begun = |description: &str, schema: Value| {
        let mut answer = json(description, schema);
        answer["headers"] = json!({
            "Location": { "description": "The rollout.", "schema": { "type": "string" } },
        });
        answer
    };
    let mut answers = Map::new();
    let mut add = |status: &str, answer: Value| {
        answers.insert(status.to_owned(), answer);
    };
    match operation {
        Operation::Components => {
            let schema = schemas.written::<Vec<ComponentStatus>>();
            add("200", json("The components.", schema));
        }
        Operation::Revisions => {
            let schema = schemas.written::<Vec<RevisionSummary>>();
            add("200", json("The revisions.", schema));
        }
        Operation::StoreArtifact => {
            let schema = schemas.written::<StoredArtifact>();
            add("201", json("It is stored.", schema));
        }
        Operation::Swap => {
            let plan = schemas.written::<Plan>();
            add("200", json("What it would do.", plan));
            let rollout = schemas.written::<Rollout>();
            add("202", begun("It has begun, or waits.", rollout));
        }
        Operation::RollBack => {
            let rollout = schemas.written::<Rollout>();
            add("202", begun("It has begun, or waits.", rollout));
        }
        Operation::History => {
            let schema = schemas.written::<Vec<Rollout>>();
            add("200", json("The rollouts.", schema));
        }
        Operation::Rollout => {
            let schema = schemas.written::<Rollout>();
            add("200", json("The rollout.", schema));
        }
        Operation::Events => add("200", event_stream()),
        Operation::Cancel => {
            let rollout = schemas.written::<Rollout>();
            add("202", begun("It ends.", rollout));
        }
        Operation::Apply => {
            let plan = schemas.written::<ApplyPlan>();
            let description =
                "What would change, or why the manifest is refused; nothing has begun.";
            add("200", json(description, plan.clone()));
            add("202", json("The rollouts have begun.", plan));
        }
        Operation::Streams => {
            let schema = schemas.written::<Vec<SubjectStatus>>();
            add("200", json("The subjects, by name.", schema));
        }
        Operation::DeadLetters => {
            let schema = schemas.written::<Vec<DeadMessage>>();
            add("200", json("The dead letters.", schema));
        }
        Operation::Redrive => {
            let schema = schemas.written::<Redriven>();
            add("200", json("They are back.", schema));
        }
        Operation::Messages => {
            let schema = schemas.written::<Vec<HeldMessage>>();
            add("200", json("The messages.", schema));
        }
        Operation::Publish => {
            let schema = schemas.written::<Published>();
            add("201", json("It is published.", schema));
        }
        Operation::Forget => {
            let schema = schemas.written::<Forgotten>();
            add("200", json("It is forgotten.", schema));
        }
        Operation::Document => {
            let schema = json!({ "type": "object" });
            add("200", json("The document.", schema));
        }
    }
    answers
}

/// OpenAPI 3.1 has no words for the events of a stream, so that their schema is named in prose.
fn event_stream() -> Value {
    json!({
        "description": "Server-sent events. The data of each is the JSON of a RolloutEvent (#/components/schemas/RolloutEvent), its name is that object's `event`.",
        "content": { events::TYPE: { "schema": { "type": "string" } } },
    })
}

/// The statuses with which a call may be refused.
fn refusals(operation: Operation) -> &'static [u16] {
    match operation {
        Operation::Components | Operation::Document => &[400, 401, 421],
        Operation::Revisions | Operation::History | Operation::Rollout | Operation::Events => {
            &[400, 401, 404, 421, 500]
        }
        Operation::StoreArtifact => &[400, 401, 408, 413, 421, 422, 500, 503],
        Operation::Swap => &[400, 401, 404, 408, 409, 413, 421, 422, 500, 503],
        Operation::RollBack => &[400, 401, 404, 408, 409, 413, 421, 422, 500, 503],
        Operation::Cancel => &[400, 401, 404, 409, 421, 500, 503],
        Operation::Apply => &[400, 401, 404, 408, 409, 413, 421, 422, 500, 503],
        Operation::Streams | Operation::DeadLetters | Operation::Messages => {
            &[400, 401, 404, 421, 500, 503]
        }
        Operation::Redrive => &[400, 401, 404, 408, 413, 421, 500, 503],
        Operation::Publish => &[400, 401, 404, 408, 413, 421, 500, 503, 507],
        Operation::Forget => &[400, 401, 404, 409, 421, 500, 503],
    }
}

fn refusal_words(status: u16) -> &'static str {
    match status {
        400 => "The request makes no sense.",
        401 => "The token is missing, or is another one.",
        404 => "No such component, revision, rollout, subject, group or dead letter.",
        408 => "The body did not arrive in time.",
        409 => "What is asked for cannot be done any more, or not yet.",
        413 => "The body, or the message in it, is too large.",
        421 => "The request names another host.",
        422 => "The artifact is not stored, or has another digest.",
        500 => "The rollout log, the artifact store or the host failed.",
        507 => "The subject holds as many messages as it may, until its groups catch up.",
        _ => "Too many rollouts wait, the streams cannot be reached, or the host shuts down.",
    }
}

fn refusal_header(status: u16) -> Option<(&'static str, &'static str)> {
    match status {
        401 => Some(("WWW-Authenticate", "Always `Bearer`.")),
        503 => Some(("Retry-After", "Seconds.")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls `visit` with every `$ref` below `value`.
    fn references(value: &Value, visit: &mut impl FnMut(&str)) {
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    match value.as_str() {
                        Some(reference) if key == "$ref" => visit(reference),
                        _ => references(value, visit),
                    }
                }
            }
            Value::Array(array) => array.iter().for_each(|value| references(value, visit)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_call_is_described_and_every_reference_leads_somewhere() {
        let document = document();
        let mut calls = 0;
        for item in document["paths"].as_object().expect("paths").values() {
            calls += item.as_object().expect("a path's calls").len();
        }
        assert_eq!(calls, Operation::ALL.len());
        let mut found = 0;
        references(&document, &mut |reference| {
            found += 1;
            let pointer = reference.strip_prefix('#').expect("a local reference");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        });
        assert!(found > 30, "{found}");
    }

    #[test]
    fn what_is_read_may_leave_out_and_what_is_written_does_not() {
        let document = document();
        let required = |name: &str| document["components"]["schemas"][name]["required"].clone();
        assert_eq!(required("SwapRequest"), json!(["by"]));
        assert_eq!(
            document["components"]["schemas"]["SwapRequest"]["additionalProperties"],
            false
        );
        let rollout = required("Rollout");
        let rollout = rollout.as_array().expect("names");
        assert!(rollout.contains(&json!("reason")), "{rollout:?}");
    }
}
