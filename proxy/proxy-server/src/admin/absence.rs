//! Why there is no decision of an id, as far as that can be known.

use std::fmt;
use std::ops::Range;

use crate::admin::decisions::number_of;
use crate::proxy::Proxy;

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Absence {
    id: String,
    why: Why,
}

#[derive(Debug, PartialEq, Eq)]
enum Why {
    /// It is no id at all.
    NoId,
    /// Of a run of the proxy before this one, or of another proxy.
    BeforeThisRun,
    /// No request has that id yet.
    NotGiven,
    /// The log had it, or would have, and has newer ones now.
    TooOld { decisions_max: usize },
    /// Its request ended before there was anything to decide.
    NeverDecided,
}

/// What is known of ids.
struct Known {
    given: Range<u64>,
    oldest: Option<u64>,
    decisions_max: usize,
}

impl Absence {
    /// Of an id that is not in the log.
    pub fn of(proxy: &Proxy, id: &str) -> Absence {
        let (given, oldest) = (proxy.ids_given(), proxy.decisions.oldest());
        let known = Known { given, oldest, decisions_max: proxy.limits.decisions_max };
        Absence { id: id.to_owned(), why: known.why(number_of(id)) }
    }
}

impl Known {
    fn why(&self, id: Option<u64>) -> Why {
        let Known { given, oldest, decisions_max } = self;
        match id {
            None => Why::NoId,
            Some(id) if id < given.start => Why::BeforeThisRun,
            Some(id) if id >= given.end => Why::NotGiven,
            Some(id) if oldest.is_some_and(|oldest| id < oldest) => Why::TooOld { decisions_max: *decisions_max },
            Some(_) => Why::NeverDecided,
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Absence { id, why } = self;
        match why {
            Why::NoId => write!(
                f,
                "{id:?} is no decision's id, which is hexadecimal; `GET /admin/v1/decisions?request_id=…` finds a \
                 decision by its answer's x-request-id"
            ),
            Why::BeforeThisRun => write!(
                f,
                "decision {id} is not of this run of the proxy: it is older, or another proxy's; a recording that was \
                 written then may have it"
            ),
            Why::NotGiven => write!(f, "there never was a decision {id}: no request has had that id yet"),
            Why::TooOld { decisions_max } => write!(
                f,
                "decision {id} is older than the last {decisions_max}, which are those that are kept \
                 (`limits.decisions_max`), and is in no recording that is being written or was written last"
            ),
            Why::NeverDecided => write!(
                f,
                "there never was a decision {id}: its request ended before a policy was asked, or is still being read"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(id: Option<u64>, oldest: Option<u64>, expected: Why) {
        assert_eq!(Known { given: 100..200, oldest, decisions_max: 10 }.why(id), expected);
    }

    #[test]
    fn what_never_was_is_told_from_what_is_no_longer_kept() {
        check(None, None, Why::NoId);
        check(Some(99), Some(150), Why::BeforeThisRun);
        check(Some(149), Some(150), Why::TooOld { decisions_max: 10 });
        check(Some(151), Some(150), Why::NeverDecided);
        check(Some(100), None, Why::NeverDecided);
        check(Some(200), Some(150), Why::NotGiven);
    }
}
