//! What a token costs, who has which share, and how far one may be ahead: read from JSON, checked.

use std::collections::BTreeMap;

use headworks_policy::Refusal;
use serde::Deserialize;

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("../config.schema.json");

/// Costs and counters are in thousandths of a token.
pub const PARTS_PER_TOKEN: u64 = 1000;
/// Tenants that are kept, at most.
pub const TENANTS_MAX: usize = 16_384;

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Parts that a prompt's token costs.
    input_parts: u64,
    /// Parts that one costs which was answered from the prefix cache.
    cached_parts: u64,
    /// Parts that an output token costs.
    output_parts: u64,
    /// Shares in thousandths; 1000 for who is not named.
    shares: BTreeMap<String, u64>,
    /// How far a tenant may be ahead of the least served that waits, in parts.
    pub quantum: u64,
    /// Output tokens expected of a request that gives no smaller bound.
    pub default_output_tokens: u32,
    /// Requests a replica may have; none: as long as it holds none back.
    pub outstanding_max: Option<u32>,
    /// Tenants that are kept.
    pub tenants_max: usize,
}

/// What the operator typed.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    input_weight: f64,
    cached_weight: f64,
    output_weight: f64,
    shares: BTreeMap<String, f64>,
    quantum_tokens: u32,
    default_output_tokens: u32,
    outstanding_max: Option<u32>,
    tenants_max: usize,
}

impl Default for ConfigFile {
    fn default() -> ConfigFile {
        ConfigFile {
            input_weight: 1.0,
            cached_weight: 0.0,
            output_weight: 2.0,
            shares: BTreeMap::new(),
            quantum_tokens: 1000,
            default_output_tokens: 512,
            outstanding_max: None,
            tenants_max: 1024,
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
        let ConfigFile {
            input_weight,
            cached_weight,
            output_weight,
            shares,
            quantum_tokens,
            default_output_tokens,
            outstanding_max,
            tenants_max,
        } = file;
        let share = |(tenant, share): (String, f64)| {
            let parts = parts(&format!("shares.{tenant}"), share, 0.001)?;
            Ok((tenant, parts))
        };
        if outstanding_max == Some(0) {
            return Err(Refusal::of("outstanding_max", "must be at least 1; leave it out to go by waiting requests"));
        }
        if !(1..=TENANTS_MAX).contains(&tenants_max) {
            return Err(Refusal::of("tenants_max", format!("must be 1 to {TENANTS_MAX}, not {tenants_max}")));
        }
        Ok(Config {
            input_parts: parts("input_weight", input_weight, 0.0)?,
            cached_parts: parts("cached_weight", cached_weight, 0.0)?,
            output_parts: parts("output_weight", output_weight, 0.0)?,
            shares: shares.into_iter().map(share).collect::<Result<_, Refusal>>()?,
            quantum: u64::from(quantum_tokens) * PARTS_PER_TOKEN,
            default_output_tokens,
            outstanding_max,
            tenants_max,
        })
    }

    /// What so many tokens cost a tenant, in parts: the less the larger its share.
    pub fn cost(&self, tenant: &str, prompt_tokens: u32, cached_tokens: u32, output_tokens: u32) -> u64 {
        let cached = cached_tokens.min(prompt_tokens);
        let parts = u64::from(prompt_tokens - cached) * self.input_parts
            + u64::from(cached) * self.cached_parts
            + u64::from(output_tokens) * self.output_parts;
        match self.shares.get(tenant) {
            Some(share) => parts.saturating_mul(1000) / share,
            None => parts,
        }
    }
}

/// Thousandths of a weight or a share.
fn parts(field: &str, value: f64, least: f64) -> Result<u64, Refusal> {
    match (least..=1000.0).contains(&value) {
        true => Ok((value * 1000.0).round() as u64),
        false => Err(Refusal::of(field, format!("must be {least} to 1000, not {value}"))),
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
    fn tokens_cost_by_their_kind_and_share() {
        let config = Config::parse(r#"{"cached_weight":0.5,"shares":{"gold":2,"free":0.5}}"#).unwrap();
        assert_eq!(config.cost("acme", 100, 40, 10), 60_000 + 20_000 + 20_000);
        assert_eq!(config.cost("gold", 100, 40, 10), 50_000);
        assert_eq!(config.cost("free", 100, 40, 10), 200_000);
        assert_eq!(config.cost("acme", 1, 9, 0), 500, "no more is cached than there is");
        let most = Config::parse(r#"{"input_weight":1000,"output_weight":1000,"shares":{"a":0.001}}"#).unwrap();
        assert_eq!(
            most.cost("a", u32::MAX, 0, u32::MAX),
            2 * u64::from(u32::MAX) * 1_000_000_000,
            "as much as can be said"
        );
    }

    #[test]
    fn nothing_need_be_said() {
        assert_eq!(Config::parse("{}").unwrap(), Config::default());
    }

    #[test]
    fn a_refusal_names_the_field() {
        refused(r#"{"weights":1}"#, "weights");
        refused(r#"{"input_weight":-1}"#, "input_weight");
        refused(r#"{"output_weight":"2"}"#, "output_weight");
        refused(r#"{"shares":{"acme":1,"free":0}}"#, "shares.free");
        refused(r#"{"shares":{"acme":"much"}}"#, "shares.acme");
        refused(r#"{"quantum_tokens":-1}"#, "quantum_tokens");
        refused(r#"{"outstanding_max":0}"#, "outstanding_max");
        refused(r#"{"tenants_max":0}"#, "tenants_max");
    }

    #[test]
    fn the_schema_names_the_fields_and_their_defaults() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), 8);
        let defaults: serde_json::Map<String, serde_json::Value> = properties
            .iter()
            .filter_map(|(name, property)| Some((name.clone(), property.get("default")?.clone())))
            .collect();
        assert_eq!(Config::parse(&serde_json::Value::Object(defaults).to_string()).unwrap(), Config::default());
    }
}
