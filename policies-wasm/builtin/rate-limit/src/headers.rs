//! The headers that tell a client what is left, as OpenAI writes them.

use crate::take::{Kind, Want};

/// `x-ratelimit-*` for requests and tokens, as far as they are limited. Requests are told by the minute where that is
/// limited, else by the second.
pub fn headers(wants: &[Want], left: &[u32]) -> Vec<(&'static str, String)> {
    let of = |kind| wants.iter().position(|want| want.kind == kind);
    let requests = of(Kind::RequestsPerMinute).or_else(|| of(Kind::RequestsPerSecond));
    let mut headers = Vec::with_capacity(6);
    if let Some(at) = requests {
        headers.push(("x-ratelimit-limit-requests", wants[at].limit.to_string()));
        headers.push(("x-ratelimit-remaining-requests", left[at].to_string()));
        headers.push(("x-ratelimit-reset-requests", duration(until_full_ms(&wants[at], left[at]))));
    }
    if let Some(at) = of(Kind::TokensPerMinute) {
        headers.push(("x-ratelimit-limit-tokens", wants[at].limit.to_string()));
        headers.push(("x-ratelimit-remaining-tokens", left[at].to_string()));
        headers.push(("x-ratelimit-reset-tokens", duration(until_full_ms(&wants[at], left[at]))));
    }
    headers
}

/// Until the bucket is as if nothing had ever been taken.
fn until_full_ms(want: &Want, left: u32) -> u64 {
    let missing = u64::from(want.shape.tokens_max.saturating_sub(left));
    (missing * 60_000).div_ceil(u64::from(want.shape.tokens_per_minute.max(1)))
}

/// `20ms`, `1s`, `8.64s`, `6m0s`, `1h0m0s`: Go's format, which OpenAI uses.
pub fn duration(ms: u64) -> String {
    if ms < 1000 {
        return if ms == 0 { "0s".to_owned() } else { format!("{ms}ms") };
    }
    let (hours, minutes) = (ms / 3_600_000, ms / 60_000 % 60);
    let mut seconds = format!("{}.{:03}", ms / 1000 % 60, ms % 1000);
    seconds.truncate(seconds.trim_end_matches('0').trim_end_matches('.').len());
    if seconds.is_empty() {
        seconds.push('0');
    }
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use crate::{config::Config, take::wants};

    use super::*;

    #[track_caller]
    fn check(ms: u64, expected: &str) {
        assert_eq!(duration(ms), expected);
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        check(0, "0s");
        check(20, "20ms");
        check(1000, "1s");
        check(8640, "8.64s");
        check(10_000, "10s");
        check(59_999, "59.999s");
        check(60_000, "1m0s");
        check(360_000, "6m0s");
        check(90_500, "1m30.5s");
        check(3_600_000, "1h0m0s");
        check(3_661_001, "1h1m1.001s");
    }

    #[track_caller]
    fn check_headers(rule: &str, left: &[u32], expected: &[(&str, &str)]) {
        let config = Config::parse(&format!(r#"{{"rules":[{rule}]}}"#)).unwrap();
        let found = headers(&wants(&config.rules[0], "s", 1), left);
        let found: Vec<(&str, &str)> = found.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn they_tell_of_what_is_limited() {
        check_headers(
            r#"{"tokens_per_minute":1000,"requests_per_minute":60,"requests_per_second":5}"#,
            &[850, 59, 4],
            &[
                ("x-ratelimit-limit-requests", "60"),
                ("x-ratelimit-remaining-requests", "59"),
                ("x-ratelimit-reset-requests", "1s"),
                ("x-ratelimit-limit-tokens", "1000"),
                ("x-ratelimit-remaining-tokens", "850"),
                ("x-ratelimit-reset-tokens", "9s"),
            ],
        );
        check_headers(
            r#"{"requests_per_second":5}"#,
            &[3],
            &[
                ("x-ratelimit-limit-requests", "5"),
                ("x-ratelimit-remaining-requests", "3"),
                ("x-ratelimit-reset-requests", "400ms"),
            ],
        );
        check_headers(r#"{"concurrent":5}"#, &[], &[]);
    }
}
