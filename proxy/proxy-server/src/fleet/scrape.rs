//! Reads a server's load from its `/metrics`, whatever the server calls it.

use openai_api::ReplicaState;

use crate::config::ReplicaKind;
use crate::fleet::prometheus_text::{Sample, samples};

/// Blocks that stand for a cache of which only the share in use is told.
pub(super) const SHARES: u32 = 1000;

/// What reads one kind's texts. Keeps the last counters, since some servers tell totals where shares are wanted.
pub(super) struct Scraper {
    names: &'static Names,
    last: Option<(f64, f64)>,
    hit_permille: u32,
}

/// A kind's names; each list holds what servers of different ages call the same.
struct Names {
    all: &'static [&'static str],
    running: &'static [&'static str],
    waiting: &'static [&'static str],
    /// The share of the KV cache in use, 0 to 1.
    used_share: &'static [&'static str],
    /// Tokens that the KV cache holds.
    tokens_total: &'static [&'static str],
    /// Whose label tells the blocks.
    blocks_label: Option<(&'static str, &'static str)>,
    /// The share of prompt tokens that were in the cache, 0 to 1.
    hit_share: &'static [&'static str],
    /// Totals of what was looked for and found in the prefix cache.
    queries: &'static [&'static str],
    hits: &'static [&'static str],
}

const VLLM: Names = Names {
    all: &[
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:kv_cache_usage_perc",
        "vllm:gpu_cache_usage_perc",
        "vllm:cache_config_info",
        "vllm:prefix_cache_queries_total",
        "vllm:prefix_cache_hits_total",
        "vllm:gpu_prefix_cache_queries_total",
        "vllm:gpu_prefix_cache_hits_total",
    ],
    running: &["vllm:num_requests_running"],
    waiting: &["vllm:num_requests_waiting"],
    used_share: &["vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"],
    tokens_total: &[],
    blocks_label: Some(("vllm:cache_config_info", "num_gpu_blocks")),
    hit_share: &[],
    queries: &["vllm:prefix_cache_queries_total", "vllm:gpu_prefix_cache_queries_total"],
    hits: &["vllm:prefix_cache_hits_total", "vllm:gpu_prefix_cache_hits_total"],
};

const SGLANG: Names = Names {
    all: &[
        "sglang:num_running_reqs",
        "sglang:num_queue_reqs",
        "sglang:token_usage",
        "sglang:cache_hit_rate",
        "sglang:max_total_num_tokens",
    ],
    running: &["sglang:num_running_reqs"],
    waiting: &["sglang:num_queue_reqs"],
    used_share: &["sglang:token_usage"],
    tokens_total: &["sglang:max_total_num_tokens"],
    blocks_label: None,
    hit_share: &["sglang:cache_hit_rate"],
    queries: &[],
    hits: &[],
};

const LLAMACPP: Names = Names {
    all: &["llamacpp:requests_processing", "llamacpp:requests_deferred", "llamacpp:kv_cache_usage_ratio"],
    running: &["llamacpp:requests_processing"],
    waiting: &["llamacpp:requests_deferred"],
    used_share: &["llamacpp:kv_cache_usage_ratio"],
    tokens_total: &[],
    blocks_label: None,
    hit_share: &[],
    queries: &[],
    hits: &[],
};

const TGI: Names = Names {
    all: &["tgi_batch_current_size", "tgi_queue_size"],
    running: &["tgi_batch_current_size"],
    waiting: &["tgi_queue_size"],
    used_share: &[],
    tokens_total: &[],
    blocks_label: None,
    hit_share: &[],
    queries: &[],
    hits: &[],
};

impl Scraper {
    /// For a kind that tells its load at `/metrics`.
    pub fn of(kind: ReplicaKind) -> Option<Scraper> {
        let names = match kind {
            ReplicaKind::Vllm => &VLLM,
            ReplicaKind::Sglang => &SGLANG,
            ReplicaKind::Llamacpp => &LLAMACPP,
            ReplicaKind::Tgi => &TGI,
            ReplicaKind::Headworks | ReplicaKind::Openai => return None,
        };
        Some(Scraper { names, last: None, hit_permille: 0 })
    }

