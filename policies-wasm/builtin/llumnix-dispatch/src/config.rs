//! Who is urgent and how much room that keeps free: read from JSON, checked.

use headworks_policy::Refusal;
use serde::Deserialize;

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("../config.schema.json");

/// The checked configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Requests of this priority or more are urgent.
    pub high_priority_min: u32,
    /// Kept free on a replica that runs urgent requests.
    pub headroom_tokens: u32,
    /// Tokens of a replica's KV block.
    pub block_tokens: u32,
}

/// What the operator typed.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    high_priority_min: u32,
    headroom_tokens: u32,
    block_tokens: u32,
}

impl Default for ConfigFile {
    fn default() -> ConfigFile {
        ConfigFile { high_priority_min: 1, headroom_tokens: 1600, block_tokens: 16 }
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
        let ConfigFile { high_priority_min, headroom_tokens, block_tokens } = file;
        if high_priority_min == 0 {
            return Err(Refusal::of("high_priority_min", "must be at least 1: 0 is the ordinary priority"));
        }
        if block_tokens == 0 {
            return Err(Refusal::of("block_tokens", "must be at least 1"));
        }
        Ok(Config { high_priority_min, headroom_tokens, block_tokens })
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
    }

    #[test]
    fn a_refusal_names_the_field() {
        refused(r#"{"headroom":1}"#, "headroom");
        refused(r#"{"high_priority_min":0}"#, "high_priority_min");
        refused(r#"{"headroom_tokens":-1}"#, "headroom_tokens");
        refused(r#"{"block_tokens":0}"#, "block_tokens");
    }

    #[test]
    fn the_schema_names_the_fields_and_their_defaults() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        let defaults: serde_json::Map<String, serde_json::Value> =
            properties.iter().map(|(name, property)| (name.clone(), property["default"].clone())).collect();
        assert_eq!(defaults.len(), 3);
        assert_eq!(Config::parse(&serde_json::Value::Object(defaults).to_string()).unwrap(), Config::default());
    }
}
