//! When a replica or a region has room: read from JSON, checked.

use headworks_policy::Refusal;
use serde::Deserialize;

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("../config.schema.json");

/// The checked configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// When a local replica has room.
    pub room: Room,
    /// The share of the prompt that must have been seen, in thousandths.
    pub threshold_permille: u32,
    /// Requests that may queue in a region that is pushed to.
    pub queue_max: u32,
    /// A region's reading older than this is not trusted.
    pub region_age_ms_max: u32,
}

/// When a local replica has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It holds no request back (SP-P).
    NothingPending,
    /// It has fewer requests than this (SP-O).
    Below {
        /// Running and waiting.
        outstanding_max: u32,
    },
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Push {
    #[default]
    Pending,
    Outstanding,
}

/// What the operator typed.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    push_by: Push,
    outstanding_max: Option<u32>,
    match_threshold: f64,
    queue_max: u32,
    region_age_ms_max: u32,
}

impl Default for ConfigFile {
    fn default() -> ConfigFile {
        ConfigFile {
            push_by: Push::Pending,
            outstanding_max: None,
            match_threshold: 0.5,
            queue_max: 4,
            region_age_ms_max: 5000,
        }
    }
}

/// What the paper's own code uses.
const OUTSTANDING_MAX: u32 = 50;

impl Config {
    /// Reads a JSON object.
    pub fn parse(json: &str) -> Result<Config, Refusal> {
        let file = serde_json::from_str(json)
            .map_err(|error: serde_json::Error| Refusal::at(json, error.line(), error.column(), &error))?;
        Config::check(file)
    }

    fn check(file: ConfigFile) -> Result<Config, Refusal> {
        let ConfigFile { push_by, outstanding_max, match_threshold, queue_max, region_age_ms_max } = file;
        let room = match (push_by, outstanding_max) {
            (Push::Pending, Some(_)) => {
                return Err(Refusal::of("outstanding_max", "only push_by \"outstanding\" reads it"));
            }
            (Push::Outstanding, Some(0)) => return Err(Refusal::of("outstanding_max", "must be at least 1")),
            (Push::Pending, None) => Room::NothingPending,
            (Push::Outstanding, most) => Room::Below { outstanding_max: most.unwrap_or(OUTSTANDING_MAX) },
        };
        if !(0.0..=1.0).contains(&match_threshold) {
            return Err(Refusal::of("match_threshold", format!("must be 0 to 1, not {match_threshold}")));
        }
        let threshold_permille = (match_threshold * 1000.0).round() as u32;
        Ok(Config { room, threshold_permille, queue_max, region_age_ms_max })
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::check(ConfigFile::default()).expect("the defaults are within their bounds")
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
    fn nothing_need_be_said() {
        assert_eq!(Config::parse("{}").unwrap(), Config::default());
        assert_eq!(Config::default().room, Room::NothingPending);
        let config = Config::parse(r#"{"push_by":"outstanding"}"#).unwrap();
        assert_eq!(config.room, Room::Below { outstanding_max: 50 });
    }

    #[test]
    fn a_refusal_names_the_field() {
        refused(r#"{"tau":1}"#, "tau");
        refused(r#"{"push_by":"load"}"#, "push_by");
        refused(r#"{"outstanding_max":9}"#, "outstanding_max");
        refused(r#"{"push_by":"outstanding","outstanding_max":0}"#, "outstanding_max");
        refused(r#"{"match_threshold":1.1}"#, "match_threshold");
        refused(r#"{"queue_max":-1}"#, "queue_max");
        refused(r#"{"region_age_ms_max":"1s"}"#, "region_age_ms_max");
    }

    #[test]
    fn the_schema_names_the_fields_and_their_defaults() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 5);
        let defaults: serde_json::Map<String, serde_json::Value> = properties
            .iter()
            .filter_map(|(name, property)| Some((name.clone(), property.get("default")?.clone())))
            .collect();
        assert_eq!(Config::parse(&serde_json::Value::Object(defaults).to_string()).unwrap(), Config::default());
    }
}