    /// The load that a text tells, or what is missing in it.
    pub fn read(&mut self, text: &str) -> Result<ReplicaState, String> {
        let names = self.names;
        let found: Vec<Sample<'_>> =
            samples(text, names.all).filter(|sample| sample.value.is_finite() && is_of_a_first_rank(sample)).collect();
        let of = |wanted: &[&str]| -> Vec<f64> {
            let is_wanted = |sample: &&Sample<'_>| wanted.contains(&names.all[sample.wanted]);
            found.iter().filter(is_wanted).map(|sample| sample.value).collect()
        };
        // A server with several engines tells each one's.
        let sum = |wanted: &[&str]| of(wanted).iter().sum::<f64>();
        let mean = |wanted: &[&str]| {
            let all = of(wanted);
            (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
        };
        if of(names.running).is_empty() {
            return Err(format!("GET /metrics has no {}; is the replica's `kind` right?", names.running[0]));
        }
        let blocks = names.blocks_label.map_or(0.0, |(name, label)| {
            let told = found.iter().filter(|sample| names.all[sample.wanted] == name);
            told.filter_map(|sample| sample.label(label)?.parse::<f64>().ok()).sum()
        });
        let used = mean(names.used_share);
        let total = match (whole(blocks), whole(sum(names.tokens_total)), used) {
            (0, 0, Some(_)) => SHARES,
            (0, tokens, _) => tokens,
            (blocks, _, _) => blocks,
        };
        let hit_permille = match mean(names.hit_share) {
            Some(share) => permille(share),
            None => self.hits_of_late(sum(names.queries), sum(names.hits)),
        };
        Ok(ReplicaState {
            running: whole(sum(names.running)),
            waiting: whole(sum(names.waiting)),
            kv_blocks_total: total,
            kv_blocks_used: whole(used.unwrap_or(0.0).clamp(0.0, 1.0) * f64::from(total)),
            prefix_hit_permille: hit_permille,
            ..ReplicaState::default()
        })
    }

    /// The share since the last text, or the last one where nothing was looked for since.
    fn hits_of_late(&mut self, queries: f64, hits: f64) -> u32 {
        let (queries_then, hits_then) = self.last.replace((queries, hits)).unwrap_or_default();
        // Fewer than before: the server was started again.
        let (queries, hits) = match queries < queries_then {
            true => (queries, hits),
            false => (queries - queries_then, hits - hits_then),
        };
        if queries > 0.0 {
            self.hit_permille = permille(hits / queries);
        }
        self.hit_permille
    }
}

/// Processes that run one engine together may each tell the same numbers (SGLang's `tp_rank`, `pp_rank`, with
/// `--enable-metrics-for-all-schedulers`): the first one's count. Engines of their own (`dp_rank`, vLLM's `engine`) are
/// summed.
fn is_of_a_first_rank(sample: &Sample<'_>) -> bool {
    ["tp_rank", "pp_rank"].iter().all(|rank| sample.label(rank).is_none_or(|rank| rank == "0"))
}

/// llama.cpp's `/slots`, for a server that shows no metrics.
pub(super) fn read_slots(body: &[u8]) -> Result<ReplicaState, String> {
    #[derive(serde::Deserialize)]
    struct Slot {
        #[serde(default)]
        is_processing: bool,
    }
    let slots: Vec<Slot> =
        serde_json::from_slice(body).map_err(|error| format!("GET /slots gave no slots: {error}"))?;
    let running = slots.iter().filter(|slot| slot.is_processing).count();
    Ok(ReplicaState { running: u32::try_from(running).unwrap_or(u32::MAX), ..ReplicaState::default() })
}

fn permille(share: f64) -> u32 {
    whole((share.clamp(0.0, 1.0) * 1000.0).round())
}

/// A count; below nothing is nothing, and what is too large is the largest.
fn whole(value: f64) -> u32 {
    // `as` saturates, and takes what is no number for 0.
    value.round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: ReplicaKind, text: &str, expected: ReplicaState) {
        assert_eq!(Scraper::of(kind).unwrap().read(text), Ok(expected));
    }

    #[test]
    fn a_vllm_servers_text() {
        let expected = ReplicaState {
            running: 3,
            waiting: 7,
            kv_blocks_total: 27918,
            kv_blocks_used: 6980,
            prefix_hit_permille: 750,
            ..ReplicaState::default()
        };
        check(ReplicaKind::Vllm, include_str!("scrape/vllm.txt"), expected);
    }

