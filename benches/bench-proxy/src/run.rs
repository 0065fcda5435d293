//! Runs the cases: all contenders beside each other, one window after the other, round by round.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::cases::{CASES, Case, Sample};
use crate::client::{Load, Moment, Window, drive};
use crate::mock::Answer;
use crate::peers::{Contender, Installed, Kind, Peer, start};
use crate::process::{Process, machine_cpu_s, usage};
use crate::prompts::Requests;
use crate::report::{Entry, Finding};

/// Replicas behind each proxy.
pub const REPLICAS: usize = 4;
const MOCK_READY_TIME: Duration = Duration::from_secs(20);
/// Before each window: connections open, pools fill, branch predictors and trees settle.
const WARM: Duration = Duration::from_millis(700);
/// Streams with pauses take longer to be all under way.
const WARM_SLOW: Duration = Duration::from_secs(2);

/// What was asked for.
pub struct Options {
    /// Keys of cases; empty: all.
    pub only: Vec<String>,
    /// Who takes part.
    pub peers: Vec<Peer>,
    /// Windows for each.
    pub rounds: usize,
    /// Of one.
    pub window: Duration,
    /// Where logs and peers are.
    pub folder: PathBuf,
}

/// Every case, in order; `told` hears of each as soon as it is done.
pub fn run(options: &Options, installed: &Installed, mut told: impl FnMut(&Finding)) -> anyhow::Result<Vec<Finding>> {
    let wanted = |case: &&Case| options.only.is_empty() || options.only.iter().any(|key| key == case.key);
    let mut findings = Vec::new();
    for case in CASES.iter().filter(wanted) {
        let finding = run_case(case, options, installed)?;
        told(&finding);
        findings.push(finding);
    }
    Ok(findings)
}

/// The keys that `--only` takes.
pub fn check_keys(only: &[String]) -> anyhow::Result<()> {
    let keys: Vec<&str> = CASES.iter().map(|case| case.key).chain(["soak"]).collect();
    match only.iter().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => bail!("no case is called {key:?}; there are: {}", keys.join(", ")),
        None => Ok(()),
    }
}

fn run_case(case: &'static Case, options: &Options, installed: &Installed) -> anyhow::Result<Finding> {
    eprintln!("{}: starting the contenders", case.title);
    let folder = options.folder.join("logs").join(case.key);
    let (_mock, replicas) = start_mock(case.answer, &folder)?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut contenders = Vec::new();
    for peer in &options.peers {
        let started = start(*peer, installed, &replicas, case.ask(), &folder);
        let skipped = started.as_ref().err().map(|error| format!("{error:#}"));
        if let Some(why) = &skipped {
            eprintln!("  {} is skipped: {why}", peer.name);
        }
        entries.push(Entry { peer: *peer, samples: Vec::new(), skipped });
        contenders.push(started.ok());
    }
    let mut foreign = Vec::new();
    for round in 0..options.rounds {
        eprint!("  round {} of {}:", round + 1, options.rounds);
        let mut direct_us = None;
        for index in turns(contenders.len(), round) {
            let (Some(contender), entry) = (&contenders[index], &mut entries[index]) else { continue };
            eprint!(" {}…", contender.peer.name);
            let seed = (round * contenders.len() + index) as u64;
            match window(case, contender, options.window, seed) {
                Ok((mut sample, others)) => {
                    if contender.peer.kind == Kind::Direct {
                        direct_us = Some(sample.p50_us);
                    }
                    sample.added_us = direct_us.map(|direct| sample.p50_us - direct);
                    entry.samples.push(sample);
                    foreign.push(others);
                }
                Err(error) => entry.skipped = Some(format!("{error:#}")),
            }
        }
        eprintln!();
    }
    Ok(Finding { case, entries, foreign: crate::report::median(foreign) })
}

