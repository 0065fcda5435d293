//! Holds many idle connections and streams for minutes, and looks whether the proxy's memory stays what it was.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::cases::OURS;
use crate::client::{Expected, Idle, Load, Moment, drive};
use crate::mock::Answer;
use crate::peers::{Contender, Installed, Kind, start};
use crate::process::open_files_max;
use crate::prompts::{Ask, Requests};
use crate::report::Row;
use crate::run::{Options, start_mock};

/// What is to be held, where the machine lets a process open so many files.
const IDLE: usize = 20_000;
const STREAMS: usize = 2_000;
/// Files that are open besides: logs, epolls, listeners, connections to replicas that wait for the next request.
const FILES_BESIDES: usize = 512;
/// Of a stream: so long that the memory it takes is seen, so short that streams come and go.
const EVENTS: u32 = 300;
const SPACING: Duration = Duration::from_millis(100);
/// Until all streams are under way and some have ended.
const WARM: Duration = Duration::from_secs(5);
/// Looks at the memory.
const TICKS: u32 = 20;
/// Memory that grows by less is flat.
const GROWTH_MAX: f64 = 0.05;
const BODY_BYTES: usize = 1 << 10;

/// How many connections of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    idle: usize,
    streams: usize,
}

impl Plan {
    /// As many as fit: a proxy has a file for each idle connection, and two for each stream.
    fn within(open_files_max: usize) -> Plan {
        let room = open_files_max.saturating_sub(FILES_BESIDES);
        let streams = STREAMS.min(room / 8);
        Plan { idle: IDLE.min(room - 2 * streams), streams }
    }

    fn title(self) -> String {
        format!("{} idle and {} active streams", self.idle, self.streams)
    }
}

/// What one contender showed.
struct Soaked {
    /// Resident at each look, from the window's begin to its end.
    rss_kib: Vec<u64>,
    rss_before_kib: u64,
    idle_held: usize,
    failed: u64,
}

/// Every contender but the replicas, one after the other.
pub fn run(options: &Options, installed: &Installed, window: Duration) -> anyhow::Result<Vec<Row>> {
    let plan = Plan::within(open_files_max());
    if plan != (Plan { idle: IDLE, streams: STREAMS }) {
        eprintln!(
            "a process may open {} files here, so {} instead of {IDLE} and {STREAMS}",
            open_files_max(),
            plan.title()
        );
    }
    let mut rows = Vec::new();
    for peer in options.peers.iter().filter(|peer| peer.kind != Kind::Direct) {
        eprintln!("{}: {} for {} s", plan.title(), peer.name, window.as_secs());
        let folder = options.folder.join("logs/soak");
        let soaked =
            start_mock(Answer::Stream { events: EVENTS, spacing: SPACING }, &folder).and_then(|(_mock, replicas)| {
                let contender = start(*peer, installed, &replicas, Ask::Stream, &folder)?;
                soak(plan, &contender, window)
            });
        let found = rows_of(plan, peer.name, soaked);
        for row in &found {
            println!("{}", line(row));
        }
        rows.extend(found);
    }
    Ok(rows)
}

fn soak(plan: Plan, contender: &Contender, window: Duration) -> anyhow::Result<Soaked> {
    let mut idle = Idle::open(&contender.targets, plan.idle)?;
    let load = Load {
        targets: &contender.targets,
        connections: plan.streams,
        expected: Expected::Events(EVENTS),
        warm: WARM,
        window,
        tick: window / TICKS,
    };
    let mut rss_kib = Vec::new();
    let mut requests = Requests::new(Ask::Stream, BODY_BYTES, 0);
    let counted = drive(&load, &mut requests, |moment| {
        let now = contender.usage().map_or(0, |usage| usage.rss_kib);
        rss_kib.push(now);
        if moment == Moment::Tick {
            eprint!(" {} MiB", now >> 10);
        }
    })?;
    eprintln!();
    if counted.events == 0 {
        bail!("no stream moved");
    }
    for (why, count) in &counted.errors {
        eprintln!("  {count} times {why}");
    }
    let rss_before_kib = contender.rss_before_kib.context("a proxy has memory")?;
    Ok(Soaked { rss_kib, rss_before_kib, idle_held: idle.held(), failed: counted.failed() })
}

