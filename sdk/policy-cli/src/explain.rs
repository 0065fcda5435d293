//! `headworks policy explain`: one decision once more, with what its policies saw, asked, were told and answered.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufReader, Cursor};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use policy_api::{FleetView, Placement, RequestFacts};
use policy_runtime::recording::{Ask, Heard, Look, Recording, Said, Told, excerpt};
use policy_runtime::replay::{Explained, NotReplayed, Options, explain, verdict_words};
use serde_json::Value;

use crate::admin::{Admin, AdminArgs, with_query};
use crate::check::hook_word;
use crate::replay::short;

/// What to explain.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The decision's id, as `decisions` and the dashboard show it, or the x-request-id of the answer
    #[arg(value_name = "ID")]
    id: String,
    /// A recording that has the decision; without it the proxy is asked, which must record or have recorded
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Rows of a fleet that are shown.
const ROWS_MAX: usize = 64;
/// Bytes of a prompt that are shown.
const PROMPT_BYTES_SHOWN: usize = 200;

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { id, recording, admin } = args;
    let (request, lines, names) = match recording {
        None => {
            let proxy = admin.connect()?;
            let (request, lines) = asked(&proxy, id)?;
            (request, lines, Names::of(&proxy))
        }
        Some(path) => {
            let request = number_of(id).with_context(|| {
                format!(
                    "{id:?} is no decision's id, which is hexadecimal; a recording has those alone, and \
                     `headworks policy decisions --request-id {id}` finds the one of an x-request-id"
                )
            })?;
            (request, read(path, id, request)?, Names::default())
        }
    };
    if admin.json {
        io::Write::write_all(&mut io::stdout(), &lines).context("print the decision's calls")?;
        return Ok(());
    }
    let recording = Recording::read(Cursor::new(lines)).context("read the decision's calls")?;
    let calls = explain(&recording, request, &Options::default()).context("make the decision's calls again")?;
    print!("{}", as_text(&format!("{request:x}"), &calls, &names));
    Ok(())
}

/// A decision's number by its id. Ids of requests have more digits.
fn number_of(id: &str) -> Option<u64> {
    u64::from_str_radix(id, 16).ok()
}

/// The decision's number and its calls, from the proxy. The id may be the one that the client saw.
fn asked(proxy: &Admin, id: &str) -> anyhow::Result<(u64, Vec<u8>)> {
    let by_number = |number: u64| -> anyhow::Result<(u64, Vec<u8>)> {
        let lines = proxy.get_bytes(&format!("/admin/v1/decisions/{number:x}/replay"))?;
        Ok((number, lines))
    };
    let as_it_stands = number_of(id).map(by_number);
    if let Some(Ok(found)) = as_it_stands {
        return Ok(found);
    }
    let path =
        with_query("/admin/v1/decisions", &[("request_id", Some(id.to_owned())), ("limit", Some("1".to_owned()))]);
    let decided = proxy.get(&path)?;
    match (decided["decisions"][0]["id"].as_str().and_then(number_of), as_it_stands) {
        (Some(number), _) => by_number(number),
        (None, Some(refused)) => refused,
        (None, None) => bail!(
            "no decision that the proxy keeps has the id or the x-request-id {id}: it is older than the last ones \
             (`limits.decisions_max`), was answered by another proxy or before a restart, or nothing was decided about it"
        ),
    }
}

/// The decision's calls, out of a recording.
fn read(path: &Path, id: &str, request: u64) -> anyhow::Result<Vec<u8>> {
    let file = File::open(path).with_context(|| format!("open the recording {}", path.display()))?;
    let mut lines = Vec::new();
    let found = excerpt(BufReader::new(file), request, &mut lines);
    if found.with_context(|| format!("read {}", path.display()))? == 0 {
        bail!(
            "{} has no decision {id}: it was made before the recording began or after it ended, no policy was asked \
             about it, or there never was one",
            path.display()
        );
    }
    Ok(lines)
}

/// What the replicas and regions of a proxy are called; a recording knows their numbers only.
#[derive(Default)]
struct Names {
    replicas: BTreeMap<u32, String>,
    regions: BTreeMap<u32, String>,
}