/// The replicas alone first, then the others, each round beginning with another.
fn turns(count: usize, round: usize) -> Vec<usize> {
    let others = count.saturating_sub(1);
    (0..count.min(1)).chain((0..others).map(|turn| 1 + (turn + round) % others)).collect()
}

/// A case's load on a contender, which is looked at when the window begins and ends.
pub(crate) fn load<'a>(case: &Case, contender: &'a Contender, window: Duration) -> Load<'a> {
    Load {
        targets: &contender.targets,
        connections: case.connections,
        expected: case.expected(),
        warm: if case.answer_takes_time() { WARM_SLOW } else { WARM },
        window,
        tick: window,
    }
}

/// One window; with it, the share of the machine that others took meanwhile.
fn window(case: &Case, contender: &Contender, window: Duration, seed: u64) -> anyhow::Result<(Sample, Option<f64>)> {
    let load = load(case, contender, window);
    let mut requests = Requests::new(case.ask(), case.body_bytes, seed);
    let mut looks = Vec::new();
    let counted = drive(&load, &mut requests, |moment| {
        if moment != Moment::Tick {
            looks.push(Look::now(contender));
        }
    })?;
    let [begin, end] = &looks[..] else { bail!("a window has a begin and an end") };
    let sample = sample(case, contender, &counted, [begin, end]);
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let others = (end.machine_s - begin.machine_s) - (end.all_s - begin.all_s);
    Ok((sample, Some((others / counted.lasted.as_secs_f64() / cores).max(0.0))))
}

/// What the processes had taken at a moment.
struct Look {
    contender: Option<crate::process::Usage>,
    /// All that this run started, and it itself.
    all_s: f64,
    machine_s: f64,
}

impl Look {
    fn now(contender: &Contender) -> Look {
        let all_s = usage(std::process::id()).cpu_s;
        Look { contender: contender.usage(), all_s, machine_s: machine_cpu_s() }
    }
}

fn sample(case: &Case, contender: &Contender, counted: &Window, [begin, end]: [&Look; 2]) -> Sample {
    let usage = begin.contender.zip(end.contender);
    Sample {
        requests: counted.finished,
        events: counted.events,
        lasted_s: counted.lasted.as_secs_f64(),
        cpu_s: usage.map(|(begin, end)| end.cpu_s - begin.cpu_s),
        rss_kib: usage.map(|(_, end)| end.rss_kib),
        rss_before_kib: contender.rss_before_kib,
        connections: case.connections,
        p50_us: counted.latencies.value_at_quantile(0.5) as f64 / 1e3,
        added_us: None,
        errors: counted.errors.clone(),
    }
}

/// The replicas, in a process of their own, and where they are.
pub(crate) fn start_mock(answer: Answer, folder: &Path) -> anyhow::Result<(Process, Vec<SocketAddr>)> {
    std::fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    let mut command = Command::new(std::env::current_exe().context("find this program")?);
    command.args(["mock", "--replicas", &REPLICAS.to_string(), "--parent", &std::process::id().to_string()]);
    if let Answer::Stream { events, spacing } = answer {
        command.args(["--events", &events.to_string(), "--spacing-ms", &spacing.as_millis().to_string()]);
    }
    let mut mock = Process::start(&command, &folder.join("mock.txt"))?;
    let replicas = mock.wait_for(MOCK_READY_TIME, |said| serde_json::from_str(said.lines().next()?).ok())?;
    Ok((mock, replicas))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_has_its_turn_and_the_replicas_the_first() {
        assert_eq!(turns(4, 0), [0, 1, 2, 3]);
        assert_eq!(turns(4, 1), [0, 2, 3, 1]);
        assert_eq!(turns(1, 3), [0]);
        assert_eq!(turns(0, 0), [0; 0]);
    }

    #[test]
    fn a_case_that_is_not_there_is_an_error_with_the_keys() {
        let error = check_keys(&["huge".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("small, one, medium, large, burst, slow, soak"), "{error}");
    }
}
