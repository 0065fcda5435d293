//! The guard against hot spots: read from JSON, checked.

use headworks_policy::Refusal;
use serde::Deserialize;

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("../config.schema.json");

/// The checked configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Config {
    /// Replicas with more than this many times the mean batch are left out; none for no guard.
    pub batch_over_mean_max: Option<f64>,
}

/// What the operator typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    batch_over_mean_max: Option<f64>,
}

impl Config {
    /// Reads a JSON object.
    pub fn parse(json: &str) -> Result<Config, Refusal> {
        let ConfigFile { batch_over_mean_max } =
            serde_json::from_str(json).map_err(|error| Refusal::at(json, error.line(), error.column(), &error))?;
        match batch_over_mean_max {
            Some(most) if !(1.0..=1000.0).contains(&most) => {
                Err(Refusal::of("batch_over_mean_max", format!("must be 1 to 1000, not {most}")))
            }
            batch_over_mean_max => Ok(Config { batch_over_mean_max }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(json: &str, field: &str) {
        assert_eq!(Config::parse(json).unwrap_err().field, field);
    }

    #[test]
    fn there_is_no_guard_unless_said_otherwise() {
        assert_eq!(Config::parse("{}").unwrap(), Config::default());
        assert_eq!(Config::parse(r#"{"batch_over_mean_max":2}"#).unwrap().batch_over_mean_max, Some(2.0));
    }

    #[test]
    fn a_refusal_names_the_field() {
        refused(r#"{"weight":1}"#, "weight");
        refused(r#"{"batch_over_mean_max":0.5}"#, "batch_over_mean_max");
        refused(r#"{"batch_over_mean_max":"2"}"#, "batch_over_mean_max");
    }

    #[test]
    fn the_schema_names_the_field() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!(schema["properties"].as_object().unwrap().keys().collect::<Vec<_>>(), ["batch_over_mean_max"]);
    }
}