impl Names {
    /// As they are now; those that have gone have none.
    fn of(proxy: &Admin) -> Names {
        let fleet = proxy.get("/admin/v1/fleet").unwrap_or_default();
        let regions = fleet["regions"].as_array().map_or(&[][..], Vec::as_slice);
        let own = regions.iter().find(|region| region["local"] == true);
        let replicas = own.and_then(|region| region["replicas"].as_array()).map_or(&[][..], Vec::as_slice);
        Names { replicas: by_id(replicas), regions: by_id(regions) }
    }

    /// ` (us-0)`, where the verdict names a target that has a name.
    fn of_target(&self, said: &Said) -> String {
        let name = match said {
            Said::Place(Placement::Replica(id)) => self.replicas.get(&id.0),
            Said::Place(Placement::Region(id)) => self.regions.get(&id.0),
            _ => None,
        };
        name.map(|name| format!(" ({name})")).unwrap_or_default()
    }
}

fn by_id(docs: &[Value]) -> BTreeMap<u32, String> {
    let named = |doc: &Value| Some((u32::try_from(doc["id"].as_u64()?).ok()?, doc["name"].as_str()?.to_owned()));
    docs.iter().filter_map(named).collect()
}

fn as_text(id: &str, calls: &[Explained], names: &Names) -> String {
    let mut text = format!("decision {id}, {} calls\n", calls.len());
    for call in calls {
        text.push('\n');
        explain_call(&mut text, call, names);
    }
    text
}

fn explain_call(text: &mut String, explained: &Explained, names: &Names) {
    let Explained { policy, call, facts, has_prompt, fleet, track, fuel, outcome } = explained;
    let mut line = |indent: usize, name: &str, value: &str| {
        writeln!(text, "{:indent$}{name:<13} {value}", "").expect("a String takes everything");
    };
    let who = format!("{} {}, {}", policy.name, policy.version, short(&policy.digest));
    line(0, &format!("{} {}:", policy.slot, hook_word(call.hook)), &who);
    line(2, "configured", &policy.config);
    line(2, "at", &format!("{} ms of the proxy's clock", call.now_ms));
    for look in track.looked.list() {
        if let Some(value) = fact_words(look, facts, *has_prompt) {
            line(2, &look.name()["request.".len()..], &value);
        }
    }
    for row in fleet_rows(track.looked.list(), fleet, names) {
        line(2, "", &row);
    }
    for Heard { ask, told } in track.heard.iter().filter(|heard| heard.ask != Ask::FleetVersion) {
        match told {
            Told::Nothing => line(2, "it says", &ask.to_string()),
            told => line(2, "it asks", &format!("{ask} -> {told}")),
        }
    }
    if let Some(reason) = &call.answer.reason {
        line(2, "reason", reason);
    }
    for (name, value) in &call.answer.attributes {
        line(2, "attribute", &format!("{name} = {value}"));
    }
    for (name, value) in &call.answer.headers {
        line(2, "header", &format!("{name}: {value}"));
    }
    line(2, "verdict", &format!("{}{}", verdict_words(&call.answer.said), names.of_target(&call.answer.said)));
    let fuel = fuel.map(|fuel| format!(", {fuel} fuel when made again")).unwrap_or_default();
    line(2, "cost", &format!("{} ns{fuel}", call.ns));
    line(2, "again", &outcome_words(outcome));
}

fn outcome_words(outcome: &Result<Option<String>, NotReplayed>) -> String {
    match outcome {
        Ok(None) => "the same, bit for bit".to_owned(),
        Ok(Some(why)) => format!("otherwise: {why}"),
        Err(why) => format!("not made again: {why}"),
    }
}

