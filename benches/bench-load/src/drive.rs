//! Plays a scenario: so many clients, each sending its next request when the last one ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use futures_util::future::join_all;

use crate::client::Client;
use crate::prompts::{Ask, asks};
use crate::report::{Outcome, Report};
use crate::scenario::Scenario;

/// One server to send to.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its name in progress.
    pub name: String,
    /// E.g. `http://127.0.0.1:8080`, without `/v1`.
    pub base_url: String,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Requests that ended.
    pub done: usize,
    /// Requests in all.
    pub all: usize,
    /// Requests that failed.
    pub failed: usize,
}

/// Sends the scenario's requests for `model`, spread evenly over the targets, and reports when the last one ended.
pub async fn drive(scenario: &Scenario, targets: &[Target], model: &str, progress: impl Fn(Progress) + Sync) -> Report {
    assert!(!targets.is_empty(), "there is somewhere to send to");
    let run = Run {
        asks: asks(scenario),
        targets,
        model,
        client: Client::new(),
        next: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
        failed: AtomicUsize::new(0),
        progress,
    };
    let begun = Instant::now();
    let clients = (0..scenario.traffic.concurrency).map(|_| run.client());
    let outcomes: Vec<Result<Outcome, String>> = join_all(clients).await.into_iter().flatten().collect();
    Report::of(&scenario.name, &outcomes, begun.elapsed())
}

struct Run<'a, P> {
    asks: Vec<Ask>,
    targets: &'a [Target],
    model: &'a str,
    client: Client,
    next: AtomicUsize,
    done: AtomicUsize,
    failed: AtomicUsize,
    progress: P,
}

impl<P: Fn(Progress)> Run<'_, P> {
    async fn client(&self) -> Vec<Result<Outcome, String>> {
        let mut outcomes = Vec::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(ask) = self.asks.get(number) else {
                return outcomes;
            };
            let target = &self.targets[number % self.targets.len()];
            let outcome = self.client.chat(&target.base_url, self.model, ask).await;
            let outcome = outcome.map_err(|reason| format!("{}: {reason}", target.name));
            self.count(&outcome);
            outcomes.push(outcome);
        }
    }

    fn count(&self, outcome: &Result<Outcome, String>) {
        let failed = self.failed.fetch_add(usize::from(outcome.is_err()), Ordering::Relaxed);
        let done = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        let failed = failed + usize::from(outcome.is_err());
        (self.progress)(Progress { done, all: self.asks.len(), failed });
    }
}
