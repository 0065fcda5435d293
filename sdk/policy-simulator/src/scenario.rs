//! What a scenario file says, for the simulator: the traffic, its prompts, the fleet, and how they are simulated.
//!
//! The load generator reads the same files and skips the `[simulate]` table; the simulator reads all of it.

use std::path::Path;

use serde::Deserialize;
use thiserror::Error;

use crate::cost::Cost;

/// Most requests one scenario may simulate.
const REQUESTS_MAX: u32 = 1_000_000;
/// Most clients, each with one request in flight.
const CONCURRENCY_MAX: u32 = 16_384;
/// Most replicas of a region.
const REPLICAS_MAX: u32 = 1024;
/// Most regions.
const REGIONS_MAX: usize = 16;
/// Most words of one piece of a prompt.
const WORDS_MAX: u32 = 1 << 20;

/// One scenario: benches/scenarios/NAME.toml.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name in reports.
    pub name: String,
    /// The same seed makes the same run.
    pub seed: u64,
    /// How many requests, and how they come.
    pub traffic: Traffic,
    /// What they ask.
    pub prompts: Prompts,
    /// Where they go.
    pub fleet: Fleet,
    /// What only the simulator needs to know.
    #[serde(default)]
    pub simulate: Simulate,
}

/// How many requests, and how they come.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Requests in all.
    pub requests: u32,
    /// Clients of a closed loop, each with one request in flight.
    pub concurrency: u32,
    /// Share of requests that stream, 0 to 1.
    pub stream_share: f64,
}

/// What the requests ask. Lengths are in words; ranges are inclusive and uniform.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompts {
    /// Distinct system prompts of each tenant.
    pub shared_prefixes: u32,
    /// Words in each system prompt.
    pub prefix_words: u32,
    /// Words in one question.
    pub question_words: [u32; 2],
    /// Tokens of one answer, which is also its `max_tokens`.
    pub output_tokens: [u32; 2],
}

/// The fleet.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fleet {
    /// Region names; each has a proxy.
    pub regions: Vec<String>,
    /// Replicas in each region.
    pub replicas: u32,
}

/// What only the simulator needs to know.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Simulate {
    /// Conversations that begin per second, at exponential intervals. Without it the loop is closed.
    pub conversations_per_s: Option<f64>,
    /// Turns of one conversation; each sends the whole history again.
    pub turns: [u32; 2],
    /// Milliseconds a client thinks between an answer and its next question.
    pub think_ms: [u32; 2],
    /// Round trip between two regions.
    pub rtt_ms: u32,
    /// Who asks, and for how much of the traffic.
    pub tenants: Vec<Tenant>,
    /// The replicas.
    pub replica: ReplicaShape,
    /// The proxies' bounds.
    pub proxy: ProxyShape,
    /// What happens to replicas, and when.
    pub changes: Vec<Change>,
}

/// Who asks.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tenant {
    /// As policies see it.
    pub name: String,
    /// Its share of the conversations, against the others' shares.
    pub share: f64,
    /// Its own question lengths.
    pub question_words: Option<[u32; 2]>,
    /// Its own answer lengths.
    pub output_tokens: Option<[u32; 2]>,
}

/// How big and how fast each replica is.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReplicaShape {
    /// KV blocks.
    pub kv_blocks: u32,
    /// Tokens one block holds.
    pub block_tokens: u32,
    /// Most tokens one step computes.
    pub step_tokens_max: u32,
    /// Most sequences in the batch.
    pub running_max: u32,
    /// Most sequences that wait for it.
    pub waiting_max: u32,
    /// How long a step takes.
    pub cost: Cost,
}

/// A proxy's bounds.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyShape {
    /// Milliseconds between two looks at the replicas and the other regions.
    pub poll_interval_ms: u32,
    /// Requests that policies hold at one time.
    pub queue_max: u32,
    /// Milliseconds a policy may hold a request.
    pub hold_ms_max: u32,
    /// Tries of one request.
    pub tries_max: u32,
}

/// Something that happens to a replica.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// When.
    pub at_ms: u32,
    /// The region it stands in, by name.
    pub region: String,
    /// Which of its replicas, from 0.
    pub replica: u32,
    /// What becomes of it.
    pub to: Condition,
}

/// What may become of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// It serves, with an empty cache if it was down.
    Up,
    /// It finishes what it has and takes nothing new.
    Draining,
    /// It is gone, and what it had with it.
    Down,
}

/// Why a scenario cannot be simulated.
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

