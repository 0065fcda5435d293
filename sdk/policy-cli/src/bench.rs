//! `headworks policy bench`: what a policy's decisions cost, in time as the proxy runs it and in fuel.

mod cases;
mod clock;

use std::sync::Arc;
use std::thread;
use std::time::Instant;

use anyhow::{Context, bail};
use policy_api::{Call, Hook, Policy, PolicyFault};
use policy_runtime::{Component, Instances, Limits};
use policy_simulator::{VirtualHost, cached_runtime, virtual_limits};
use serde::Serialize;

use crate::input::{self, ComponentArgs};
use crate::shown::mebibytes;
use cases::{Cases, Shape};
use clock::Clock;

/// Calls before the first that is measured: instances are made, caches are warm.
const WARM_UP_CALLS: u32 = 2_000;
/// Calls whose fuel is measured; fuel has no noise, only cases.
const FUEL_CALLS_MAX: u32 = 1_000;

/// What to measure.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    component: ComponentArgs,
    /// Replicas of the fleet
    #[arg(long, value_name = "NUMBER", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    replicas: u32,
    /// Change the fleet before every call; without it, it stays the same
    #[arg(long)]
    changed: bool,
    /// Tokens of each request's prompt
    #[arg(long, value_name = "NUMBER", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=1_000_000))]
    prompt_tokens: u32,
    /// Threads that call at the same time
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256))]
    threads: u32,
    /// Calls of each thread and hook
    #[arg(long, value_name = "NUMBER", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    calls: u32,
    /// Print the figures as JSON
    #[arg(long)]
    json: bool,
}

/// The figures of one hook.
#[derive(Debug, Serialize)]
struct Figures {
    hook: &'static str,
    ns_median: u64,
    ns_p99: u64,
    calls_per_s: u64,
    fuel_median: u64,
    fuel_max: u64,
    /// Calls that gave no verdict.
    faults: u64,
    /// Linear memory of one instance after the calls, on average over those there are.
    instance_memory_bytes: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { component: ComponentArgs { file, config }, replicas, changed, prompt_tokens, threads, calls, json } =
        args;
    let (bytes, config) = (input::component(file)?, config.json()?);
    let cases = Cases::generated(Shape { replicas: *replicas, changed: *changed, prompt_tokens: *prompt_tokens });
    let timed = load(proxys_limits(*threads), &bytes, &config)?;
    let fuelled = load(virtual_limits(), &bytes, &config)?;
    let asked = [Hook::Admit, Hook::Place].into_iter().filter(|hook| timed.describe().has(*hook));
    let figures: Vec<Figures> = asked.map(|hook| figures(hook, [&timed, &fuelled], &cases, *threads, *calls)).collect();
    if figures.is_empty() {
        bail!("{} has neither an admit nor a place hook; nothing of it is on the way of a request", file.display());
    }
    if *json {
        println!("{}", serde_json::to_string_pretty(&figures).context("write the figures")?);
    } else {
        let fleet = if *changed { "another fleet each call" } else { "the same fleet" };
        let described = timed.describe();
        println!(
            "{} {}: {replicas} replicas, {fleet}, {prompt_tokens} prompt tokens, {threads} threads, {calls} calls each",
            described.name, described.version
        );
        print!("{}", table(&figures));
        println!("  an instance has {} of memory", mebibytes(instance_memory_bytes(&timed)));
    }
    match figures.iter().map(|figures| figures.faults).sum::<u64>() {
        0 => Ok(()),
        faults => bail!("{faults} calls gave no verdict; the figures are theirs too"),
    }
}

fn load(limits: Limits, component: &[u8], config: &str) -> anyhow::Result<Component> {
    let runtime = cached_runtime(limits, Arc::new(VirtualHost::default()), 0)?;
    Ok(runtime.load("bench", component, config, None)?)
}

/// As a proxy's, with an instance for each thread from the beginning.
fn proxys_limits(threads: u32) -> Limits {
    let limits = Limits::default();
    Limits { instances_ready: limits.instances_ready.max(threads as usize).min(limits.instances_max), ..limits }
}

