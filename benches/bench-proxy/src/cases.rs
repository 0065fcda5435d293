//! What is measured: the load of each case, what is read off it, and what must be reached.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;

use crate::client::Expected;
use crate::mock::{Answer, WHOLE_BYTES};
use crate::prompts::Ask;

/// One load.
pub struct Case {
    /// For `--only`.
    pub key: &'static str,
    /// In the table.
    pub title: &'static str,
    /// How many connections are busy all the time.
    pub connections: usize,
    /// Of a request.
    pub body_bytes: usize,
    /// What replicas answer.
    pub answer: Answer,
    /// What is read off it.
    pub measures: &'static [Measure],
}

/// A figure of a case.
pub struct Measure {
    /// In the table.
    pub name: &'static str,
    /// Of the figure.
    pub unit: &'static str,
    /// Which end is good.
    pub better: Better,
    /// The figure of one window.
    pub of: fn(&Sample) -> Option<f64>,
    /// What ours must reach.
    pub targets: &'static [Target],
}

/// Which end of a figure is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Times and bytes.
    Less,
    /// Rates.
    More,
}

/// What ours must reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Target {
    /// So many times a peer's figure, or better.
    Times(f64, &'static str),
    /// A peer's figure and so much, or better.
    Plus(f64, &'static str),
    /// This, or better.
    Value(f64),
}

/// What one window of one contender gave.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Finished requests.
    pub requests: u64,
    /// Events of streams.
    pub events: u64,
    /// Of the window.
    pub lasted_s: f64,
    /// Of the contender's processes; none of the replicas alone.
    pub cpu_s: Option<f64>,
    /// Of the contender's processes at the window's end.
    pub rss_kib: Option<u64>,
    /// The same before the first connection.
    pub rss_before_kib: Option<u64>,
    /// Open connections.
    pub connections: usize,
    /// Median latency.
    pub p50_us: f64,
    /// Median latency beyond that of the replicas alone in the same round.
    pub added_us: Option<f64>,
    /// What went wrong, and how often.
    pub errors: BTreeMap<String, u64>,
}

/// Ours, which targets are about.
pub const OURS: &str = "headworks prefix-tree";
const NGINX: &str = "nginx";
const HAPROXY: &str = "haproxy";
const SGLANG: &str = "sglang-router cache-aware";

const CPU_PER_REQUEST: fn(&Sample) -> Option<f64> = |sample| per(sample.cpu_s? * 1e6, sample.requests);
const CPU_PER_EVENTS: fn(&Sample) -> Option<f64> = |sample| per(sample.cpu_s? * 1e5, sample.events);
const RATE: fn(&Sample) -> Option<f64> = |sample| Some(sample.requests as f64 / sample.lasted_s);
const RSS: fn(&Sample) -> Option<f64> = |sample| Some(sample.rss_kib? as f64 / 1024.0);
const RSS_PER_STREAM: fn(&Sample) -> Option<f64> = |sample| {
    let grown = sample.rss_kib? as f64 - sample.rss_before_kib? as f64;
    per(grown.max(0.0), sample.connections as u64)
};

fn per(sum: f64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum / count as f64)
}

const fn cpu_us(targets: &'static [Target]) -> Measure {
    Measure { name: "CPU per request", unit: "µs", better: Better::Less, of: CPU_PER_REQUEST, targets }
}

const fn cpu_events(targets: &'static [Target]) -> Measure {
    Measure { name: "CPU per 100k chunks", unit: "s", better: Better::Less, of: CPU_PER_EVENTS, targets }
}

const MEMORY: Measure = Measure { name: "memory", unit: "MiB", better: Better::Less, of: RSS, targets: &[] };

