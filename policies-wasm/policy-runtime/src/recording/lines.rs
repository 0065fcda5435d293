//! A recording's file: one JSON document a line, the header first, each thing before the first call that names it.

use base64::{Engine, prelude::BASE64_STANDARD};
use policy_api::{Admission, Event, FleetView, Hook, Mode, Placement, PolicyFault, RequestFacts};
use serde::{Deserialize, Serialize};

use super::{Track, Who};
use crate::Limits;

/// The form of the lines, as the header says it.
pub const FORMAT: u32 = 1;

/// What a recording begins with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    /// The contract that its policies speak.
    pub contract: String,
    /// Who wrote it.
    pub written_by: String,
    /// When.
    pub started_unix_ms: u64,
    /// Whether prompts are in it.
    pub prompts: bool,
    /// The bounds that its policies ran under.
    pub limits: Limits,
}

/// One line.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is documented at its type")]
pub enum Line {
    Recording(Header),
    Component(ComponentLine),
    Policy(PolicyLine),
    Fleet(FleetLine),
    Facts(FactsLine),
    Start(StartLine),
    Call(Box<CallLine>),
    Gap(GapLine),
    End(EndLine),
}

/// A component's bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ComponentLine {
    /// `sha256:…` of them.
    pub digest: String,
    /// Them.
    #[serde(with = "as_base64")]
    pub bytes: Vec<u8>,
}

/// A component under a configuration in a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in `Who`")]
pub struct PolicyLine {
    pub policy: u32,
    pub slot: String,
    pub name: String,
    pub version: String,
    pub digest: String,
    pub config: String,
    pub mode: Mode,
}

/// The fleet at one moment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FleetLine {
    /// Its number in this recording.
    pub fleet: u32,
    /// Its columns.
    pub view: FleetView,
}

/// One request's facts. Whether the prompt is there the header says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in `RequestFacts`")]
pub struct FactsLine {
    pub facts: u32,
    pub request: u64,
    /// [`RequestFacts::digest`].
    pub digest: u64,
    pub endpoint: String,
    pub model: String,
    pub tenant: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    pub priority: u32,
    pub prompt_tokens_estimate: u32,
    pub output_tokens_max: u32,
    pub stream: bool,
    pub hop: u32,
    pub headers: Vec<(String, String)>,
    pub prompt_bytes: usize,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_base64")]
    pub prompt: Option<Vec<u8>>,
    pub tokens_count: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<u32>>,
    #[serde(with = "hashes_as_base64")]
    pub block_hashes: Vec<u64>,
}

/// How an instance began.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in `Start`")]
pub struct StartLine {
    pub policy: u32,
    pub instance: u64,
    pub now_ms: u64,
    #[serde(default)]
    pub configure: Track,
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_base64")]
    pub inherited: Option<Vec<u8>>,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in `Call`; policy, facts and fleet by their numbers")]
pub struct CallLine {
    pub policy: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    pub turn: u64,
    pub hook: Hook,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<u64>,
    pub now_ms: u64,
    pub chance: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<u32>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Event>,
    pub answer: Answer,
    pub ns: u64,
    #[serde(default)]
    pub track: Track,
}

/// What a call answered: what must come out again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The verdict, or why there is none.
    pub said: Said,
    /// Why, in the policy's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Attributes for the trace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
    /// Headers for the client's answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<(String, String)>,
    /// What it noted about the request.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "maybe_base64")]
    pub note: Option<Vec<u8>>,
    /// Fuel it used, where fuel was metered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
}

/// A call's verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Of the admit hook.
    Admit(Admission),
    /// Of the place hook.
    Place(Placement),
    /// The observe hook answers nothing.
    Observed,
    /// A policy's state.
    Snapshot(#[serde(with = "as_base64")] Vec<u8>),
    /// It gave none.
    Fault(PolicyFault),
}

/// Calls are missing here: there were more than could be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapLine {
    /// How many.
    pub dropped: u64,
}

/// The recording ended in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndLine {
    /// Calls in it.
    pub calls: u64,
    /// Calls that are missing.
    pub dropped: u64,
    /// Why it ended.
    pub why: EndReason,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndReason {
    /// Somebody ended it, or the process did.
    Stopped,
    /// It reached its bound in bytes.
    Full,
    /// It is a part of another.
    Excerpt,
}

impl Answer {
    /// With nothing said besides.
    pub fn bare(said: Said) -> Answer {
        Answer { said, reason: None, attributes: Vec::new(), headers: Vec::new(), note: None, fuel: None }
    }
}

impl PolicyLine {
    pub(super) fn of(policy: u32, who: &Who) -> PolicyLine {
        let Who { slot, name, version, digest, config_json, mode, component: _ } = who.clone();
        PolicyLine { policy, slot, name, version, digest, config: config_json, mode }
    }
}

impl FactsLine {
    /// `prompts` chooses whether the prompt and its token ids are in it.
    pub(super) fn of(number: u32, facts: &RequestFacts, prompts: bool) -> FactsLine {
        FactsLine {
            facts: number,
            request: facts.id,
            digest: facts.digest(),
            endpoint: facts.endpoint.clone(),
            model: facts.model.clone(),
            tenant: facts.tenant.clone(),
            session: facts.session.clone(),
            priority: facts.priority,
            prompt_tokens_estimate: facts.prompt_tokens_estimate,
            output_tokens_max: facts.output_tokens_max,
            stream: facts.stream,
            hop: facts.hop,
            headers: facts.headers.clone(),
            prompt_bytes: facts.prompt.len(),
            prompt: prompts.then(|| facts.prompt.to_vec()),
            tokens_count: facts.tokens.len(),
            tokens: prompts.then(|| facts.tokens.clone()),
            block_hashes: facts.block_hashes().to_vec(),
        }
    }
}

/// Bytes as base64.
pub(super) mod as_base64 {
    use serde::{Deserializer, Serializer, de::Error};

    use super::{BASE64_STANDARD, Deserialize, Engine};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        BASE64_STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Bytes as base64 that may not be there.
mod maybe_base64 {
    use serde::{Deserializer, Serialize, Serializer, de::Error};

    use super::{BASE64_STANDARD, Deserialize, Engine};

    pub fn serialize<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
        bytes.as_ref().map(|bytes| BASE64_STANDARD.encode(bytes)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| BASE64_STANDARD.decode(text).map_err(D::Error::custom)).transpose()
    }
}

/// Hashes as base64 of 8 bytes each, little-endian: half of what their digits would take.
pub(super) mod hashes_as_base64 {
    use serde::{Deserializer, Serializer, de::Error};

    use super::as_base64;

    pub fn serialize<S: Serializer>(hashes: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
        let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.to_le_bytes()).collect();
        as_base64::serialize(&bytes, serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u64>, D::Error> {
        let bytes = as_base64::deserialize(deserializer)?;
        let (hashes, rest) = bytes.as_chunks::<8>();
        if rest.is_empty() {
            return Ok(hashes.iter().map(|hash| u64::from_le_bytes(*hash)).collect());
        }
        Err(D::Error::custom(format!("{} bytes are no whole number of hashes", bytes.len())))
    }
}
