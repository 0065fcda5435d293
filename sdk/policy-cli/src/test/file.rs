//! What a test file says. Unknown keys and wrong types are refused with their line.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use anyhow::{Context, anyhow, bail};
use policy_api::{FleetView, Health, RegionId, RegionRow, ReplicaId, ReplicaRole, ReplicaRow, RequestFacts};
use serde::Deserialize;

use crate::test::expect::{Expect, OneOrMany};

/// Bytes of English that make a token, as the proxy estimates them.
const BYTES_PER_TOKEN: usize = 4;
/// Most calls of one test.
const CALLS_MAX: u32 = 100_000;

/// One file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    #[serde(rename = "test")]
    pub tests: Vec<Test>,
}

/// One test: a fleet, a request, and what the policy is to say.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    pub name: String,
    /// The policy's configuration, in place of the command line's.
    pub config: Option<toml::Table>,
    /// Which hook is asked; by default the one that gives such verdicts.
    pub hook: Option<AskedHook>,
    #[serde(default)]
    pub fleet: Vec<Replica>,
    #[serde(default)]
    pub regions: Vec<Region>,
    #[serde(default)]
    pub request: Request,
    /// Told before the first call.
    #[serde(default)]
    pub observe: Vec<Told>,
    /// Told before each later call.
    #[serde(default)]
    pub observe_between: Vec<Told>,
    pub expect: OneOrMany,
    /// Part of the reason that the policy gives with each verdict.
    pub expect_reason: Option<String>,
    /// Headers that the policy sets with each verdict.
    #[serde(default)]
    pub expect_headers: BTreeMap<String, String>,
    /// Calls, each a request more.
    pub repeat: Option<u32>,
    /// Time between two calls.
    #[serde(default)]
    pub advance_ms: u64,
}

/// A hook that gives verdicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum AskedHook {
    Admit,
    Place,
}

/// A replica: the fleet's columns by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Replica {
    id: u32,
    #[serde(default)]
    region: u32,
    #[serde(default)]
    running: u32,
    #[serde(default)]
    waiting: u32,
    #[serde(default)]
    kv_blocks_used: u32,
    #[serde(default)]
    kv_blocks_total: u32,
    #[serde(default)]
    prefix_hit_permille: u32,
    #[serde(default)]
    health: Healthy,
    #[serde(default)]
    draining: bool,
    #[serde(default)]
    role: Role,
    #[serde(default)]
    age_ms: u32,
    #[serde(default)]
    ttft_us: u32,
    #[serde(default)]
    tpot_us: u32,
    #[serde(default = "ordinary_weight")]
    weight: u32,
    #[serde(default)]
    prefill_tokens: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "they are the words of the tables")]
enum Healthy {
    Unknown,
    #[default]
    Healthy,
    Unhealthy,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Role {
    #[default]
    Mixed,
    Prefill,
    Decode,
}

/// A region: its columns by name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Region {
    id: u32,
    #[serde(default)]
    local: bool,
    #[serde(default)]
    available: u32,
    #[serde(default)]
    queue: u32,
    #[serde(default)]
    rtt_us: u32,
    #[serde(default)]
    age_ms: u32,
}

/// A request's facts.
#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Request {
    /// Of the first call; each later one has the next.
    pub id: u64,
    pub endpoint: String,
    pub model: String,
    pub tenant: String,
    session: Option<String>,
    priority: u32,
    prompt: String,
    /// How often `prompt` stands in the prompt, one after another.
    prompt_repeat: usize,
    /// The estimate; by default it follows from the prompt.
    prompt_tokens_estimate: Option<u32>,
    output_tokens_max: u32,
    stream: bool,
    hop: u32,
    tokens: Vec<u32>,
    headers: BTreeMap<String, String>,
}

/// Something that the observe hook is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Told {
    Started(About),
    FirstToken(About),
    Failed(About),
    Ended(About),
    ReplicaUp(u32),
    ReplicaDown(u32),
}

/// What an event is about. What it does not say is the test's own request.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct About {
    /// By default the last call's.
    pub request: Option<u64>,
    pub tenant: Option<String>,
    pub model: Option<String>,
    pub endpoint: Option<String>,
    pub replica: Option<u32>,
    pub ttft_us: u32,
    pub why: Why,
    pub outcome: Became,
    pub prompt_tokens: u32,
    pub cached_tokens: u32,
    pub output_tokens: u32,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Why {
    #[default]
    Replica,
    Cancelled,
    Refused,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Became {
    #[default]
    Finished,
    Failed,
    Cancelled,
    Refused,
}

impl TestFile {
    /// Reads and checks a file.
    pub(super) fn load(path: &Path) -> anyhow::Result<TestFile> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read the tests {}", path.display()))?;
        TestFile::parse(&text).with_context(|| format!("{}", path.display()))
    }

    /// Reads and checks text.
    pub(super) fn parse(text: &str) -> anyhow::Result<TestFile> {
        let file: TestFile = toml::from_str(text).map_err(|error| anyhow!("{}", error.to_string().trim_end()))?;
        if file.tests.is_empty() {
            bail!("there is no [[test]] in it");
        }
        for test in &file.tests {
            test.check().with_context(|| format!("test {:?}", test.name))?;
        }
        Ok(file)
    }
}

