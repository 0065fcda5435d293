//! `headworks policy decisions`: the last decisions of a proxy, newest first.

use serde_json::Value;

use crate::admin::{AdminArgs, with_query};
use crate::shown::{table, word};

/// Which decisions. Each filter wants the whole word; all that are given must hold.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Decisions shown, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20)]
    limit: u32,
    /// Of the slot whose policy gave the verdict; "" for those that no policy decided
    #[arg(long)]
    slot: Option<String>,
    /// By the policy's name
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Of the model that was asked for
    #[arg(long)]
    model: Option<String>,
    /// Of who asked
    #[arg(long)]
    tenant: Option<String>,
    /// replica, region, deny, reject or none
    #[arg(long)]
    verdict: Option<String>,
    /// running, finished, failed, cancelled or refused
    #[arg(long)]
    outcome: Option<String>,
    /// Of the request whose answer had this x-request-id
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

/// The table's columns; the reason is last, for it may be long.
const HEAD: [&str; 9] = ["TIME (UTC)", "ID", "MODEL", "SLOT", "POLICY", "VERDICT", "TOOK", "OUTCOME", "WHY"];

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { limit, slot, policy, model, tenant, verdict, outcome, request_id, admin } = args;
    let path = with_query(
        "/admin/v1/decisions",
        &[
            ("limit", Some(limit.to_string())),
            ("slot", slot.clone()),
            ("policy", policy.clone()),
            ("model", model.clone()),
            ("tenant", tenant.clone()),
            ("verdict", verdict.clone()),
            ("outcome", outcome.clone()),
            ("request_id", request_id.clone()),
        ],
    );
    let decided = admin.connect()?.get(&path)?;
    match admin.json {
        true => println!("{decided:#}"),
        false => print!("{}", as_text(&decided)),
    }
    Ok(())
}

fn as_text(decided: &Value) -> String {
    let decisions = decided["decisions"].as_array().map_or(&[][..], Vec::as_slice);
    if decisions.is_empty() {
        return "no decision that is kept is one of these\n".to_owned();
    }
    let rows: Vec<[String; 9]> = std::iter::once(HEAD.map(str::to_owned)).chain(decisions.iter().map(row)).collect();
    table(&rows) + "\n`headworks policy explain ID` shows what the policies saw, where that was recorded\n"
}

fn row(decision: &Value) -> [String; 9] {
    let target = decision["target"].as_str().map(|target| format!(" {target}")).unwrap_or_default();
    let faults: Vec<String> =
        decision["faults"].as_array().into_iter().flatten().map(|fault| format!("fault: {}", word(fault))).collect();
    let why: Vec<String> = decision["reason"].as_str().map(str::to_owned).into_iter().chain(faults).collect();
    [
        decision["time_ms"].as_u64().map_or_else(|| word(&Value::Null), time_of_day),
        word(&decision["id"]),
        word(&decision["model"]),
        word(&decision["slot"]),
        format!("{} {}", word(&decision["policy"]), word(&decision["policy_version"])),
        format!("{}{target}", word(&decision["verdict"])),
        format!("{} us", word(&decision["decide_us"])),
        word(&decision["outcome"]),
        why.join("; "),
    ]
}

/// Of Unix milliseconds.
fn time_of_day(time_ms: u64) -> String {
    let (seconds, ms) = (time_ms / 1000 % 86_400, time_ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn decisions_are_a_table() {
        let decided = json!({ "decisions": [
            { "id": "1a2b", "time_ms": 1_764_065_403_007_u64, "model": "tiny", "slot": "placement", "policy": "first-idle",
              "policy_version": "0.1.0", "verdict": "replica", "target": "us-0", "decide_us": 12, "outcome": "finished",
              "reason": "lowest load 1", "faults": [] },
            { "id": "1a2a", "time_ms": 1_764_065_403_000_u64, "model": "a-longer-name", "slot": null,
              "policy": "native-least-load", "policy_version": "0.1.0", "verdict": "none", "target": null,
              "decide_us": 4, "outcome": "refused", "reason": null, "faults": ["first-idle: boom"] } ] });
        insta::assert_snapshot!(as_text(&decided));
    }

    #[test]
    fn none_are_a_sentence() {
        insta::assert_snapshot!(as_text(&json!({ "decisions": [] })), @"no decision that is kept is one of these");
    }
}
