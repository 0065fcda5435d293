//! Which rule chooses, and its bounds: read from JSON, checked.

use headworks_policy::Refusal;
use serde::Deserialize;

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("../config.schema.json");

/// The checked configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// The rule and its guard against hot spots.
    pub rule: Rule,
    /// The share of the prompt that must have been seen, in thousandths.
    pub threshold_permille: u32,
}

/// When the longest match counts, and when load does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// The longest match among replicas whose load is at most `rel` times the mean and `abs` more.
    Block {
        /// Requests.
        abs: u32,
        /// Times the mean.
        rel: f64,
    },
    /// The longest match, unless the loads are further apart than `abs` and the highest is over `rel` times the lowest.
    Sglang {
        /// Requests.
        abs: u32,
        /// Times the lowest load.
        rel: f64,
    },
    /// The longest match among replicas whose load is at most the mean and `std_factor` standard deviations, unless the
    /// loads are further apart than `abs`.
    Aibrix {
        /// Requests.
        abs: u32,
        /// Standard deviations above the mean.
        std_factor: f64,
    },
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    #[default]
    Block,
    Sglang,
    Aibrix,
}

/// What the operator typed. What is absent has another default in each mode.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    mode: Mode,
    cache_threshold: Option<f64>,
    balance_abs: Option<u32>,
    balance_rel: Option<f64>,
    std_factor: Option<f64>,
}

impl Config {
    /// Reads a JSON object.
    pub fn parse(json: &str) -> Result<Config, Refusal> {
        let file = serde_json::from_str(json)
            .map_err(|error: serde_json::Error| Refusal::at(json, error.line(), error.column(), &error))?;
        Config::check(file)
    }

    fn check(file: ConfigFile) -> Result<Config, Refusal> {
        let ConfigFile { mode, cache_threshold, balance_abs, balance_rel, std_factor } = file;
        let of_another_mode = |field: &str, mode: &str| Err(Refusal::of(field, format!("only mode {mode} reads it")));
        let (rule, threshold) = match mode {
            Mode::Block | Mode::Sglang if std_factor.is_some() => return of_another_mode("std_factor", "\"aibrix\""),
            Mode::Aibrix if balance_rel.is_some() => {
                return of_another_mode("balance_rel", "\"block\" or \"sglang\"");
            }
            Mode::Block => (Rule::Block { abs: balance_abs.unwrap_or(4), rel: balance_rel.unwrap_or(1.5) }, 0.1),
            // sgl-router's own defaults.
            Mode::Sglang => (Rule::Sglang { abs: balance_abs.unwrap_or(64), rel: balance_rel.unwrap_or(1.5) }, 0.3),
            // AIBrix's code; its README says 16 and 2.
            Mode::Aibrix => {
                (Rule::Aibrix { abs: balance_abs.unwrap_or(8), std_factor: std_factor.unwrap_or(1.0) }, 0.0)
            }
        };
        let threshold = cache_threshold.unwrap_or(threshold);
        in_range("cache_threshold", threshold, 0.0, 1.0)?;
        in_range("balance_rel", balance_rel.unwrap_or(1.0), 1.0, 1000.0)?;
        in_range("std_factor", std_factor.unwrap_or(0.0), 0.0, 1000.0)?;
        Ok(Config { rule, threshold_permille: (threshold * 1000.0).round() as u32 })
    }
}

fn in_range(field: &str, value: f64, least: f64, most: f64) -> Result<(), Refusal> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(Refusal::of(field, format!("must be {least} to {most}, not {value}"))),
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
    fn check(json: &str, rule: Rule, threshold_permille: u32) {
        assert_eq!(Config::parse(json).unwrap(), Config { rule, threshold_permille });
    }

    #[track_caller]
    fn refused(json: &str, field: &str) {
        assert_eq!(Config::parse(json).unwrap_err().field, field);
    }

    #[test]
    fn each_mode_has_its_defaults() {
        check("{}", Rule::Block { abs: 4, rel: 1.5 }, 100);
        check(r#"{"mode":"sglang"}"#, Rule::Sglang { abs: 64, rel: 1.5 }, 300);
        check(r#"{"mode":"aibrix"}"#, Rule::Aibrix { abs: 8, std_factor: 1.0 }, 0);
        assert_eq!(Config::parse("{}").unwrap(), Config::default());
    }

    #[test]
    fn what_is_said_counts() {
        check(
            r#"{"mode":"sglang","cache_threshold":0.5,"balance_abs":32,"balance_rel":1.0001}"#,
            Rule::Sglang { abs: 32, rel: 1.0001 },
            500,
        );
        check(r#"{"mode":"aibrix","balance_abs":16,"std_factor":2}"#, Rule::Aibrix { abs: 16, std_factor: 2.0 }, 0);
    }

    #[test]
    fn a_refusal_names_the_field() {
        refused(r#"{"modes":"sglang"}"#, "modes");
        refused(r#"{"mode":"tree"}"#, "mode");
        refused(r#"{"cache_threshold":1.5}"#, "cache_threshold");
        refused(r#"{"balance_abs":-1}"#, "balance_abs");
        refused(r#"{"balance_rel":0.5}"#, "balance_rel");
        refused(r#"{"mode":"aibrix","std_factor":-2}"#, "std_factor");
    }

    #[test]
    fn what_another_mode_reads_is_a_mistake() {
        refused(r#"{"mode":"sglang","std_factor":2}"#, "std_factor");
        refused(r#"{"std_factor":2}"#, "std_factor");
        refused(r#"{"mode":"aibrix","balance_rel":2}"#, "balance_rel");
    }

    #[test]
    fn the_schema_names_the_fields() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        let names: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(names, ["balance_abs", "balance_rel", "cache_threshold", "mode", "std_factor"]);
        for mode in schema["properties"]["mode"]["enum"].as_array().unwrap() {
            Config::parse(&serde_json::json!({ "mode": mode }).to_string()).unwrap();
        }
    }
}