/// All but the soak.
pub const CASES: &[Case] = &[
    Case {
        key: "small",
        title: "1 KB, 64 connections",
        connections: 64,
        body_bytes: 1 << 10,
        answer: Answer::Whole,
        measures: &[
            cpu_us(&[Target::Times(1.0, NGINX), Target::Times(0.2, SGLANG)]),
            Measure {
                name: "requests per second",
                unit: "/s",
                better: Better::More,
                of: RATE,
                targets: &[Target::Times(1.0, NGINX), Target::Times(5.0, SGLANG)],
            },
            MEMORY,
        ],
    },
    Case {
        key: "one",
        title: "1 KB, 1 connection",
        connections: 1,
        body_bytes: 1 << 10,
        answer: Answer::Whole,
        measures: &[Measure {
            name: "p50 added",
            unit: "µs",
            better: Better::Less,
            of: |sample| sample.added_us,
            targets: &[Target::Plus(15.0, NGINX)],
        }],
    },
    Case {
        key: "medium",
        title: "8 KB, 64 connections",
        connections: 64,
        body_bytes: 8 << 10,
        answer: Answer::Whole,
        measures: &[cpu_us(&[])],
    },
    Case {
        key: "large",
        title: "64 KB, 64 connections",
        connections: 64,
        body_bytes: 64 << 10,
        answer: Answer::Whole,
        measures: &[cpu_us(&[Target::Times(1.2, NGINX), Target::Times(0.15, SGLANG)]), MEMORY],
    },
    Case {
        key: "burst",
        title: "64 streams of 200 chunks, no delay",
        connections: 64,
        body_bytes: 1 << 10,
        answer: Answer::Stream { events: 200, spacing: Duration::ZERO },
        measures: &[cpu_events(&[Target::Times(1.0, NGINX), Target::Times(0.5, SGLANG)])],
    },
    Case {
        key: "slow",
        title: "1,000 streams, a chunk in 50 ms",
        connections: 1000,
        body_bytes: 1 << 10,
        answer: Answer::Stream { events: 200, spacing: Duration::from_millis(50) },
        measures: &[
            cpu_events(&[Target::Times(1.0, HAPROXY)]),
            Measure {
                name: "memory per stream",
                unit: "KiB",
                better: Better::Less,
                of: RSS_PER_STREAM,
                targets: &[Target::Value(40.0)],
            },
            MEMORY,
        ],
    },
];

impl Case {
    /// By its key.
    pub fn named(key: &str) -> anyhow::Result<&'static Case> {
        let keys = || CASES.iter().map(|case| case.key).collect::<Vec<_>>().join(", ");
        CASES
            .iter()
            .find(|case| case.key == key)
            .with_context(|| format!("no case is called {key:?}; there are: {}", keys()))
    }

    /// What requests ask for.
    pub fn ask(&self) -> Ask {
        match self.answer {
            Answer::Whole => Ask::Whole,
            Answer::Stream { .. } => Ask::Stream,
        }
    }

    /// Whether answers take longer than the proxies make them.
    pub fn answer_takes_time(&self) -> bool {
        matches!(self.answer, Answer::Stream { spacing, .. } if !spacing.is_zero())
    }

    /// What their answers must be.
    pub fn expected(&self) -> Expected {
        match self.answer {
            Answer::Whole => Expected::Bytes(WHOLE_BYTES),
            Answer::Stream { events, .. } => Expected::Events(events),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_off_a_window() {
        let sample = Sample {
            requests: 50_000,
            events: 200_000,
            lasted_s: 5.0,
            cpu_s: Some(1.0),
            rss_kib: Some(40 << 10),
            rss_before_kib: Some(8 << 10),
            connections: 1024,
            ..Sample::default()
        };
        assert_eq!(CPU_PER_REQUEST(&sample), Some(20.0));
        assert_eq!(CPU_PER_EVENTS(&sample), Some(0.5));
        assert_eq!(RATE(&sample), Some(10_000.0));
        assert_eq!(RSS(&sample), Some(40.0));
        assert_eq!(RSS_PER_STREAM(&sample), Some(32.0));
    }

    #[test]
    fn nothing_finished_is_no_figure() {
        assert_eq!(CPU_PER_REQUEST(&Sample { cpu_s: Some(1.0), ..Sample::default() }), None);
        assert_eq!(CPU_PER_REQUEST(&Sample { requests: 1, ..Sample::default() }), None);
    }
}