impl Default for Simulate {
    fn default() -> Simulate {
        Simulate {
            conversations_per_s: None,
            turns: [1, 1],
            think_ms: [0, 0],
            rtt_ms: 80,
            tenants: vec![Tenant {
                name: "anonymous".to_owned(),
                share: 1.0,
                question_words: None,
                output_tokens: None,
            }],
            replica: ReplicaShape::default(),
            proxy: ProxyShape::default(),
            changes: Vec::new(),
        }
    }
}

impl Default for ReplicaShape {
    fn default() -> ReplicaShape {
        ReplicaShape {
            kv_blocks: 2048,
            block_tokens: 16,
            step_tokens_max: 2048,
            running_max: 64,
            waiting_max: 256,
            cost: Cost::default(),
        }
    }
}

impl Default for ProxyShape {
    /// As a proxy's own defaults.
    fn default() -> ProxyShape {
        ProxyShape { poll_interval_ms: 500, queue_max: 1024, hold_ms_max: 10_000, tries_max: 3 }
    }
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

    /// The first number that makes no sense, and what it must be.
    fn fault(&self) -> Option<(&'static str, String)> {
        let Scenario { name: _, seed: _, traffic, prompts, fleet, simulate } = self;
        let Fleet { regions, replicas } = fleet;
        let checks = [
            within("traffic.requests", traffic.requests, 1, REQUESTS_MAX),
            within("traffic.concurrency", traffic.concurrency, 1, CONCURRENCY_MAX),
            says("traffic.stream_share", (0.0..=1.0).contains(&traffic.stream_share), "0 to 1"),
            within("prompts.shared_prefixes", prompts.shared_prefixes, 1, REQUESTS_MAX),
            within("prompts.prefix_words", prompts.prefix_words, 0, WORDS_MAX),
            range("prompts.question_words", prompts.question_words, 1),
            range("prompts.output_tokens", prompts.output_tokens, 1),
            says("fleet.regions", (1..=REGIONS_MAX).contains(&regions.len()), "1 to 16 names"),
            within("fleet.replicas", *replicas, 1, REPLICAS_MAX),
        ];
        checks.into_iter().flatten().next().or_else(|| simulate.fault(fleet))
    }
}

impl Simulate {
    fn fault(&self, fleet: &Fleet) -> Option<(&'static str, String)> {
        let Simulate { conversations_per_s, turns, think_ms, rtt_ms: _, tenants, replica, proxy, changes } = self;
        let rate_is_fine = conversations_per_s.is_none_or(|rate| rate.is_finite() && rate >= 0.001);
        let tenant_is_fine = |tenant: &Tenant| tenant.share.is_finite() && tenant.share > 0.0;
        let lengths = tenants.iter().flat_map(|tenant| [tenant.question_words, tenant.output_tokens]).flatten();
        let change_is_fine =
            |change: &Change| fleet.regions.contains(&change.region) && change.replica < fleet.replicas;
        let checks = [
            says("simulate.conversations_per_s", rate_is_fine, "at least 0.001"),
            range("simulate.turns", *turns, 1),
            range("simulate.think_ms", *think_ms, 0),
            says(
                "simulate.tenants",
                !tenants.is_empty() && tenants.iter().all(tenant_is_fine),
                "one or more, each with a share above 0",
            ),
            lengths.map(|length| range("simulate.tenants", length, 1)).find(Option::is_some).flatten(),
            within("simulate.replica.kv_blocks", replica.kv_blocks, 1, 1 << 22),
            within("simulate.replica.block_tokens", replica.block_tokens, 1, 1024),
            within("simulate.replica.running_max", replica.running_max, 1, replica.step_tokens_max),
            within("simulate.replica.waiting_max", replica.waiting_max, 1, 1 << 20),
            says("simulate.replica.cost", replica.cost.is_sound(), "numbers of 0 and more, step_us at least 1"),
            within("simulate.proxy.poll_interval_ms", proxy.poll_interval_ms, 1, 3_600_000),
            within("simulate.proxy.hold_ms_max", proxy.hold_ms_max, 1, 3_600_000),
            within("simulate.proxy.tries_max", proxy.tries_max, 1, 16),
            says("simulate.changes", changes.iter().all(change_is_fine), "about a replica that the fleet has"),
        ];
        checks.into_iter().flatten().next()
    }
}

type Fault = Option<(&'static str, String)>;

fn says(key: &'static str, holds: bool, must_be: &str) -> Fault {
    (!holds).then(|| (key, must_be.to_owned()))
}

fn within(key: &'static str, value: u32, from: u32, to: u32) -> Fault {
    says(key, (from..=to).contains(&value), &format!("{from} to {to}"))
}

fn range(key: &'static str, [from, to]: [u32; 2], least: u32) -> Fault {
    says(key, least <= from && from <= to && to <= WORDS_MAX, &format!("[from, to] with {least} <= from <= to"))
}

#[cfg(test)]
mod tests;
