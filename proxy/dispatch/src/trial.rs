//! Says when a version must go: a canary that is over its budget, and any version that fails too often.

use std::collections::VecDeque;

use crate::Reading;

/// What a canary may do. Left out (`None`) is not judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Faults in a thousand calls.
    pub faults_permille_max: u32,
    /// Microseconds that 99 of 100 calls stay within.
    pub call_us_p99_max: Option<u32>,
    /// Fuel of any call, where fuel is metered.
    pub fuel_max: Option<u64>,
    /// Calls before it is judged at all.
    pub requests_min: u32,
    /// The last calls that it is judged by.
    pub window_calls: u32,
}

/// When a version fails too often: so many faults within so many of its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quarantine {
    /// This many faults are too many.
    pub faults_max: u32,
    /// Within this many calls.
    pub window_calls: u32,
}

/// Whether a version may go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It may.
    Keep,
    /// It may not, and why.
    RollBack(String),
}

/// A canary's trial: judged by its last calls each time someone looks.
#[derive(Clone, Debug)]
pub struct Trial {
    budget: Budget,
    /// Earlier readings, oldest first; the first is where the window begins.
    marks: VecDeque<Reading>,
}

/// The last faults, by the number of the call.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultWindow(VecDeque<u64>);

/// A call now and then is slow because its thread was off its core: fewer slow ones than this say nothing.
const SLOW_CALLS_MIN: u64 = 3;
/// Readings in one window.
const MARKS: u64 = 8;

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            faults_permille_max: 10,
            call_us_p99_max: Some(1000),
            fuel_max: None,
            requests_min: 50,
            window_calls: 1000,
        }
    }
}

impl Default for Quarantine {
    fn default() -> Quarantine {
        Quarantine { faults_max: 20, window_calls: 100 }
    }
}

impl Trial {
    /// A trial that begins with this reading.
    pub fn new(budget: Budget, first: Reading) -> Trial {
        Trial { budget, marks: VecDeque::from([first]) }
    }

    /// What it is judged by.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Judges by the calls in the window that ends now.
    pub fn judge(&mut self, now: &Reading) -> Judgement {
        let window_calls = u64::from(self.budget.window_calls);
        let calls_since = |mark: &Reading| now.calls.saturating_sub(mark.calls);
        while self.marks.get(1).is_some_and(|mark| calls_since(mark) >= window_calls) {
            self.marks.pop_front();
        }
        let judgement = self.marks.front().map_or(Judgement::Keep, |begin| judge(&self.budget, begin, now));
        if self.marks.back().is_none_or(|last| calls_since(last) >= window_calls.div_ceil(MARKS)) {
            self.marks.push_back(now.clone());
        }
        judgement
    }
}

fn judge(budget: &Budget, begin: &Reading, now: &Reading) -> Judgement {
    let Budget { faults_permille_max, call_us_p99_max, fuel_max, requests_min, window_calls: _ } = *budget;
    let (calls, faults) = (now.calls.saturating_sub(begin.calls), now.faults.saturating_sub(begin.faults));
    if calls < u64::from(requests_min).max(1) {
        return Judgement::Keep;
    }
    if faults * 1000 > calls * u64::from(faults_permille_max) {
        return Judgement::RollBack(format!(
            "{faults} faults in {calls} calls; {faults_permille_max} in 1000 are allowed (faults_permille_max)"
        ));
    }
    if let Some(fuel_max) = fuel_max.filter(|fuel_max| now.fuel_most > *fuel_max) {
        let fuel = now.fuel_most;
        return Judgement::RollBack(format!("a call used {fuel} fuel; {fuel_max} is allowed (fuel_max)"));
    }
    let times = now.times.since(&begin.times);
    let slow = |us_max: &u32| {
        let slow = times.over_us(*us_max);
        slow >= SLOW_CALLS_MIN && slow * 100 > calls
    };
    if let Some(us_max) = call_us_p99_max.filter(slow) {
        let p99 = times.quantile_us(0.99).unwrap_or(0.0);
        return Judgement::RollBack(format!(
            "99 of 100 calls took up to {p99:.0} µs in {calls} calls; {us_max} µs are allowed (call_us_p99_max)"
        ));
    }
    Judgement::Keep
}

impl FaultWindow {
    /// Takes note of a fault in the call of this number; how many there were within the window, when they are too many.
    pub(crate) fn fault(&mut self, call: u64, rule: &Quarantine) -> Option<usize> {
        let faults_max = rule.faults_max.max(1) as usize;
        self.0.push_back(call);
        while self.0.len() > faults_max {
            self.0.pop_front();
        }
        let first = self.0.front().copied().unwrap_or(call);
        let too_many = self.0.len() == faults_max && call.saturating_sub(first) < u64::from(rule.window_calls);
        too_many.then_some(self.0.len())
    }
}

#[cfg(test)]
mod tests;