fn rows_of(plan: Plan, name: &str, soaked: anyhow::Result<Soaked>) -> Vec<Row> {
    let ours = name == OURS;
    let row = |figure: &str, unit, value: Option<f64>, target: Option<(f64, bool)>| Row {
        case: format!("{}: {figure}", plan.title()),
        ours: value.filter(|_| ours),
        unit,
        peer: (!ours).then(|| name.to_owned()),
        peer_value: value.filter(|_| !ours),
        ratio: None,
        target: target.filter(|_| ours).map(|(target, _)| target),
        target_says: target.filter(|_| ours).map(|(target, _)| format!("{target} {unit}").trim_end().to_owned()),
        met: target.filter(|_| ours).map(|(_, met)| met),
        ours_spread: None,
        peer_spread: None,
        rounds: 1,
        failed: 0,
        skipped: None,
    };
    let Soaked { rss_kib, rss_before_kib, idle_held, failed } = match soaked {
        Ok(soaked) => soaked,
        Err(error) => {
            return vec![Row { skipped: Some(format!("{error:#}")), ..row("held", "", None, Some((1.0, false))) }];
        }
    };
    let first = rss_kib.first().copied().unwrap_or_default().max(1) as f64;
    let last = rss_kib.last().copied().unwrap_or_default() as f64;
    let growth = (last - first) / first;
    let connections = (plan.idle + plan.streams) as f64;
    vec![
        Row {
            failed,
            ..row("idle held", "", Some(idle_held as f64), Some((plan.idle as f64, idle_held == plan.idle)))
        },
        row("streams lost", "", Some(failed as f64), Some((0.0, failed == 0))),
        row("memory at the end", "MiB", Some(last / 1024.0), None),
        row("memory growth", "%", Some(growth * 100.0), Some((GROWTH_MAX * 100.0, growth <= GROWTH_MAX))),
        row("memory per connection", "KiB", Some((last - rss_before_kib as f64).max(0.0) / connections), None),
    ]
}

fn line(row: &Row) -> String {
    let value = row.ours.or(row.peer_value).map_or("–".to_owned(), |value| format!("{value:.1} {}", row.unit));
    let verdict = match (row.met, &row.target_says) {
        (Some(true), Some(says)) => format!("  (must: {says}): yes"),
        (Some(false), Some(says)) => format!("  (must: {says}): NO"),
        _ => String::new(),
    };
    let skipped = row.skipped.as_ref().map_or(String::new(), |why| format!("  {why}"));
    format!("  {}: {}{verdict}{skipped}", row.case, value.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert_eq!(Plan::within(1 << 20), Plan { idle: IDLE, streams: STREAMS });
        assert_eq!(Plan::within(20_000), Plan { idle: 15_488, streams: 2_000 });
        assert_eq!(Plan::within(1024), Plan { idle: 384, streams: 64 });
    }

    #[test]
    fn growth_beyond_a_twentieth_is_not_flat() {
        let soaked = |last| Soaked { rss_kib: vec![1000, last], rss_before_kib: 500, idle_held: 10, failed: 0 };
        let met = |last| rows_of(Plan { idle: 10, streams: 1 }, OURS, Ok(soaked(last)))[3].met;
        assert_eq!((met(1050), met(1051)), (Some(true), Some(false)));
    }

    #[test]
    fn a_contender_that_cannot_hold_them_has_a_row_that_says_so() {
        let rows = rows_of(Plan { idle: 10, streams: 1 }, OURS, Err(anyhow::anyhow!("refused")));
        assert_eq!(line(&rows[0]), "  10 idle and 1 active streams: held: –  (must: 1): NO  refused");
    }
}