/// A fact of the request that the policy looked at.
fn fact_words(look: Look, facts: &RequestFacts, has_prompt: bool) -> Option<String> {
    let not_recorded = || "not recorded".to_owned();
    Some(match look {
        Look::RequestId => format!("{:x}", facts.id),
        Look::Endpoint => facts.endpoint.clone(),
        Look::Model => facts.model.clone(),
        Look::Tenant => facts.tenant.clone(),
        Look::Session => facts.session.clone().unwrap_or_else(|| "none".to_owned()),
        Look::Priority => facts.priority.to_string(),
        Look::PromptTokens => facts.prompt_tokens_estimate.to_string(),
        Look::OutputTokens => facts.output_tokens_max.to_string(),
        Look::Stream => facts.stream.to_string(),
        Look::Hop => facts.hop.to_string(),
        Look::PromptBytes => facts.prompt.len().to_string(),
        Look::Prompt if has_prompt => {
            format!("{:?}", String::from_utf8_lossy(&facts.prompt.range(0, PROMPT_BYTES_SHOWN)))
        }
        Look::Tokens if has_prompt => format!("{} ids", facts.tokens.len()),
        Look::Prompt | Look::Tokens => not_recorded(),
        Look::BlockHashes => format!("{} of them", facts.block_hashes().len()),
        Look::Headers => {
            let headers: Vec<String> = facts.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            if headers.is_empty() { "none".to_owned() } else { headers.join(", ") }
        }
        _ => return None,
    })
}

/// The columns that the policy looked at, as a table: those of the replicas, then those of the regions.
fn fleet_rows(looks: impl Iterator<Item = Look>, fleet: &FleetView, names: &Names) -> Vec<String> {
    let (mut replicas, mut regions) = (Vec::new(), Vec::new());
    for look in looks {
        let Some(column) = column(look, fleet) else { continue };
        let (kind, name) = look.name().split_once('.').unwrap_or_default();
        if kind == "fleet" { replicas.push((name, column)) } else { regions.push((name, column)) }
    }
    let replicas = table("replica", &labels(&fleet.id, &names.replicas), &replicas);
    replicas.into_iter().chain(table("region", &labels(&fleet.regions.id, &names.regions), &regions)).collect()
}

/// Each row's number, from 0 as policies count, and the name of what stands in it.
fn labels(ids: &[u32], names: &BTreeMap<u32, String>) -> Vec<String> {
    let name = |id: &u32| names.get(id).map(|name| format!(" {name}")).unwrap_or_default();
    ids.iter().enumerate().map(|(row, id)| format!("{row}{}", name(id))).collect()
}

fn table(kind: &str, labels: &[String], columns: &[(&str, &[u32])]) -> Vec<String> {
    if columns.is_empty() {
        return Vec::new();
    }
    let shown = labels.len().min(ROWS_MAX);
    let width = labels[..shown].iter().map(|label| label.chars().count()).max().unwrap_or_default().max(kind.len());
    let cell = |text: &str, name: &str| format!("{text:>width$}", width = name.len().max(6));
    let row = |cells: Vec<String>| cells.join("  ");
    let mut rows = vec![format!("{kind:<width$} {}", row(columns.iter().map(|(name, _)| cell(name, name)).collect()))];
    for (at, label) in labels[..shown].iter().enumerate() {
        let cells = columns.iter().map(|(name, column)| cell(&column[at].to_string(), name)).collect();
        rows.push(format!("{label:<width$} {}", row(cells)));
    }
    if labels.len() > ROWS_MAX {
        rows.push(format!("… and {} more", labels.len() - ROWS_MAX));
    }
    rows
}

fn column(look: Look, fleet: &FleetView) -> Option<&[u32]> {
    Some(match look {
        Look::FleetId => &fleet.id,
        Look::FleetRegion => &fleet.region,
        Look::FleetRunning => &fleet.running,
        Look::FleetWaiting => &fleet.waiting,
        Look::FleetKvBlocksUsed => &fleet.kv_blocks_used,
        Look::FleetKvBlocksTotal => &fleet.kv_blocks_total,
        Look::FleetPrefixHitPermille => &fleet.prefix_hit_permille,
        Look::FleetHealth => &fleet.health,
        Look::FleetDraining => &fleet.draining,
        Look::FleetRole => &fleet.role,
        Look::FleetAgeMs => &fleet.age_ms,
        Look::FleetTtftUs => &fleet.ttft_us,
        Look::FleetTpotUs => &fleet.tpot_us,
        Look::FleetWeight => &fleet.weight,
        Look::FleetPrefillTokens => &fleet.prefill_tokens,
        Look::RegionId => &fleet.regions.id,
        Look::RegionLocal => &fleet.regions.local,
        Look::RegionAvailable => &fleet.regions.available,
        Look::RegionQueue => &fleet.regions.queue,
        Look::RegionRttUs => &fleet.regions.rtt_us,
        Look::RegionAgeMs => &fleet.regions.age_ms,
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
