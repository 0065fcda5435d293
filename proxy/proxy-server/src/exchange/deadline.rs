//! Reads how long a request may take, and says how much of that is left.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::exchange::Refusal;

/// A client's bound on its request, in milliseconds; reduced at each hop by what has passed.
const TIMEOUT: HeaderName = HeaderName::from_static("x-request-timeout-ms");
/// Longer bounds mean this one: a week.
const MS_MAX: u64 = 7 * 24 * 60 * 60 * 1000;

/// When a request is over, if ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Reads the header.
    pub fn of(headers: &HeaderMap, now: Instant) -> Result<Deadline, Refusal> {
        let Some(value) = headers.get(TIMEOUT) else { return Ok(Deadline(None)) };
        let ms = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok()).filter(|ms| *ms > 0);
        match ms {
            Some(ms) => Ok(Deadline(Some(now + Duration::from_millis(ms.min(MS_MAX))))),
            None => Err(Refusal::BadTimeout),
        }
    }

    /// Whether the request is over.
    pub fn is_over(self, now: Instant) -> bool {
        self.0.is_some_and(|deadline| deadline <= now)
    }

    /// The sooner of the two.
    pub fn or(self, other: Instant) -> Instant {
        self.0.map_or(other, |deadline| deadline.min(other))
    }

    /// Tells the next hop what is left.
    pub fn tell(self, headers: &mut HeaderMap, now: Instant) {
        if let Some(deadline) = self.0 {
            let left = u64::try_from(deadline.saturating_duration_since(now).as_millis()).unwrap_or(MS_MAX).max(1);
            headers.insert(TIMEOUT, HeaderValue::from(left));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &'static str, passed_ms: u64, expected: Result<&str, bool>) {
        let now = Instant::now();
        let mut headers = HeaderMap::from_iter([(TIMEOUT, HeaderValue::from_static(value))]);
        let told = Deadline::of(&headers, now).map(|deadline| {
            let then = now + Duration::from_millis(passed_ms);
            deadline.tell(&mut headers, then);
            (deadline.is_over(then), headers[TIMEOUT].to_str().unwrap_or("").to_owned())
        });
        match (told, expected) {
            (Ok((false, told)), Ok(expected)) => assert_eq!(told, expected),
            (Ok((true, _)), Err(true)) | (Err(_), Err(false)) => {}
            (told, expected) => panic!("{value}: {told:?}, not {expected:?}"),
        }
    }

    #[test]
    fn what_is_left_is_told() {
        check("1000", 0, Ok("1000"));
        check("1000", 999, Ok("1"));
        check("1000", 1000, Err(true));
        check("99999999999999", 0, Ok("604800000"));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        check("0", 0, Err(false));
        check("soon", 0, Err(false));
        check("-5", 0, Err(false));
    }
}
