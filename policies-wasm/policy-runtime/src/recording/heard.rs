//! What one call asked the host, and what it was told.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::lines::{as_base64, hashes_as_base64};
use crate::Level;

/// A question and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heard {
    /// What was asked.
    pub ask: Ask,
    /// What was answered.
    #[serde(default, skip_serializing_if = "Told::is_nothing")]
    pub told: Told,
}

/// What a policy asks the host, or tells it, beside looking at the request and the fleet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the contract's function of its name, with that function's arguments")]
pub enum Ask {
    FleetVersion,
    MatchReplicas(Prefix),
    MatchRegions(Prefix),
    Insert {
        holder: crate::slot::Holder,
        prefix: Prefix,
    },
    Evict {
        holder: crate::slot::Holder,
    },
    IndexSizes,
    Take {
        name: String,
        tokens_max: u32,
        tokens_per_minute: u32,
        tokens: u32,
    },
    GiveBack {
        name: String,
        tokens: u32,
    },
    Charge {
        name: String,
        tokens: u32,
    },
    Level {
        name: String,
    },
    Hold {
        name: String,
        places: u32,
    },
    Held {
        name: String,
    },
    Count {
        name: String,
        delta: u64,
    },
    Get {
        key: String,
    },
    Set {
        key: String,
        #[serde(with = "as_base64")]
        value: Vec<u8>,
    },
    CompareAndSet {
        key: String,
        expected: u64,
        #[serde(with = "as_base64")]
        value: Vec<u8>,
    },
    Remove {
        key: String,
    },
    Log {
        level: Level,
        line: String,
    },
    Metric {
        name: String,
        delta: u64,
    },
    Gauge {
        name: String,
        value: f64,
    },
}

/// The prefix that a question is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prefix {
    /// The request's own.
    Request,
    /// Hashes that the policy made or kept.
    Hashes(#[serde(with = "hashes_as_base64")] Vec<u64>),
}

/// What the host answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// There is nothing to answer.
    #[default]
    Nothing,
    /// The fleet's version, as this instance counts.
    Version(u64),
    /// Who holds how many blocks.
    Matches(Vec<(u32, u32)>),
    /// Of the prefix index.
    Sizes {
        /// Blocks it remembers.
        blocks: u32,
        /// The bound on them.
        blocks_max: u32,
        /// Blocks it forgot for want of room.
        evicted: u64,
    },
    /// Tokens were taken; so many are left.
    Taken(u32),
    /// They were not; so long until there are enough.
    WaitMs(u32),
    /// They were not, and never can be.
    Never,
    /// Yes or no.
    Is(bool),
    /// So many.
    Number(u64),
    /// So many, if it is there at all.
    Maybe(Option<u32>),
    /// What is kept under a key.
    Entry(Option<Entry>),
    /// Someone else wrote first; this version is there.
    Conflict(u64),
    /// There is no room.
    Full,
    /// A name, a key or a value is too long.
    TooLong,
}

/// A value of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The value.
    #[serde(with = "as_base64")]
    pub value: Vec<u8>,
    /// Which write it is.
    pub version: u64,
}

/// Everything that one call looked at and heard.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Track {
    /// What it looked at of the request and the fleet; not what its instance still knew from an earlier call.
    #[serde(skip_serializing_if = "Looked::is_empty")]
    pub looked: Looked,
    /// What it asked, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub heard: Vec<Heard>,
    /// It asked more than is kept of one call.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_cut: bool,
}

/// A set of [`Look`]s.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Looked(u64);

macro_rules! looks {
    ($($look:ident = $name:literal,)+) => {
        /// A fact of the request or a column that a policy may look at.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is named below as it is written")]
        pub enum Look { $($look,)+ }

        impl Look {
            /// All there are.
            pub const ALL: &[Look] = &[$(Look::$look,)+];

            /// As it is written.
            pub fn name(self) -> &'static str {
                match self { $(Look::$look => $name,)+ }
            }
        }
    };
}

