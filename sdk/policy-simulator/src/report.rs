//! Sums up a run: counts, percentiles, hit rate, balance, decisions; and sets several side by side.

use std::fmt::Write as _;

use serde::Serialize;

/// What a run brought. The same scenario, contender and build make the same report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Whose run it was.
    pub contender: String,
    /// Requests sent; each is one of the next three.
    pub requests: u64,
    /// Answered to the end.
    pub finished: u64,
    /// No replica did it, or it was held too long.
    pub failed: u64,
    /// Turned away by a policy, or by a replica that can never run it.
    pub rejected: u64,
    /// Simulated seconds from the first request to the last answer.
    pub duration_s: f64,
    /// Finished requests per simulated second.
    pub requests_per_s: f64,
    /// Output tokens per simulated second.
    pub output_tokens_per_s: f64,
    /// From the client's send to its first token.
    pub ttft_ms: Percentiles,
    /// Between two output tokens of one request, on average over it.
    pub tpot_ms: Percentiles,
    /// From the client's send to the last token.
    pub e2e_ms: Percentiles,
    /// Prompt tokens of finished requests.
    pub prompt_tokens: u64,
    /// Of those, from the prefix cache.
    pub cached_tokens: u64,
    /// The second over the first.
    pub prefix_hit_rate: f64,
    /// Requests at a replica, on average over the run: the busiest replica's.
    pub outstanding_max: f64,
    /// The idlest replica's.
    pub outstanding_min: f64,
    /// The first over the second; none when a replica had nothing at all.
    pub imbalance: Option<f64>,
    /// Most KV blocks of one replica that were in use at once.
    pub kv_blocks_used_max: u32,
    /// KV blocks of one replica.
    pub kv_blocks_total: u32,
    /// Placements and admissions that policies decided.
    pub decisions_policies: u64,
    /// Placements that were left to the fallback.
    pub decisions_fallback: u64,
    /// Times a policy could not answer, or answered what cannot be done.
    pub faults: u64,
    /// The first of them in words.
    pub first_fault: Option<String>,
    /// Tries after the first.
    pub retries: u64,
    /// Requests handed to another region.
    pub forwarded: u64,
    /// Requests that policies held.
    pub held: u64,
    /// The longest hold.
    pub held_ms_max: f64,
}

/// Nearest-rank percentiles in milliseconds; null when nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Percentiles {
    /// Half are at or below.
    pub p50: Option<f64>,
    /// Nine of ten are at or below.
    pub p90: Option<f64>,
    /// Ninety-nine of a hundred are at or below.
    pub p99: Option<f64>,
}

/// What is gathered while a run goes on, where a count alone is not enough.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub ttft_us: Vec<u64>,
    pub tpot_us: Vec<u64>,
    pub e2e_us: Vec<u64>,
    pub output_tokens: u64,
    /// Requests at each replica, times microseconds.
    pub outstanding_us: Vec<u64>,
    pub held_us_max: u64,
    pub last_answer_us: u64,
}

impl Percentiles {
    /// Of times in any order.
    pub(crate) fn of(mut times_us: Vec<u64>) -> Percentiles {
        times_us.sort_unstable();
        let at = |percent: usize| {
            let rank = (times_us.len() * percent).div_ceil(100);
            times_us.get(rank.saturating_sub(1)).map(|us| *us as f64 / 1e3)
        };
        Percentiles { p50: at(50), p90: at(90), p99: at(99) }
    }
}

