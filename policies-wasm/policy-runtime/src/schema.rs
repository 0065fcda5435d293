//! Checks a configuration against its policy's JSON Schema, so that a mistake is told with the field it is in.

use std::error::Error;

use jsonschema::{Retrieve, Uri, ValidationError, error::ValidationErrorKind};
use serde_json::Value;

use crate::{LoadError, state::bounded};

/// Bytes of a message.
const MESSAGE_BYTES_MAX: usize = 512;

/// Refuses a schema that is none, and a configuration that does not keep to it. An empty schema says nothing.
pub(crate) fn check(schema: &str, config_json: &str) -> Result<(), LoadError> {
    if schema.is_empty() {
        return Ok(());
    }
    let bad = |message: String| LoadError::BadDescription {
        message: format!("its config-schema is no JSON Schema: {}", bounded(&message, MESSAGE_BYTES_MAX)),
    };
    let schema: Value = serde_json::from_str(schema).map_err(|error| bad(error.to_string()))?;
    let validator = jsonschema::options()
        .with_retriever(Nowhere)
        .build(&schema)
        .map_err(|error| bad(format!("at {:?}: {error}", error.instance_path().as_str())))?;
    let config: Value = serde_json::from_str(config_json)
        .map_err(|error| LoadError::BadConfig { message: format!("it is not JSON: {error}") })?;
    match validator.validate(&config) {
        Ok(()) => Ok(()),
        Err(error) => Err(LoadError::ConfigRefused {
            field: field_of(&error),
            message: bounded(&error.to_string(), MESSAGE_BYTES_MAX).to_owned(),
        }),
    }
}

/// A policy is given no network, and neither is its schema.
struct Nowhere;

impl Retrieve for Nowhere {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn Error + Send + Sync>> {
        Err(format!("{uri} is elsewhere; a schema must hold all it refers to").into())
    }
}

/// The path of the field at fault, such as `tenants.acme.limit`: of the field that is too much or missing, where it is
/// one of those.
fn field_of(error: &ValidationError<'_>) -> String {
    let path = error.instance_path().as_str();
    let mut steps: Vec<String> =
        path.split('/').skip(1).map(|step| step.replace("~1", "/").replace("~0", "~")).collect();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => steps.extend(unexpected.first().cloned()),
        ValidationErrorKind::Required { property } => steps.extend(property.as_str().map(str::to_owned)),
        _ => {}
    }
    bounded(&steps.join("."), MESSAGE_BYTES_MAX).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r##"{
        "type": "object", "additionalProperties": false, "required": ["limit"],
        "properties": {
            "limit": { "type": "integer", "minimum": 1 },
            "scan": { "enum": ["two", "all"] },
            "tenants": { "type": "object", "additionalProperties": { "$ref": "#/$defs/tenant" } }
        },
        "$defs": { "tenant": { "type": "object", "properties": { "rate/s": { "type": "number" } } } }
    }"##;

    #[track_caller]
    fn refused(schema: &str, config: &str) -> String {
        check(schema, config).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_keeps_to_the_schema_is_taken() {
        assert_eq!(check(SCHEMA, r#"{"limit":1,"scan":"all","tenants":{"acme":{"rate/s":0.5}}}"#), Ok(()));
        assert_eq!(check("", r#"{"anything":1}"#), Ok(()));
    }

    #[test]
    fn the_field_at_fault_is_named() {
        let cases = [
            r#"{"limit":0}"#,
            r#"{"limit":"1"}"#,
            r#"{}"#,
            r#"{"limit":1,"scna":"all"}"#,
            r#"{"limit":1,"scan":"three"}"#,
            r#"{"limit":1,"tenants":{"acme":{"rate/s":"fast"}}}"#,
        ];
        let lines: Vec<String> =
            cases.iter().map(|config| format!("{config}\n  {}", refused(SCHEMA, config))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn a_schema_that_refers_to_itself_comes_to_an_end() {
        for schema in [
            r##"{"allOf":[{"$ref":"#"}]}"##,
            r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##,
            r##"{"$dynamicAnchor":"x","allOf":[{"$dynamicRef":"#x"}]}"##,
            r##"{"dependentSchemas":{"a":{"$ref":"#"}}}"##,
        ] {
            assert_eq!(check(schema, r#"{"a":1}"#), Ok(()), "{schema}");
        }
    }

    #[test]
    fn a_schema_that_is_none_is_refused() {
        let cases = [
            r#"{"type":"thing"}"#,
            r#"{"properties":{"a":{"minimum":"low"}}}"#,
            r##"{"$ref":"#/$defs/none"}"##,
            r#"{"$ref":"https://example.com/schema.json"}"#,
            r#"{"$ref":"file:///etc/passwd"}"#,
            r#"{"properties":{"a":{"pattern":"("}}}"#,
            "3",
        ];
        let lines: Vec<String> = cases.iter().map(|schema| format!("{schema}\n  {}", refused(schema, "{}"))).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
