//! What the demo found: the workload's report and what the proxies say of themselves.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, anyhow};
use bench_load::{Percentiles, Report};
use serde::{Deserialize, Serialize};

use super::children::Children;
use super::plan::{Plan, RegionPlan, SLOT};

/// Longest wait until a proxy sees its replicas healthy.
const READY_TIME_MAX: Duration = Duration::from_secs(30);
const READY_INTERVAL: Duration = Duration::from_millis(50);

/// The JSON that `--once` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    requests: u64,
    failures: u64,
    prompt_tokens: u64,
    output_tokens: u64,
    output_tokens_per_s: f64,
    duration_s: f64,
    ttft_ms: Percentiles,
    tpot_ms: Percentiles,
    e2e_ms: Percentiles,
    /// The first region's; all regions start with the same.
    policy: PolicyName,
    regions: Vec<RegionSummary>,
}

#[derive(Debug, Serialize)]
struct PolicyName {
    name: String,
    digest: String,
}

#[derive(Debug, Serialize)]
struct RegionSummary {
    region: String,
    openai_url: String,
    dashboard_url: String,
    policy: ActivePolicy,
}

/// The version that decides.
#[derive(Debug, Serialize, Deserialize)]
struct ActivePolicy {
    name: String,
    version: String,
    digest: String,
    bytes: u64,
    decisions_total: u64,
    faults_total: u64,
}

#[derive(Deserialize)]
struct Policies {
    chain: Vec<Slot>,
}

#[derive(Deserialize)]
struct Slot {
    slot: String,
    versions: Vec<Version>,
}

#[derive(Deserialize)]
struct Version {
    state: String,
    #[serde(flatten)]
    policy: ActivePolicy,
}

impl Summary {
    /// Asks each proxy for its active policy and puts it beside the report.
    pub(crate) async fn read(plan: &Plan, report: &Report) -> anyhow::Result<Summary> {
        let mut regions = Vec::new();
        for region in &plan.regions {
            let url = format!("{}/admin/v1/policies", region.admin_url());
            let text = crate::demo::get(&url).await?;
            let policies: Policies = serde_json::from_str(&text).with_context(|| format!("read {url}"))?;
            regions.push(RegionSummary {
                region: region.name.clone(),
                openai_url: format!("{}/v1", region.data_url()),
                dashboard_url: region.admin_url(),
                policy: active(policies).with_context(|| format!("{url} names no active policy"))?,
            });
        }
        let first = &regions.first().context("the plan has no region")?.policy;
        let policy = PolicyName { name: first.name.clone(), digest: first.digest.clone() };
        let Report {
            scenario: _,
            requests,
            failures,
            prompt_tokens,
            output_tokens,
            duration_s,
            output_tokens_per_s,
            ttft_ms,
            tpot_ms,
            e2e_ms,
            errors: _,
        } = *report;
        Ok(Summary {
            requests,
            failures,
            prompt_tokens,
            output_tokens,
            output_tokens_per_s,
            duration_s,
            ttft_ms,
            tpot_ms,
            e2e_ms,
            policy,
            regions,
        })
    }

    /// Where to look, and what decides there.
    pub(crate) fn urls(&self) -> String {
        let mut text = String::new();
        for region in &self.regions {
            let ActivePolicy { name, version, digest, decisions_total, .. } = &region.policy;
            let short = digest.get(..19).unwrap_or(digest);
            write!(
                text,
                "\nregion {}\n  OpenAI endpoint       {}\n  dashboard             {}\n  policy                {name} {version} ({short}…), {decisions_total} decisions\n",
                region.region, region.openai_url, region.dashboard_url
            )
            .expect("a String takes everything");
        }
        text
    }
}

fn active(policies: Policies) -> Option<ActivePolicy> {
    let slot = policies.chain.into_iter().find(|slot| slot.slot == SLOT)?;
    slot.versions.into_iter().find(|version| version.state == "active").map(|version| version.policy)
}

/// Waits until the region's proxy has healthy replicas.
pub(crate) async fn wait_until_ready(region: &RegionPlan, children: &mut Children) -> anyhow::Result<()> {
    let url = format!("{}/readyz", region.admin_url());
    let ready = async {
        let mut last = String::new();
        let wait = async {
            loop {
                match crate::demo::get(&url).await {
                    Ok(_) => return,
                    Err(error) => last = error.to_string(),
                }
                tokio::time::sleep(READY_INTERVAL).await;
            }
        };
        let waited = tokio::time::timeout(READY_TIME_MAX, wait).await;
        waited.map_err(|_| anyhow!("proxy {} was not ready within {READY_TIME_MAX:?}: {last}", region.name))
    };
    tokio::select! {
        ready = ready => ready,
        fallen = children.first_to_fall() => Err(fallen),
    }
}