impl Report {
    /// Completes the counts with what was sampled.
    pub(crate) fn complete(self, samples: Samples) -> Report {
        let Samples { ttft_us, tpot_us, e2e_us, output_tokens, outstanding_us, held_us_max, last_answer_us } = samples;
        let per_s = |count: u64| rounded(count as f64 * 1e6 / last_answer_us.max(1) as f64);
        let average = |us: Option<&u64>| rounded(us.copied().unwrap_or(0) as f64 / last_answer_us.max(1) as f64);
        let busiest = average(outstanding_us.iter().max());
        let idlest = average(outstanding_us.iter().min());
        Report {
            duration_s: rounded(last_answer_us as f64 / 1e6),
            requests_per_s: per_s(self.finished),
            output_tokens_per_s: per_s(output_tokens),
            ttft_ms: Percentiles::of(ttft_us),
            tpot_ms: Percentiles::of(tpot_us),
            e2e_ms: Percentiles::of(e2e_us),
            prefix_hit_rate: rounded(self.cached_tokens as f64 / self.prompt_tokens.max(1) as f64),
            outstanding_max: busiest,
            outstanding_min: idlest,
            imbalance: (idlest > 0.0).then(|| rounded(busiest / idlest)),
            held_ms_max: held_us_max as f64 / 1e3,
            ..self
        }
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

/// Reports side by side, one column each.
pub fn table(reports: &[Report]) -> String {
    let names: Vec<String> = reports.iter().map(|report| report.contender.clone()).collect();
    let mut rows = vec![("", names)];
    let mut row = |name, cell: &dyn Fn(&Report) -> String| rows.push((name, reports.iter().map(cell).collect()));
    row("requests", &|report| report.requests.to_string());
    row("  finished", &|report| report.finished.to_string());
    row("  failed", &|report| report.failed.to_string());
    row("  rejected", &|report| report.rejected.to_string());
    row("simulated s", &|report| format!("{:.1}", report.duration_s));
    row("requests/s", &|report| format!("{:.2}", report.requests_per_s));
    row("output tokens/s", &|report| format!("{:.0}", report.output_tokens_per_s));
    for (name, of) in PERCENTILES {
        row(name, &|report| cell(of(report)));
    }
    row("prefix hit rate", &|report| format!("{:.1} %", report.prefix_hit_rate * 100.0));
    row("busiest / idlest", &|report| {
        let ratio = report.imbalance.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        format!("{:.1} / {:.1} = {ratio}", report.outstanding_max, report.outstanding_min)
    });
    row("KV blocks used", &|report| format!("{} of {}", report.kv_blocks_used_max, report.kv_blocks_total));
    row("by policies", &|report| report.decisions_policies.to_string());
    row("by the fallback", &|report| report.decisions_fallback.to_string());
    row("faults", &|report| report.faults.to_string());
    row("retries", &|report| report.retries.to_string());
    row("forwarded", &|report| report.forwarded.to_string());
    row("held, longest ms", &|report| format!("{}, {:.0}", report.held, report.held_ms_max));
    laid_out(&rows)
}

type PercentilesOf = fn(&Report) -> &Percentiles;

const PERCENTILES: [(&str, PercentilesOf); 3] = [
    ("TTFT ms p50 p90 p99", |report| &report.ttft_ms),
    ("TPOT ms p50 p90 p99", |report| &report.tpot_ms),
    ("whole ms p50 p90 p99", |report| &report.e2e_ms),
];

fn cell(found: &Percentiles) -> String {
    let one = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
    format!("{} {} {}", one(found.p50), one(found.p90), one(found.p99))
}

/// Left names, right-aligned cells.
fn laid_out(rows: &[(&str, Vec<String>)]) -> String {
    let name_width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let columns = rows.first().map_or(0, |(_, cells)| cells.len());
    let width = |column: usize| rows.iter().map(|(_, cells)| cells[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (name, cells) in rows {
        write!(text, "{name:<name_width$}").expect("a String takes everything");
        for (cell, width) in cells.iter().zip(&widths) {
            write!(text, "   {cell:>width$}").expect("a String takes everything");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let found = Percentiles::of((1..=100).rev().map(|ms| ms * 1000).collect());
        assert_eq!((found.p50, found.p90, found.p99), (Some(50.0), Some(90.0), Some(99.0)));
        assert_eq!(Percentiles::of(vec![]).p50, None);
        assert_eq!(Percentiles::of(vec![7000]).p99, Some(7.0));
    }
}