/// Measures one hook: first its time, as a proxy runs it, then its fuel.
fn figures(hook: Hook, [timed, fuelled]: [&Component; 2], cases: &Cases, threads: u32, calls: u32) -> Figures {
    let warm_up = (0..WARM_UP_CALLS.min(calls)).filter(|call| ask(timed, hook, cases, *call).is_err()).count();
    let began = Instant::now();
    let mut times = thread::scope(|scope| {
        let one = |thread: u32| scope.spawn(move || times(timed, hook, cases, thread, calls));
        let running: Vec<_> = (0..threads).map(one).collect();
        running.into_iter().flat_map(|thread| thread.join().expect("measuring does not panic")).collect::<Vec<_>>()
    });
    let took = began.elapsed();
    let faults = times.iter().filter(|time| time.is_none()).count() + warm_up;
    let calls_per_s = (times.len() as f64 / took.as_secs_f64()).round() as u64;
    times.sort_unstable();
    let mut fuel: Vec<u64> =
        (0..FUEL_CALLS_MAX.min(calls)).filter_map(|call| ask(fuelled, hook, cases, call).ok().flatten()).collect();
    fuel.sort_unstable();
    let measured: Vec<u64> = times.into_iter().flatten().collect();
    Figures {
        hook: if hook == Hook::Admit { "admit" } else { "place" },
        ns_median: at(&measured, 50),
        ns_p99: at(&measured, 99),
        calls_per_s,
        fuel_median: at(&fuel, 50),
        fuel_max: at(&fuel, 100),
        faults: faults as u64,
        instance_memory_bytes: instance_memory_bytes(timed),
    }
}

fn instance_memory_bytes(policy: &Component) -> u64 {
    let Instances { busy, idle, max: _ } = policy.instances();
    policy.memory_bytes() / (busy + idle).max(1) as u64
}

/// Each call's nanoseconds; none for a call that gave no verdict.
fn times(policy: &Component, hook: Hook, cases: &Cases, thread: u32, calls: u32) -> Vec<Option<u64>> {
    let clock = Clock::calibrated();
    let one = |call: u32| {
        let number = thread.wrapping_mul(calls).wrapping_add(call);
        let (facts, fleet) = cases.case(number);
        let call = Call { now_ms: 1, facts: &facts, fleet };
        let (answer, ns) = clock.time(|| answer(policy, hook, &call));
        answer.is_ok().then_some(ns)
    };
    (0..calls).map(one).collect()
}

/// One call's fuel, where fuel is metered.
fn ask(policy: &Component, hook: Hook, cases: &Cases, number: u32) -> Result<Option<u64>, PolicyFault> {
    let (facts, fleet) = cases.case(number);
    answer(policy, hook, &Call { now_ms: 1, facts: &facts, fleet })
}

fn answer(policy: &Component, hook: Hook, call: &Call<'_>) -> Result<Option<u64>, PolicyFault> {
    match hook {
        Hook::Admit => policy.admit(call).map(|answer| answer.words.fuel),
        _ => policy.place(call).map(|answer| answer.words.fuel),
    }
}

/// Nearest rank; 0 when there is nothing.
fn at(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(0)
}

fn table(figures: &[Figures]) -> String {
    let head = format!(
        "  {:<8}{:>12}{:>12}{:>14}{:>14}{:>12}\n",
        "hook", "median ns", "p99 ns", "calls/s", "fuel median", "fuel max"
    );
    let row = |figures: &Figures| {
        let Figures { hook, ns_median, ns_p99, calls_per_s, fuel_median, fuel_max, .. } = figures;
        format!("  {hook:<8}{ns_median:>12}{ns_p99:>12}{calls_per_s:>14}{fuel_median:>14}{fuel_max:>12}\n")
    };
    std::iter::once(head).chain(figures.iter().map(row)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let sorted: Vec<u64> = (1..=200).collect();
        assert_eq!((at(&sorted, 50), at(&sorted, 99), at(&sorted, 100), at(&[], 50)), (100, 198, 200, 0));
    }
}