impl Test {
    /// Calls, each with what is expected of it.
    pub(super) fn calls(&self) -> Vec<&Expect> {
        match &self.expect {
            OneOrMany::One(expect) => vec![expect; self.repeat.unwrap_or(1) as usize],
            OneOrMany::Many(expected) => expected.iter().collect(),
        }
    }

    /// The hook that gives such verdicts; none when either could.
    pub(super) fn hook(&self) -> Option<AskedHook> {
        self.hook.or_else(|| self.calls().into_iter().find_map(Expect::hook))
    }

    fn check(&self) -> anyhow::Result<()> {
        let calls = self.calls().len();
        if self.repeat.is_some_and(|repeat| repeat as usize != calls) {
            bail!("repeat and the length of the list expect must be the same; leave repeat out");
        }
        if !(1..=CALLS_MAX as usize).contains(&calls) {
            bail!("there must be 1 to {CALLS_MAX} calls (repeat, or the length of the list expect)");
        }
        if let Some(hook) = self.hook()
            && let Some(other) = self.calls().into_iter().find(|expect| expect.hook().is_some_and(|its| its != hook))
        {
            bail!("the {} hook never answers {other}; admit answers allow and deny, place the others", hook.word());
        }
        let mut ids: Vec<u32> = self.fleet.iter().map(|replica| replica.id).collect();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() < self.fleet.len() {
            bail!("two replicas of the fleet have the same id");
        }
        Ok(())
    }

    /// The fleet that the policy sees.
    pub(super) fn view(&self) -> FleetView {
        let replicas: Vec<ReplicaRow> = self.fleet.iter().map(Replica::row).collect();
        let mut regions: Vec<RegionRow> = self.regions.iter().map(Region::row).collect();
        if regions.is_empty() {
            let takes_work = |row: &&ReplicaRow| row.health == Health::Healthy && !row.draining;
            let available = replicas.iter().filter(takes_work).count() as u32;
            regions.push(RegionRow { id: RegionId(0), local: true, available, queue: 0, rtt_us: 0, age_ms: 0 });
        }
        FleetView::of(1, &replicas, &regions)
    }
}

impl AskedHook {
    pub(super) fn word(self) -> &'static str {
        match self {
            AskedHook::Admit => "admit",
            AskedHook::Place => "place",
        }
    }
}

impl Replica {
    fn row(&self) -> ReplicaRow {
        ReplicaRow {
            id: ReplicaId(self.id),
            region: RegionId(self.region),
            running: self.running,
            waiting: self.waiting,
            kv_blocks_used: self.kv_blocks_used,
            kv_blocks_total: self.kv_blocks_total,
            prefix_hit_permille: self.prefix_hit_permille,
            health: match self.health {
                Healthy::Unknown => Health::Unknown,
                Healthy::Healthy => Health::Healthy,
                Healthy::Unhealthy => Health::Unhealthy,
            },
            draining: self.draining,
            role: match self.role {
                Role::Mixed => ReplicaRole::Mixed,
                Role::Prefill => ReplicaRole::Prefill,
                Role::Decode => ReplicaRole::Decode,
            },
            age_ms: self.age_ms,
            ttft_us: self.ttft_us,
            tpot_us: self.tpot_us,
            weight: self.weight,
            prefill_tokens: self.prefill_tokens,
        }
    }
}

impl Region {
    fn row(&self) -> RegionRow {
        let Region { id, local, available, queue, rtt_us, age_ms } = *self;
        RegionRow { id: RegionId(id), local, available, queue, rtt_us, age_ms }
    }
}

impl Default for Request {
    fn default() -> Request {
        Request {
            id: 1,
            endpoint: "/v1/chat/completions".to_owned(),
            model: "model".to_owned(),
            tenant: "anonymous".to_owned(),
            session: None,
            priority: 0,
            prompt: String::new(),
            prompt_repeat: 1,
            prompt_tokens_estimate: None,
            output_tokens_max: 0,
            stream: false,
            hop: 0,
            tokens: Vec::new(),
            headers: BTreeMap::new(),
        }
    }
}

impl Request {
    /// The facts of a call's request.
    pub(super) fn facts(&self, call: u64) -> RequestFacts {
        let prompt = self.prompt.repeat(self.prompt_repeat);
        let estimate = (prompt.len().div_ceil(BYTES_PER_TOKEN) + self.tokens.len()) as u32;
        RequestFacts {
            id: self.id + call,
            endpoint: self.endpoint.clone(),
            model: self.model.clone(),
            tenant: self.tenant.clone(),
            session: self.session.clone(),
            priority: self.priority,
            prompt_tokens_estimate: self.prompt_tokens_estimate.unwrap_or(estimate),
            output_tokens_max: self.output_tokens_max,
            stream: self.stream,
            hop: self.hop,
            prompt: prompt.into(),
            tokens: self.tokens.clone(),
            headers: self.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect(),
            block_hashes: OnceLock::new(),
        }
    }
}

fn ordinary_weight() -> u32 {
    100
}

#[cfg(test)]
mod tests;
