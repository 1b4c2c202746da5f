//! JSON schemas of TOML documents.

use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value};

/// The JSON schema of documents that are read as a `T`.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let mut schema = SchemaGenerator::default().into_root_schema_for::<T>();
    RecursiveTransform(without_null).transform(&mut schema);
    schema.to_value()
}

/// Takes out that something may be null: TOML has no null, what is left out is left out.
fn without_null(schema: &mut Schema) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if let [name] = &types[..] {
            let name = name.clone();
            object.insert("type".to_owned(), name);
        }
    }
    if let Some(Value::Array(values)) = object.get_mut("enum") {
        values.retain(|value| !value.is_null());
    }
    inline_single_choice(object);
}

/// Replaces `anyOf: [SCHEMA, null]` by what SCHEMA says.
fn inline_single_choice(object: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = object.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice.get("type").is_none_or(|name| name != "null"));
    if let [Value::Object(only)] = &choices[..] {
        let only = only.clone();
        object.remove("anyOf");
        object.extend(only);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::json_schema;
    use serde_json::json;

    #[test]
    fn nothing_may_be_null() {
        let mut schema = json_schema!({
            "properties": {
                "a": { "type": ["string", "null"], "enum": ["x", null] },
                "b": { "description": "B", "anyOf": [{ "$ref": "#/$defs/B" }, { "type": "null" }] },
                "c": { "anyOf": [{ "type": "string" }, { "type": "integer" }] },
                "d": { "type": ["string", "integer"] },
                "e": true,
            },
        });
        RecursiveTransform(without_null).transform(&mut schema);
        let expected = json!({
            "properties": {
                "a": { "type": "string", "enum": ["x"] },
                "b": { "description": "B", "$ref": "#/$defs/B" },
                "c": { "anyOf": [{ "type": "string" }, { "type": "integer" }] },
                "d": { "type": ["string", "integer"] },
                "e": true,
            },
        });
        assert_eq!(schema.to_value(), expected);
    }
}
