//! How cache hits weigh against load, and how much is left to chance: read from JSON, checked.

use headworks_policy::Refusal;
use serde::Deserialize;

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("../config.schema.json");

/// The checked configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// What a block to prefill costs, against one at decode.
    pub overlap_weight: f64,
    /// 0: the least cost wins. Higher: the more is left to chance.
    pub temperature: f64,
    /// Tokens of a replica's KV block.
    pub block_tokens: u32,
}

/// What the operator typed.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    overlap_weight: f64,
    temperature: f64,
    block_tokens: u32,
}

impl Default for ConfigFile {
    fn default() -> ConfigFile {
        ConfigFile { overlap_weight: 1.0, temperature: 0.0, block_tokens: 16 }
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
        let ConfigFile { overlap_weight, temperature, block_tokens } = file;
        let outside = |field: &str, value: f64, most: f64| {
            (!(0.0..=most).contains(&value)).then(|| Refusal::of(field, format!("must be 0 to {most}, not {value}")))
        };
        if let Some(refusal) =
            outside("overlap_weight", overlap_weight, 1e6).or(outside("temperature", temperature, 1e6))
        {
            return Err(refusal);
        }
        if block_tokens == 0 {
            return Err(Refusal::of("block_tokens", "must be at least 1"));
        }
        Ok(Config { overlap_weight, temperature, block_tokens })
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
        assert_eq!(Config::default(), Config { overlap_weight: 1.0, temperature: 0.0, block_tokens: 16 });
    }

    #[test]
    fn a_refusal_names_the_field() {
        refused(r#"{"overlap":1}"#, "overlap");
        refused(r#"{"overlap_weight":-1}"#, "overlap_weight");
        refused(r#"{"temperature":-0.5}"#, "temperature");
        refused(r#"{"temperature":null}"#, "temperature");
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
