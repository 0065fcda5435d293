//! What keeps requests together, and how full a replica may get: read from JSON, checked.

use headworks_policy::Refusal;
use serde::Deserialize;

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("../config.schema.json");

/// Points of one replica of ordinary weight, at most: the ring is built within one call's deadline.
const POINTS_PER_REPLICA_MAX: u32 = 512;
/// Blocks of a prefix key, at most.
const PREFIX_BLOCKS_MAX: u32 = 64;

/// The checked configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What a request without a session is kept together by.
    pub without_session: KeyWithoutSession,
    /// Leading blocks of the prompt that make a prefix key.
    pub prefix_blocks: u32,
    /// How many times its fair share a replica may have, in thousandths.
    pub load_factor_permille: u32,
    /// Points on the ring of one replica of ordinary weight.
    pub points_per_replica: u32,
}

/// What a request without a session is kept together by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyWithoutSession {
    /// Its tenant.
    Tenant,
    /// The beginning of its prompt.
    Prefix,
    /// Nothing: the next policy is asked.
    None,
}

/// What the operator typed.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    without_session: KeyWithoutSession,
    prefix_blocks: u32,
    load_factor: f64,
    points_per_replica: u32,
}

impl Default for ConfigFile {
    fn default() -> ConfigFile {
        ConfigFile {
            without_session: KeyWithoutSession::Prefix,
            prefix_blocks: 4,
            load_factor: 1.25,
            points_per_replica: 64,
        }
    }
}

impl Config {
    /// Reads a JSON object.
    pub fn parse(json: &str) -> Result<Config, Refusal> {
        let file = serde_json::from_str(json)
            .map_err(|error: serde_json::Error| Refusal::at(json, error.line(), error.column(), &error))?;
        Config::check(file)
    }

    fn check(file: ConfigFile) -> Result<Config, Refusal> {
        let ConfigFile { without_session, prefix_blocks, load_factor, points_per_replica } = file;
        if !(1..=PREFIX_BLOCKS_MAX).contains(&prefix_blocks) {
            return Err(Refusal::of("prefix_blocks", format!("must be 1 to {PREFIX_BLOCKS_MAX}, not {prefix_blocks}")));
        }
        if !(1.0..=100.0).contains(&load_factor) {
            return Err(Refusal::of("load_factor", format!("must be 1 to 100, not {load_factor}")));
        }
        if !(1..=POINTS_PER_REPLICA_MAX).contains(&points_per_replica) {
            let message = format!("must be 1 to {POINTS_PER_REPLICA_MAX}, not {points_per_replica}");
            return Err(Refusal::of("points_per_replica", message));
        }
        let load_factor_permille = (load_factor * 1000.0).round() as u32;
        Ok(Config { without_session, prefix_blocks, load_factor_permille, points_per_replica })
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
        let config = Config::parse("{}").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.load_factor_permille, 1250);
    }

    #[test]
    fn a_refusal_names_the_field() {
        refused(r#"{"load_fcator":2}"#, "load_fcator");
        refused(r#"{"load_factor":0.9}"#, "load_factor");
        refused(r#"{"load_factor":"much"}"#, "load_factor");
        refused(r#"{"prefix_blocks":0}"#, "prefix_blocks");
        refused(r#"{"prefix_blocks":4,"points_per_replica":1000}"#, "points_per_replica");
        refused(r#"{"without_session":"user"}"#, "without_session");
    }

    #[test]
    fn the_schema_names_the_fields_and_their_defaults() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let defaults: serde_json::Map<String, serde_json::Value> =
            properties.iter().map(|(name, property)| (name.clone(), property["default"].clone())).collect();
        assert_eq!(defaults.len(), 4);
        assert_eq!(Config::parse(&serde_json::Value::Object(defaults).to_string()).unwrap(), Config::default());
    }
}