    #[test]
    fn an_older_vllm_servers_text() {
        let expected =
            ReplicaState { running: 2, kv_blocks_total: 1000, kv_blocks_used: 500, ..ReplicaState::default() };
        check(ReplicaKind::Vllm, include_str!("scrape/vllm-0.6.txt"), expected);
    }

    #[test]
    fn an_sglang_servers_text() {
        let expected = ReplicaState {
            running: 12,
            waiting: 4,
            kv_blocks_total: 130_000,
            kv_blocks_used: 36_400,
            prefix_hit_permille: 432,
            ..ReplicaState::default()
        };
        check(ReplicaKind::Sglang, include_str!("scrape/sglang.txt"), expected);
    }

    #[test]
    fn a_llamacpp_servers_text() {
        check(
            ReplicaKind::Llamacpp,
            include_str!("scrape/llamacpp.txt"),
            ReplicaState { running: 2, waiting: 1, ..ReplicaState::default() },
        );
    }

    #[test]
    fn a_tgi_servers_text() {
        check(
            ReplicaKind::Tgi,
            include_str!("scrape/tgi.txt"),
            ReplicaState { running: 8, waiting: 3, ..ReplicaState::default() },
        );
    }

    #[test]
    fn another_servers_text_is_told_apart() {
        let said = Scraper::of(ReplicaKind::Vllm).unwrap().read(include_str!("scrape/sglang.txt")).unwrap_err();
        assert_eq!(said, "GET /metrics has no vllm:num_requests_running; is the replica's `kind` right?");
    }

    #[test]
    fn hits_are_those_since_the_last_text() {
        let mut scraper = Scraper::of(ReplicaKind::Vllm).unwrap();
        let mut check = |queries: u32, hits: u32, expected| {
            let text = format!(
                "vllm:num_requests_running 0\nvllm:prefix_cache_queries_total {queries}\nvllm:prefix_cache_hits_total {hits}\n"
            );
            assert_eq!(scraper.read(&text).unwrap().prefix_hit_permille, expected, "{hits}/{queries}");
        };
        check(100, 50, 500);
        check(200, 140, 900);
        check(200, 140, 900);
        check(10, 1, 100);
    }

    #[test]
    fn several_engines_are_one_replica() {
        let text = "vllm:num_requests_running{engine=\"0\"} 1\nvllm:num_requests_running{engine=\"1\"} 2\n\
                    vllm:kv_cache_usage_perc{engine=\"0\"} 0.2\nvllm:kv_cache_usage_perc{engine=\"1\"} 0.4\n\
                    vllm:cache_config_info{engine=\"0\",num_gpu_blocks=\"10\"} 1\nvllm:cache_config_info{engine=\"1\",num_gpu_blocks=\"10\"} 1\n";
        let expected = ReplicaState { running: 3, kv_blocks_total: 20, kv_blocks_used: 6, ..ReplicaState::default() };
        check(ReplicaKind::Vllm, text, expected);
    }

    #[test]
    fn processes_of_one_engine_are_counted_once() {
        let sample = |rank: u32, dp: u32, running: u32| {
            format!(
                "sglang:num_running_reqs{{engine_type=\"unified\",tp_rank=\"{rank}\",pp_rank=\"0\",dp_rank=\"{dp}\"}} {running}\n\
                 sglang:max_total_num_tokens{{engine_type=\"unified\",tp_rank=\"{rank}\",dp_rank=\"{dp}\"}} 1000\n"
            )
        };
        let text: String = [sample(0, 0, 4), sample(1, 0, 4), sample(0, 1, 2), sample(1, 1, 2)].concat();
        let expected = ReplicaState { running: 6, kv_blocks_total: 2000, ..ReplicaState::default() };
        check(ReplicaKind::Sglang, &text, expected);
    }

    #[test]
    fn slots_at_work_are_requests() {
        let slots = br#"[{"id":0,"is_processing":true,"n_ctx":4096},{"id":1,"is_processing":false}]"#;
        assert_eq!(read_slots(slots), Ok(ReplicaState { running: 1, ..ReplicaState::default() }));
        assert!(read_slots(b"{}").is_err());
    }
}
