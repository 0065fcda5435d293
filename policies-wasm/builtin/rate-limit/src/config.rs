//! Whom which limits are for: read from JSON, checked.

mod pattern;

use headworks_policy::{Refusal, hash64};
use serde::Deserialize;

use pattern::Pattern;

/// JSON Schema of the configuration.
pub const SCHEMA: &str = include_str!("../config.schema.json");

/// Rules, at most: each request looks for its rule from the first on.
const RULES_MAX: usize = 1024;
/// Requests in a second, at most, so that a minute's fit a bucket.
const REQUESTS_PER_SECOND_MAX: u32 = 1_000_000;
/// Bytes of a scope; a longer one is named by its hash, since names and notes are bounded.
const SCOPE_BYTES_MAX: usize = 160;

/// The checked configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The first that fits a request counts.
    pub rules: Vec<Rule>,
    /// Output tokens expected of a request that gives no smaller bound.
    pub default_output_tokens: u32,
}

/// Limits, and whom they are for. A rule without a limit lets everything in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    tenant: Pattern,
    model: Pattern,
    per: Per,
    /// Requests that flow in.
    pub requests_per_minute: Option<u32>,
    /// Requests that a full bucket holds; the same when absent.
    pub requests_burst: Option<u32>,
    /// Requests within a second.
    pub requests_per_second: Option<u32>,
    /// Tokens that flow in.
    pub tokens_per_minute: Option<u32>,
    /// Tokens that a full bucket holds; the same when absent.
    pub tokens_burst: Option<u32>,
    /// Requests that may run at once.
    pub concurrent: Option<u32>,
}

/// Which requests share a rule's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Per {
    /// Those of a tenant for a model.
    #[default]
    TenantAndModel,
    /// Those of a tenant.
    Tenant,
    /// Those for a model.
    Model,
    /// All that the rule fits.
    Rule,
}

/// What the operator typed.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConfigFile {
    rules: Vec<RuleFile>,
    default_output_tokens: u32,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RuleFile {
    tenant: Option<String>,
    model: Option<String>,
    per: Per,
    requests_per_minute: Option<u32>,
    requests_burst: Option<u32>,
    requests_per_second: Option<u32>,
    tokens_per_minute: Option<u32>,
    tokens_burst: Option<u32>,
    concurrent: Option<u32>,
}

impl Default for ConfigFile {
    fn default() -> ConfigFile {
        ConfigFile { rules: Vec::new(), default_output_tokens: 512 }
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
        let ConfigFile { rules, default_output_tokens } = file;
        if rules.len() > RULES_MAX {
            return Err(Refusal::of("rules", format!("must be at most {RULES_MAX}, not {}", rules.len())));
        }
        let rules = rules.into_iter().enumerate().map(|(at, rule)| {
            rule.check().map_err(|(field, message)| Refusal::of(&format!("rules.{at}.{field}"), message))
        });
        Ok(Config { rules: rules.collect::<Result<_, _>>()?, default_output_tokens })
    }

    /// The rule for a request, if any fits.
    pub fn rule_for(&self, tenant: &str, model: &str) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.tenant.fits(tenant) && rule.model.fits(model))
    }
}

impl Default for Config {
    fn default() -> Config {
        Config::check(ConfigFile::default()).expect("the defaults are within their bounds")
    }
}

impl RuleFile {
    /// The rule, or the field that is wrong and why.
    fn check(self) -> Result<Rule, (&'static str, String)> {
        let RuleFile {
            tenant,
            model,
            per,
            requests_per_minute,
            requests_burst,
            requests_per_second,
            tokens_per_minute,
            tokens_burst,
            concurrent,
        } = self;
        for (field, value) in [
            ("requests_per_minute", requests_per_minute),
            ("requests_burst", requests_burst),
            ("requests_per_second", requests_per_second),
            ("tokens_per_minute", tokens_per_minute),
            ("tokens_burst", tokens_burst),
            ("concurrent", concurrent),
        ] {
            if value == Some(0) {
                return Err((field, "must be at least 1; leave it out for no limit".to_owned()));
            }
        }
        if requests_per_second.is_some_and(|limit| limit > REQUESTS_PER_SECOND_MAX) {
            return Err(("requests_per_second", format!("must be at most {REQUESTS_PER_SECOND_MAX}")));
        }
        if requests_burst.is_some() && requests_per_minute.is_none() {
            return Err(("requests_burst", "means nothing without requests_per_minute".to_owned()));
        }
        if tokens_burst.is_some() && tokens_per_minute.is_none() {
            return Err(("tokens_burst", "means nothing without tokens_per_minute".to_owned()));
        }
        let pattern = |text: Option<String>| Pattern::of(text.unwrap_or_else(|| "*".to_owned()));
        Ok(Rule {
            tenant: pattern(tenant),
            model: pattern(model),
            per,
            requests_per_minute,
            requests_burst,
            requests_per_second,
            tokens_per_minute,
            tokens_burst,
            concurrent,
        })
    }
}

impl Rule {
    /// Names those requests that share the limits. It follows from the rule's words, not its place, so that limits keep
    /// their levels when rules are added.
    pub fn scope(&self, tenant: &str, model: &str) -> String {
        let (tenant, model) = match self.per {
            Per::TenantAndModel => (tenant, model),
            Per::Tenant => (tenant, self.model.text()),
            Per::Model => (self.tenant.text(), model),
            Per::Rule => (self.tenant.text(), self.model.text()),
        };
        // With the length before it, no tenant's name can pass for a part of a model's.
        let scope = format!("{}:{tenant}/{model}", tenant.len());
        if scope.len() <= SCOPE_BYTES_MAX { scope } else { format!("#{:016x}", hash64(scope.as_bytes())) }
    }
}

#[cfg(test)]
mod tests;
