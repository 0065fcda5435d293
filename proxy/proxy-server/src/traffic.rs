//! How much passes and how fast, second by second, for the dashboard.

mod histogram;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policy_api::Usage;

use crate::clock::Clock;
use crate::exchange::Outcome;
use histogram::Histogram;

pub(crate) use histogram::Quantiles;

/// Quantiles are over this many seconds.
const QUANTILE_SECONDS: u64 = 60;

/// Seconds that the rate is taken over at which requests end.
const RATE_SECONDS: usize = 10;
/// Longest wait that a client is told, and what it is told where nothing has ended yet.
const RETRY_S_MAX: u64 = 60;
const RETRY_S_UNKNOWN: u64 = 1;

/// One finished request.
pub(crate) struct Sample {
    pub outcome: Outcome,
    pub e2e: Duration,
    pub ttft: Option<Duration>,
    pub tpot: Option<Duration>,
    pub usage: Usage,
    pub decide_us: Option<u32>,
}

/// One second.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    /// The second's end, in Unix milliseconds.
    pub time_ms: u64,
    pub requests: u64,
    pub failures: u64,
    pub output_tokens: u64,
    pub requests_total: u64,
    pub failures_total: u64,
    pub in_flight: u32,
    pub ttft_us: Quantiles,
    pub tpot_us: Quantiles,
    pub e2e_us: Quantiles,
    pub decide_us: Quantiles,
}

/// Counts requests and keeps the last seconds' points.
pub(crate) struct Traffic {
    books: Mutex<Books>,
    seconds_max: usize,
}

#[derive(Default)]
struct Books {
    points: VecDeque<Point>,
    requests_total: u64,
    failures_total: u64,
    output_tokens_total: u64,
    /// Requests that gave room back in this second, and in each of those before, newest last.
    left_now: u64,
    left: VecDeque<u64>,
    /// Totals at the last point.
    last: (u64, u64, u64),
    /// The last seconds' distributions, newest last.
    distributions: VecDeque<(u64, Distributions)>,
}

#[derive(Clone, Default)]
struct Distributions {
    ttft_us: Histogram,
    tpot_us: Histogram,
    e2e_us: Histogram,
    decide_us: Histogram,
}

impl Traffic {
    pub fn new(seconds_max: usize) -> Traffic {
        Traffic { books: Mutex::default(), seconds_max }
    }

    /// Counts a request that has ended.
    pub fn count(&self, clock: &Clock, sample: &Sample) {
        let second = clock.now_ms() / 1000;
        let mut books = self.books();
        books.requests_total += 1;
        books.failures_total += u64::from(sample.outcome == Outcome::Failed);
        // Who is turned away had no room to give back, or had it for no time.
        books.left_now += u64::from(sample.outcome != Outcome::Refused);
        books.output_tokens_total += u64::from(sample.usage.output_tokens);
        let into = books.distributions_of(second);
        if let Some(decide_us) = sample.decide_us {
            into.decide_us.add(decide_us.into());
        }
        if sample.outcome == Outcome::Finished {
            into.e2e_us.add(sample.e2e.as_micros() as u64);
            sample.ttft.iter().for_each(|ttft| into.ttft_us.add(ttft.as_micros() as u64));
            sample.tpot.iter().for_each(|tpot| into.tpot_us.add(tpot.as_micros() as u64));
        }
    }

    /// Closes a second; called once a second.
    pub fn tick(&self, clock: &Clock, in_flight: u32) {
        let mut books = self.books();
        let point = books.point(clock, in_flight);
        books.last = (books.requests_total, books.failures_total, books.output_tokens_total);
        if books.left.len() == RATE_SECONDS {
            books.left.pop_front();
        }
        let left_now = std::mem::take(&mut books.left_now);
        books.left.push_back(left_now);
        if books.points.len() == self.seconds_max {
            books.points.pop_front();
        }
        books.points.push_back(point);
    }

    /// The last points, oldest first.
    pub fn points(&self, seconds: usize) -> Vec<Point> {
        let books = self.books();
        let skip = books.points.len().saturating_sub(seconds);
        books.points.iter().skip(skip).cloned().collect()
    }

    /// Seconds after which a client that finds no room may come again: what a request takes on average, which is those
    /// in flight over the rate at which they end (Little, 1961).
    pub fn retry_after_s(&self, in_flight: usize) -> u64 {
        let books = self.books();
        let ended: u64 = books.left.iter().sum();
        match ended {
            0 => RETRY_S_UNKNOWN,
            ended => (in_flight as u64 * books.left.len() as u64).div_ceil(ended).clamp(1, RETRY_S_MAX),
        }
    }

    /// The newest point.
    pub fn last(&self) -> Option<Point> {
        self.books().points.back().cloned()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Books {
    fn distributions_of(&mut self, second: u64) -> &mut Distributions {
        if self.distributions.back().is_none_or(|(newest, _)| *newest < second) {
            self.distributions.push_back((second, Distributions::default()));
        }
        while self.distributions.front().is_some_and(|(oldest, _)| oldest + QUANTILE_SECONDS < second) {
            self.distributions.pop_front();
        }
        &mut self.distributions.back_mut().expect("one was pushed if there was none").1
    }

    fn point(&self, clock: &Clock, in_flight: u32) -> Point {
        let mut sum = Distributions::default();
        let oldest = (clock.now_ms() / 1000).saturating_sub(QUANTILE_SECONDS);
        for (_, second) in self.distributions.iter().filter(|(second, _)| *second >= oldest) {
            let Distributions { ttft_us, tpot_us, e2e_us, decide_us } = second;
            sum.ttft_us.merge(ttft_us);
            sum.tpot_us.merge(tpot_us);
            sum.e2e_us.merge(e2e_us);
            sum.decide_us.merge(decide_us);
        }
        let (requests, failures, tokens) = self.last;
        Point {
            time_ms: clock.now_unix_ms(),
            requests: self.requests_total - requests,
            failures: self.failures_total - failures,
            output_tokens: self.output_tokens_total - tokens,
            requests_total: self.requests_total,
            failures_total: self.failures_total,
            in_flight,
            ttft_us: sum.ttft_us.quantiles(),
            tpot_us: sum.tpot_us.quantiles(),
            e2e_us: sum.e2e_us.quantiles(),
            decide_us: sum.decide_us.quantiles(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests that end in each second, and what a client is told whom 100 in flight leave no room.
    #[track_caller]
    fn check(seconds: &[(usize, Outcome)], expected_s: u64) {
        let (traffic, clock) = (Traffic::new(60), Clock::start());
        for (requests, outcome) in seconds {
            for _ in 0..*requests {
                let (e2e, usage) = (Duration::from_secs(1), Usage::default());
                traffic
                    .count(&clock, &Sample { outcome: *outcome, e2e, ttft: None, tpot: None, usage, decide_us: None });
            }
            traffic.tick(&clock, 100);
        }
        assert_eq!(traffic.retry_after_s(100), expected_s);
    }

    #[test]
    fn who_finds_no_room_comes_again_when_those_in_flight_have_left() {
        let finished = |requests| (requests, Outcome::Finished);
        check(&[], 1);
        check(&[finished(0); 5], 1);
        check(&[finished(1000)], 1);
        check(&[finished(20); 3], 5);
        check(&[finished(20), finished(0)], 10);
        check(&[finished(1)], 60);
        check(&[finished(10), (1000, Outcome::Refused)], 20);
        check(&[(20, Outcome::Failed), (20, Outcome::Cancelled)], 5);
        check(&[[finished(1000)].as_slice(), &[finished(20); RATE_SECONDS]].concat(), 5);
    }
}
