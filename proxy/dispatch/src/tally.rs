//! What one version of a policy did so far: verdicts, faults, the time and the fuel of its calls.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use policy_api::PolicyFault;

use crate::trial::{FaultWindow, Quarantine};
use crate::{FaultKind, Times, TimesNow};

/// What one version of a policy did so far. Counted on the data path without a lock, but for its faults.
#[derive(Debug, Default)]
pub struct Tally {
    calls: AtomicU64,
    decisions: AtomicU64,
    faults: AtomicU64,
    fuel_most: AtomicU64,
    times: Times,
    rule: Quarantine,
    trouble: Mutex<Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    last_fault: Option<String>,
    window: FaultWindow,
    /// Why it must not go on, once it must not.
    over: Option<String>,
}

/// A tally at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Calls of its hooks.
    pub calls: u64,
    /// Times it could not answer, or answered what cannot be done.
    pub faults: u64,
    /// The most fuel that a call used, where fuel is metered.
    pub fuel_most: u64,
    /// How long its calls took.
    pub times: TimesNow,
}

impl Tally {
    /// A tally of nothing yet, with the rule for when there are too many faults.
    pub fn new(rule: Quarantine) -> Tally {
        Tally { rule, ..Tally::default() }
    }

    /// Calls of its hooks.
    pub fn calls_total(&self) -> u64 {
        self.calls.load(Relaxed)
    }

    /// Verdicts it gave that were followed.
    pub fn decisions_total(&self) -> u64 {
        self.decisions.load(Relaxed)
    }

    /// Times it could not answer, or answered what cannot be done.
    pub fn faults_total(&self) -> u64 {
        self.faults.load(Relaxed)
    }

    /// The last fault in words.
    pub fn last_fault(&self) -> Option<String> {
        self.trouble().last_fault.clone()
    }

    /// Why the version must not be asked any more, once it has failed too often.
    pub fn over(&self) -> Option<String> {
        self.trouble().over.clone()
    }

    /// Begins to count anew how often it fails: it is given another chance.
    pub fn forgive(&self) {
        let mut trouble = self.trouble();
        (trouble.window, trouble.over) = (FaultWindow::default(), None);
    }

    /// Everything at this moment.
    pub fn reading(&self) -> Reading {
        Reading {
            calls: self.calls_total(),
            faults: self.faults_total(),
            fuel_most: self.fuel_most.load(Relaxed),
            times: self.times.now(),
        }
    }

    /// Counts a call of one of its hooks.
    pub fn count_call(&self, took_ns: u64, fuel: Option<u64>) {
        self.calls.fetch_add(1, Relaxed);
        self.times.count(took_ns);
        if let Some(fuel) = fuel {
            self.fuel_most.fetch_max(fuel, Relaxed);
        }
    }

    /// Counts a fault.
    pub fn count_fault(&self, kind: &FaultKind) {
        self.faults.fetch_add(1, Relaxed);
        let calls = self.calls_total();
        let mut trouble = self.trouble();
        trouble.last_fault = Some(kind.to_string());
        // Where all instances are busy, the version before this one would do no better.
        if !matches!(kind, FaultKind::NoVerdict(PolicyFault::NoInstance)) && trouble.over.is_none() {
            let counted = trouble.window.fault(calls, &self.rule);
            trouble.over = counted
                .map(|faults| format!("{faults} faults within {} calls; the last: {kind}", self.rule.window_calls));
        }
    }

    pub(crate) fn count_decision(&self) {
        self.decisions.fetch_add(1, Relaxed);
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
