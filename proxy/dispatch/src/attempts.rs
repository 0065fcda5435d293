//! Says whether a request that failed may be tried again elsewhere.

use policy_api::{RegionId, ReplicaId};

/// Targets that have failed this request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tried {
    /// Replicas.
    pub replicas: Vec<ReplicaId>,
    /// Regions.
    pub regions: Vec<RegionId>,
}

/// Whether a request may reach two replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Doing it twice does no harm: completions, embeddings, reads.
    Harmless,
    /// It may change something: try again only what no replica has seen.
    OnlyUnseen,
}

/// How a try ended badly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// No connection: the replica has not seen the request.
    NotConnected,
    /// The replica, or our bound for it, had no room: it did not take the request.
    Busy,
    /// The connection broke before the first byte of the answer.
    BrokeBeforeFirstByte,
    /// The answer says that the replica is at fault: a 5xx that is not 503.
    AtFault,
    /// The answer did not begin in time. Trying again would make the client wait as long again.
    TooSlow,
    /// The connection broke after bytes had gone to the client.
    BrokeAfterFirstByte,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Place it again, without what was tried.
    Retry,
    /// Tell the client.
    GiveUp,
}

/// One request's tries.
#[derive(Clone, Debug)]
pub struct Attempts {
    /// What has failed.
    pub tried: Tried,
    tries_max: u32,
    tries: u32,
    repeat: Repeat,
}

impl Attempts {
    /// No try yet, `tries_max` in all.
    pub fn new(tries_max: u32, repeat: Repeat) -> Attempts {
        Attempts { tried: Tried::default(), tries_max, tries: 0, repeat }
    }

    /// Counts a try and gives its number, from 1.
    pub fn begin(&mut self) -> u32 {
        self.tries += 1;
        self.tries
    }

    /// Tries so far.
    pub fn count(&self) -> u32 {
        self.tries
    }

    /// Whether the request may be tried again after this.
    pub fn after(&self, failure: Failure) -> Next {
        let may = match failure {
            Failure::NotConnected | Failure::Busy => true,
            Failure::BrokeBeforeFirstByte | Failure::AtFault => self.repeat == Repeat::Harmless,
            Failure::TooSlow | Failure::BrokeAfterFirstByte => false,
        };
        match may && self.tries < self.tries_max {
            true => Next::Retry,
            false => Next::GiveUp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(repeat: Repeat, failure: Failure, tries: u32, expected: Next) {
        let mut attempts = Attempts::new(3, repeat);
        for _ in 0..tries {
            attempts.begin();
        }
        assert_eq!(attempts.after(failure), expected);
    }

    #[test]
    fn what_no_replica_saw_may_always_be_tried_again() {
        check(Repeat::OnlyUnseen, Failure::NotConnected, 1, Next::Retry);
        check(Repeat::OnlyUnseen, Failure::Busy, 1, Next::Retry);
    }

    #[test]
    fn a_broken_answer_is_tried_again_only_when_that_does_no_harm() {
        check(Repeat::Harmless, Failure::BrokeBeforeFirstByte, 1, Next::Retry);
        check(Repeat::OnlyUnseen, Failure::BrokeBeforeFirstByte, 1, Next::GiveUp);
        check(Repeat::Harmless, Failure::AtFault, 1, Next::Retry);
        check(Repeat::OnlyUnseen, Failure::AtFault, 1, Next::GiveUp);
    }

    #[test]
    fn nothing_is_tried_again_after_the_first_byte() {
        check(Repeat::Harmless, Failure::BrokeAfterFirstByte, 1, Next::GiveUp);
    }

    #[test]
    fn a_slow_answer_is_not_waited_for_twice() {
        check(Repeat::Harmless, Failure::TooSlow, 1, Next::GiveUp);
    }

    #[test]
    fn tries_are_bounded() {
        check(Repeat::Harmless, Failure::NotConnected, 2, Next::Retry);
        check(Repeat::Harmless, Failure::NotConnected, 3, Next::GiveUp);
    }
}