looks! {
    RequestId = "request.id",
    Endpoint = "request.endpoint",
    Model = "request.model",
    Tenant = "request.tenant",
    Session = "request.session",
    Priority = "request.priority",
    PromptTokens = "request.prompt_tokens_estimate",
    OutputTokens = "request.output_tokens_max",
    Stream = "request.stream",
    Hop = "request.hop",
    PromptBytes = "request.prompt_bytes",
    Prompt = "request.prompt",
    Tokens = "request.tokens",
    BlockHashes = "request.block_hashes",
    Headers = "request.headers",
    Clock = "clock",
    Chance = "chance",
    FleetId = "fleet.id",
    FleetRegion = "fleet.region",
    FleetRunning = "fleet.running",
    FleetWaiting = "fleet.waiting",
    FleetKvBlocksUsed = "fleet.kv_blocks_used",
    FleetKvBlocksTotal = "fleet.kv_blocks_total",
    FleetPrefixHitPermille = "fleet.prefix_hit_permille",
    FleetHealth = "fleet.health",
    FleetDraining = "fleet.draining",
    FleetRole = "fleet.role",
    FleetAgeMs = "fleet.age_ms",
    FleetTtftUs = "fleet.ttft_us",
    FleetTpotUs = "fleet.tpot_us",
    FleetWeight = "fleet.weight",
    FleetPrefillTokens = "fleet.prefill_tokens",
    RegionId = "regions.id",
    RegionLocal = "regions.local",
    RegionAvailable = "regions.available",
    RegionQueue = "regions.queue",
    RegionRttUs = "regions.rtt_us",
    RegionAgeMs = "regions.age_ms",
}

impl Heard {
    /// About how much room it takes.
    pub(crate) fn bytes(&self) -> usize {
        let asked = match &self.ask {
            Ask::Insert { prefix, .. } | Ask::MatchReplicas(prefix) | Ask::MatchRegions(prefix) => match prefix {
                Prefix::Request => 0,
                Prefix::Hashes(hashes) => size_of_val(hashes.as_slice()),
            },
            Ask::Set { key, value } | Ask::CompareAndSet { key, value, .. } => key.len() + value.len(),
            Ask::Log { line, .. } => line.len(),
            _ => 0,
        };
        let told = match &self.told {
            Told::Matches(matches) => size_of_val(matches.as_slice()),
            Told::Entry(Some(entry)) => entry.value.len(),
            _ => 0,
        };
        size_of::<Heard>() + asked + told
    }
}

impl Told {
    fn is_nothing(&self) -> bool {
        *self == Told::Nothing
    }
}

impl Looked {
    /// Adds one.
    pub(crate) fn add(&mut self, look: Look) {
        self.0 |= 1 << look as u32;
    }

    /// Whether it was looked at.
    pub fn has(self, look: Look) -> bool {
        self.0 & (1 << look as u32) != 0
    }

    /// Whether nothing was.
    pub fn is_empty(&self) -> bool {
        self.0 == 0
    }

    /// All that was, in order.
    pub fn list(self) -> impl Iterator<Item = Look> {
        Look::ALL.iter().copied().filter(move |look| self.has(*look))
    }
}

impl Serialize for Looked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.list().map(Look::name))
    }
}

impl<'de> Deserialize<'de> for Looked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Looked, D::Error> {
        let mut looked = Looked::default();
        for name in Vec::<String>::deserialize(deserializer)? {
            let look = Look::ALL.iter().find(|look| look.name() == name);
            looked.add(*look.ok_or_else(|| D::Error::custom(format!("there is no {name:?} to look at")))?);
        }
        Ok(looked)
    }
}

