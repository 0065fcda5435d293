//! `headworks policy replay`: makes recorded decisions again, with the policy that made them or with another.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use policy_runtime::recording::Recording;
use policy_runtime::replay::{Difference, Options, Other, Outcome, PolicyReport, Report, compare, replay};

use crate::check::hook_word;
use crate::input;

/// What to replay.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The recording, as the proxy wrote it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Put the recorded requests to this policy instead, and show where it decides otherwise
    #[arg(long, value_name = "FILE.wasm")]
    policy: Option<PathBuf>,
    /// The other policy's configuration: a JSON object, or @FILE with one
    #[arg(long, value_name = "JSON|@FILE", requires = "policy")]
    config: Option<String>,
    /// In whose place, where the recording has decisions of several slots
    #[arg(long, value_name = "NAME", requires = "policy")]
    slot: Option<String>,
    /// Differences to show; all are counted
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { file, policy, config, slot, limit, json } = args;
    let recording = read(file)?;
    let options = Options { differences_max: *limit, ..Options::default() };
    let report = match policy {
        None => replay(&recording, &options).context("replay the recording")?,
        Some(path) => {
            let component = input::component(path)?;
            let config_json = config.as_deref().map(input::config_json).transpose()?.unwrap_or_default();
            let other = Other { component: &component, config_json: &config_json, slot: slot.as_deref() };
            compare(&recording, &other, &options).with_context(|| format!("put the recording to {}", path.display()))?
        }
    };
    let text = match json {
        true => serde_json::to_string_pretty(&report).context("write the report")? + "\n",
        false => as_text(&report, policy.is_some()),
    };
    print!("{text}");
    if policy.is_none() && !report.is_exact() {
        match report.differ {
            0 => bail!("none of the {} calls could be made again", report.calls),
            differ => bail!("{differ} of {} calls came out otherwise than they were recorded", report.calls),
        }
    }
    Ok(())
}

/// Reads a recording from a file.
pub(crate) fn read(path: &Path) -> anyhow::Result<Recording> {
    let file = File::open(path).with_context(|| format!("open the recording {}", path.display()))?;
    Recording::read(BufReader::new(file)).with_context(|| format!("{} cannot be replayed", path.display()))
}

fn as_text(report: &Report, by_another: bool) -> String {
    let Report { calls, same, differ, not_replayed, policies, differences, fuel, remarks } = report;
    let mut text = String::new();
    let mut row = |name: &str, value: &str| {
        writeln!(text, "{name:<12}{value}").expect("a String takes everything");
    };
    for policy in policies {
        row("recorded", &policy_words(policy));
    }
    let agreed = if by_another { "decided alike" } else { "the same, bit for bit" };
    row("calls", &format!("{calls}: {same} {agreed}, {differ} otherwise, {} not made again", calls - same - differ));
    for (why, count) in not_replayed {
        row("", &format!("{count} not made again: {why}"));
    }
    if let Some(fuel) = fuel {
        row("fuel", &format!("median {}, most {} of one call, {} in all", fuel.median, fuel.max, fuel.total));
    }
    for remark in remarks {
        row("note", remark);
    }
    if !differences.is_empty() {
        text.push('\n');
        text.push_str(&table(differences));
        if (differences.len() as u64) < *differ {
            writeln!(text, "… and {} more (--limit shows more)", differ - differences.len() as u64)
                .expect("a String takes everything");
        }
    }
    text
}

fn policy_words(policy: &PolicyReport) -> String {
    let PolicyReport { slot, name, version, digest, calls, same, differ } = policy;
    format!("{slot}: {name} {version}, {}, {calls} calls, {same} the same, {differ} otherwise", short(digest))
}

/// As much of a digest as people compare.
pub(crate) fn short(digest: &str) -> &str {
    &digest[..digest.floor_char_boundary("sha256:".len() + 12)]
}

fn table(differences: &[Difference]) -> String {
    let mut text = String::new();
    for difference in differences {
        let Difference { call, request, slot, hook, now_ms: _, recorded, replayed, why } = difference;
        let about = request.as_ref().map(|id| format!(" of decision {id}")).unwrap_or_default();
        writeln!(text, "call {call}, {slot} {}{about}: {why}", hook_word(*hook)).expect("a String takes everything");
        for (when, outcome) in [("recorded", recorded), ("now", replayed)] {
            let Outcome { verdict, reason } = outcome;
            let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
            writeln!(text, "  {when:<10}{verdict}{reason}").expect("a String takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests;
