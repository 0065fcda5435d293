//! How many replicas are compared: read from JSON, checked.

use headworks_policy::Refusal;
use serde::Deserialize;

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("../config.schema.json");

/// The checked configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// How many replicas are compared.
    pub scan: Scan,
}

/// How many replicas are compared for one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scan {
    /// Two, drawn by chance. Nearly as even as all of them, and a burst of requests that all see the same stale
    /// readings does not pile onto one replica (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing").
    #[default]
    Two,
    /// All of them.
    All,
}

/// What the operator typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    scan: Scan,
}

impl Config {
    /// Reads a JSON object.
    pub fn parse(json: &str) -> Result<Config, Refusal> {
        let ConfigFile { scan } = serde_json::from_str(json).map_err(|error| {
            Refusal::of("", format!("{error}; the only field is `scan`, either \"two\" or \"all\""))
        })?;
        Ok(Config { scan })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, expected: Result<Scan, &str>) {
        let found = Config::parse(json).map(|config| config.scan).map_err(|refusal| refusal.message);
        match (&found, expected) {
            (Ok(scan), Ok(expected)) => assert_eq!(*scan, expected),
            (Err(message), Err(part)) => assert!(message.contains(part), "{message}"),
            _ => panic!("{found:?}"),
        }
    }

    #[test]
    fn two_are_compared_unless_said_otherwise() {
        check("{}", Ok(Scan::Two));
        check(r#"{"scan":"two"}"#, Ok(Scan::Two));
        check(r#"{"scan":"all"}"#, Ok(Scan::All));
    }

    #[test]
    fn an_unknown_field_or_value_is_named() {
        check(r#"{"scna":"all"}"#, Err("scna"));
        check(r#"{"scan":"three"}"#, Err("three"));
        check(r#"{"scan":3}"#, Err("scan"));
    }

    #[test]
    fn the_schema_is_json_and_names_the_fields_there_are() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let values = schema["properties"]["scan"]["enum"].as_array().unwrap();
        for value in values {
            Config::parse(&serde_json::json!({ "scan": value }).to_string()).unwrap();
        }
        assert_eq!(schema["properties"].as_object().unwrap().len(), 1);
    }
}
