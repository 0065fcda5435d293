//! Sums up what came back: counts, tokens, percentiles.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Most error texts kept for the report.
const ERRORS_KEPT_MAX: usize = 5;

/// How one request went.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) prompt_tokens: u64,
    pub(crate) output_tokens: u64,
    /// Only for streams: the time to the first token.
    pub(crate) ttft: Option<Duration>,
    /// Only for streams: the time from the first token to the last.
    pub(crate) decode: Option<Duration>,
    pub(crate) whole: Duration,
}

/// What a run brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Requests sent.
    pub requests: u64,
    /// Requests that did not end well.
    pub failures: u64,
    /// Prompt tokens, as the servers counted them.
    pub prompt_tokens: u64,
    /// Output tokens, as the servers counted them.
    pub output_tokens: u64,
    /// From the first send to the last byte, in seconds.
    pub duration_s: f64,
    /// Output tokens per second of the whole run.
    pub output_tokens_per_s: f64,
    /// Time to first token of streamed requests.
    pub ttft_ms: Percentiles,
    /// Time per output token after the first, of streamed requests.
    pub tpot_ms: Percentiles,
    /// Time of whole requests.
    pub e2e_ms: Percentiles,
    /// The first few failures' texts.
    pub errors: Vec<String>,
}

/// Nearest-rank percentiles in milliseconds; null when nothing was measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half are at or below.
    pub p50: Option<f64>,
    /// Nine of ten are at or below.
    pub p90: Option<f64>,
    /// Ninety-nine of a hundred are at or below.
    pub p99: Option<f64>,
}

impl Percentiles {
    /// Of durations in any order.
    pub fn of(mut values: Vec<Duration>) -> Percentiles {
        values.sort_unstable();
        let at = |share: f64| {
            let rank = (share * values.len() as f64).ceil() as usize;
            values.get(rank.saturating_sub(1)).map(|value| (value.as_secs_f64() * 1e6).round() / 1e3)
        };
        Percentiles { p50: at(0.50), p90: at(0.90), p99: at(0.99) }
    }
}

impl Report {
    pub(crate) fn of(scenario: &str, outcomes: &[Result<Outcome, String>], duration: Duration) -> Report {
        let good: Vec<&Outcome> = outcomes.iter().flatten().collect();
        let output_tokens: u64 = good.iter().map(|outcome| outcome.output_tokens).sum();
        Report {
            scenario: scenario.to_owned(),
            requests: outcomes.len() as u64,
            failures: (outcomes.len() - good.len()) as u64,
            prompt_tokens: good.iter().map(|outcome| outcome.prompt_tokens).sum(),
            output_tokens,
            duration_s: (duration.as_secs_f64() * 1e3).round() / 1e3,
            output_tokens_per_s: (output_tokens as f64 / duration.as_secs_f64().max(1e-9)).round(),
            ttft_ms: Percentiles::of(good.iter().filter_map(|outcome| outcome.ttft).collect()),
            tpot_ms: Percentiles::of(good.iter().filter_map(|outcome| outcome.time_per_token()).collect()),
            e2e_ms: Percentiles::of(good.iter().map(|outcome| outcome.whole).collect()),
            errors: outcomes.iter().filter_map(|outcome| outcome.clone().err()).take(ERRORS_KEPT_MAX).collect(),
        }
    }
}

impl Outcome {
    fn time_per_token(&self) -> Option<Duration> {
        let gaps = u32::try_from(self.output_tokens.checked_sub(1)?).ok()?;
        self.decode?.checked_div(gaps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(value: u64) -> Duration {
        Duration::from_millis(value)
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let found = Percentiles::of((1..=100).rev().map(ms).collect());
        assert_eq!(found, Percentiles { p50: Some(50.0), p90: Some(90.0), p99: Some(99.0) });
        assert_eq!(Percentiles::of(vec![ms(7)]).p99, Some(7.0));
        assert_eq!(Percentiles::of(Vec::new()), Percentiles::default());
    }

    #[test]
    fn a_failure_is_counted_and_its_text_kept() {
        let good =
            Outcome { prompt_tokens: 5, output_tokens: 3, ttft: Some(ms(2)), decode: Some(ms(8)), whole: ms(10) };
        let report = Report::of("x", &[Ok(good), Err("503: busy".to_owned())], ms(1000));
        assert_eq!((report.requests, report.failures, report.output_tokens), (2, 1, 3));
        assert_eq!(report.tpot_ms.p50, Some(4.0));
        assert_eq!(report.errors, ["503: busy"]);
    }

    #[test]
    fn one_token_has_no_time_per_token() {
        let one = Outcome { prompt_tokens: 5, output_tokens: 1, ttft: Some(ms(2)), decode: Some(ms(0)), whole: ms(2) };
        assert_eq!(Report::of("x", &[Ok(one)], ms(10)).tpot_ms, Percentiles::default());
    }
}