/// A question as a line for people.
impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ask::FleetVersion => write!(f, "fleet.version"),
            Ask::MatchReplicas(prefix) => write!(f, "prefix-index.match-replicas({prefix})"),
            Ask::MatchRegions(prefix) => write!(f, "prefix-index.match-regions({prefix})"),
            Ask::Insert { holder, prefix } => write!(f, "prefix-index.insert({holder}, {prefix})"),
            Ask::Evict { holder } => write!(f, "prefix-index.evict({holder})"),
            Ask::IndexSizes => write!(f, "prefix-index.sizes"),
            Ask::Take { name, tokens_max, tokens_per_minute, tokens } => {
                write!(f, "buckets.take({name:?}, {tokens} of {tokens_max}, {tokens_per_minute} a minute)")
            }
            Ask::GiveBack { name, tokens } => write!(f, "buckets.give-back({name:?}, {tokens})"),
            Ask::Charge { name, tokens } => write!(f, "buckets.charge({name:?}, {tokens})"),
            Ask::Level { name } => write!(f, "buckets.level({name:?})"),
            Ask::Hold { name, places } => write!(f, "buckets.hold({name:?}, one of {places})"),
            Ask::Held { name } => write!(f, "buckets.held({name:?})"),
            Ask::Count { name, delta } => write!(f, "buckets.count({name:?}, {delta})"),
            Ask::Get { key } => write!(f, "store.get({key:?})"),
            Ask::Set { key, value } => write!(f, "store.set({key:?}, {} bytes)", value.len()),
            Ask::CompareAndSet { key, expected, value } => {
                write!(f, "store.compare-and-set({key:?}, version {expected}, {} bytes)", value.len())
            }
            Ask::Remove { key } => write!(f, "store.remove({key:?})"),
            Ask::Log { level, line } => write!(f, "log, {}: {line}", format!("{level:?}").to_lowercase()),
            Ask::Metric { name, delta } => write!(f, "telemetry.count({name:?}, {delta})"),
            Ask::Gauge { name, value } => write!(f, "telemetry.gauge({name:?}, {value})"),
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prefix::Request => write!(f, "the request"),
            Prefix::Hashes(hashes) => write!(f, "{} hashes", hashes.len()),
        }
    }
}

/// An answer as words for people; nothing where there was none.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Told::Nothing => Ok(()),
            Told::Version(version) => write!(f, "{version}"),
            Told::Matches(matches) if matches.is_empty() => write!(f, "nobody"),
            Told::Matches(matches) => {
                let words: Vec<String> = matches.iter().map(|(id, blocks)| format!("{id}={blocks}")).collect();
                write!(f, "blocks by id {}", words.join(", "))
            }
            Told::Sizes { blocks, blocks_max, evicted } => {
                write!(f, "{blocks} of {blocks_max} blocks, {evicted} evicted")
            }
            Told::Taken(left) => write!(f, "taken, {left} left"),
            Told::WaitMs(ms) => write!(f, "not taken, enough in {ms} ms"),
            Told::Never => write!(f, "not taken, never enough"),
            Told::Is(yes) => write!(f, "{yes}"),
            Told::Number(number) => write!(f, "{number}"),
            Told::Maybe(Some(number)) => write!(f, "{number}"),
            Told::Maybe(None) | Told::Entry(None) => write!(f, "not there"),
            Told::Entry(Some(Entry { value, version })) => write!(f, "{} bytes, version {version}", value.len()),
            Told::Conflict(version) => write!(f, "not written, version {version} is there"),
            Told::Full => write!(f, "no room"),
            Told::TooLong => write!(f, "too long"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_looked_at_is_written_by_name_and_read_again() {
        let mut looked = Looked::default();
        Look::ALL.iter().step_by(3).for_each(|look| looked.add(*look));
        let text = serde_json::to_string(&looked).unwrap();
        assert!(text.starts_with(r#"["request.id","request.tenant""#), "{text}");
        assert_eq!(serde_json::from_str::<Looked>(&text).unwrap(), looked);
        let error = serde_json::from_str::<Looked>(r#"["fleet.mood"]"#).unwrap_err();
        assert!(error.to_string().contains("fleet.mood"), "{error}");
    }

    #[test]
    fn there_is_room_for_every_look() {
        assert!(Look::ALL.len() <= 64);
        let names: std::collections::BTreeSet<&str> = Look::ALL.iter().map(|look| look.name()).collect();
        assert_eq!(names.len(), Look::ALL.len());
    }
}
