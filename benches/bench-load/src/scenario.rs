//! What a scenario file says: the traffic, its prompts, and the fleet it is meant for.

use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;

/// Most requests one scenario may send.
const REQUESTS_MAX: u32 = 10_000_000;
/// Most requests in flight at once.
const CONCURRENCY_MAX: u32 = 16_384;

/// One scenario: benches/scenarios/NAME.toml.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name in reports.
    pub name: String,
    /// The same seed makes the same requests in the same order.
    pub seed: u64,
    /// How many requests, and how they come.
    pub traffic: Traffic,
    /// What they ask.
    pub prompts: Prompts,
    /// Where they are meant to go.
    pub fleet: Fleet,
    /// For the simulator, which reads the same files; nothing here looks at it.
    #[serde(default)]
    pub simulate: IgnoredAny,
}

/// How many requests, and how they come.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Requests in all.
    pub requests: u32,
    /// Clients, each with one request in flight.
    pub concurrency: u32,
    /// Share of requests that stream, 0 to 1.
    pub stream_share: f64,
}

/// What the requests ask. Lengths are in words; ranges are inclusive and uniform.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompts {
    /// Distinct system prompts.
    pub shared_prefixes: u32,
    /// Words in each system prompt.
    pub prefix_words: u32,
    /// Words in one question.
    pub question_words: [u32; 2],
    /// `max_tokens` of one request.
    pub output_tokens: [u32; 2],
}

/// The fleet that the scenario is meant for.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Region names; each has a proxy.
    pub regions: Vec<String>,
    /// Replicas in each region.
    pub replicas: u32,
}

/// Why a scenario cannot be played.
#[derive(Debug, Error)]
pub enum ScenarioError {
    /// The file cannot be read.
    #[error("cannot read scenario {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// It is not TOML, or has a wrong key or type.
    #[error("scenario {origin}: {reason}")]
    Malformed {
        /// The file.
        origin: String,
        /// Key and line.
        reason: String,
    },
    /// A number makes no sense.
    #[error("scenario {origin}: {key} must be {must_be}")]
    OutOfRange {
        /// The file.
        origin: String,
        /// The key.
        key: &'static str,
        /// What it must be.
        must_be: String,
    },
}

impl Scenario {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| ScenarioError::Unreadable { path: origin.clone(), source })?;
        Scenario::parse(&text, &origin)
    }

    /// Reads and checks text; `origin` names it in errors.
    pub fn parse(text: &str, origin: &str) -> Result<Scenario, ScenarioError> {
        let scenario: Scenario = toml::from_str(text)
            .map_err(|error| ScenarioError::Malformed { origin: origin.to_owned(), reason: error.to_string() })?;
        match scenario.fault() {
            None => Ok(scenario),
            Some((key, must_be)) => Err(ScenarioError::OutOfRange { origin: origin.to_owned(), key, must_be }),
        }
    }

    fn fault(&self) -> Option<(&'static str, String)> {
        let Scenario { name: _, seed: _, traffic, prompts, fleet, simulate: _ } = self;
        let checks = [
            ("traffic.requests", (1..=REQUESTS_MAX).contains(&traffic.requests), format!("1 to {REQUESTS_MAX}")),
            (
                "traffic.concurrency",
                (1..=CONCURRENCY_MAX).contains(&traffic.concurrency),
                format!("1 to {CONCURRENCY_MAX}"),
            ),
            ("traffic.stream_share", (0.0..=1.0).contains(&traffic.stream_share), "0 to 1".to_owned()),
            ("prompts.shared_prefixes", prompts.shared_prefixes >= 1, "at least 1".to_owned()),
            ("prompts.question_words", is_range(prompts.question_words), "[from, to] with 1 <= from <= to".to_owned()),
            ("prompts.output_tokens", is_range(prompts.output_tokens), "[from, to] with 1 <= from <= to".to_owned()),
            ("fleet.regions", !fleet.regions.is_empty(), "at least one name".to_owned()),
            ("fleet.replicas", fleet.replicas >= 1, "at least 1".to_owned()),
        ];
        checks.into_iter().find(|(_, holds, _)| !holds).map(|(key, _, must_be)| (key, must_be))
    }
}

fn is_range([from, to]: [u32; 2]) -> bool {
    1 <= from && from <= to
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEMO: &str = include_str!("../../scenarios/demo.toml");

    #[track_caller]
    fn check(change: (&str, &str), wanted: &str) {
        let text = DEMO.replace(change.0, change.1);
        assert_ne!(text, DEMO, "the change must apply");
        let error = Scenario::parse(&text, "demo.toml").expect_err("must be refused").to_string();
        assert!(error.contains(wanted), "{error}");
    }

    #[test]
    fn the_shipped_demo_scenario_is_sound() {
        assert_eq!(Scenario::parse(DEMO, "demo.toml").map(|scenario| scenario.name).unwrap(), "demo");
    }

    #[test]
    fn the_simulators_scenarios_can_be_played_too() {
        for (name, text) in [
            ("shared-prefix", include_str!("../../scenarios/shared-prefix.toml")),
            ("multi-turn", include_str!("../../scenarios/multi-turn.toml")),
            ("mixed-tenants", include_str!("../../scenarios/mixed-tenants.toml")),
        ] {
            assert_eq!(Scenario::parse(text, name).map(|scenario| scenario.name).unwrap(), name);
        }
    }

    #[test]
    fn an_unknown_key_is_named() {
        check(("requests = 96", "reqests = 96"), "reqests");
    }

    #[test]
    fn a_number_out_of_range_is_named() {
        check(("stream_share = 0.75", "stream_share = 1.5"), "traffic.stream_share must be 0 to 1");
        check(("question_words = [4, 24]", "question_words = [24, 4]"), "prompts.question_words");
        check(("concurrency = 12", "concurrency = 0"), "traffic.concurrency must be 1 to");
    }
}
