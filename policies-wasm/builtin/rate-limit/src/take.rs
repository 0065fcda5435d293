//! Takes what a request needs of each bucket: all of it, or nothing.

use headworks_policy::buckets::{Refusal, Shape, Taking};

use crate::{config::Rule, headers::duration};

/// How long to wait where the host has no room for another bucket: it looks for idle ones every second.
const NO_ROOM_RETRY_MS: u32 = 1000;
/// How long to wait for a place; nobody knows when a request ends.
const RUNNING_RETRY_MS: u32 = 1000;

/// What a bucket counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Requests.
    RequestsPerMinute,
    /// Tokens.
    TokensPerMinute,
    /// Requests.
    RequestsPerSecond,
}

/// What a request needs of one bucket.
#[derive(Clone, Debug)]
pub struct Want {
    /// What the bucket counts.
    pub kind: Kind,
    /// The bucket.
    pub name: String,
    /// How large it is.
    pub shape: Shape,
    /// How much the request needs.
    pub tokens: u32,
    /// What the operator configured, in the kind's unit.
    pub limit: u32,
}

/// Why a request is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A bucket has too little now.
    Empty {
        /// What it counts.
        kind: Kind,
        /// What the operator configured.
        limit: u32,
        /// Until there is enough.
        wait_ms: u32,
    },
    /// A bucket can never hold as much.
    TooLarge {
        /// What the request needs.
        tokens: u32,
        /// What a full bucket holds.
        tokens_max: u32,
    },
    /// As many run as may.
    Running {
        /// So many.
        places: u32,
    },
    /// The host has no room for another bucket.
    TooMany,
}

/// What a request of so many tokens needs under a rule. The longest wait is asked about first.
pub fn wants(rule: &Rule, scope: &str, tokens: u32) -> Vec<Want> {
    let want = |kind, word, shape, tokens, limit| Want { kind, name: format!("{word} {scope}"), shape, tokens, limit };
    let mut wants = Vec::with_capacity(3);
    if let Some(limit) = rule.tokens_per_minute {
        let shape = Shape { tokens_max: rule.tokens_burst.unwrap_or(limit), tokens_per_minute: limit };
        wants.push(want(Kind::TokensPerMinute, "tokens", shape, tokens, limit));
    }
    if let Some(limit) = rule.requests_per_minute {
        let shape = Shape { tokens_max: rule.requests_burst.unwrap_or(limit), tokens_per_minute: limit };
        wants.push(want(Kind::RequestsPerMinute, "requests", shape, 1, limit));
    }
    if let Some(limit) = rule.requests_per_second {
        let shape = Shape { tokens_max: limit, tokens_per_minute: limit.saturating_mul(60) };
        wants.push(want(Kind::RequestsPerSecond, "second", shape, 1, limit));
    }
    wants
}

/// Takes everything that is wanted and says what is left in each bucket; where one has too little, gives back what the
/// others gave.
pub fn take_all(
    wants: &[Want],
    mut take: impl FnMut(&Want) -> Result<Taking, Refusal>,
    mut give_back: impl FnMut(&Want),
) -> Result<Vec<u32>, Stop> {
    let mut left = Vec::with_capacity(wants.len());
    for want in wants {
        let stop = match take(want) {
            Ok(Taking::Taken(still)) => {
                left.push(still);
                continue;
            }
            Ok(Taking::WaitMs(wait_ms)) => Stop::Empty { kind: want.kind, limit: want.limit, wait_ms },
            Ok(Taking::Never) => Stop::TooLarge { tokens: want.tokens, tokens_max: want.shape.tokens_max },
            Err(_) => Stop::TooMany,
        };
        wants[..left.len()].iter().for_each(&mut give_back);
        return Err(stop);
    }
    Ok(left)
}

impl Stop {
    /// Which limit it was.
    pub fn limit(&self) -> String {
        match self {
            Stop::Empty { kind, limit, .. } => format!("{limit} {}", kind.unit()),
            Stop::TooLarge { tokens, tokens_max } => format!("{tokens} tokens at once, of at most {tokens_max}"),
            Stop::Running { places } => format!("{places} requests at once"),
            Stop::TooMany => "no room for another bucket".to_owned(),
        }
    }

    /// When to try again; never for what can never be.
    pub fn retry_after_ms(&self) -> Option<u32> {
        match self {
            Stop::Empty { wait_ms, .. } => Some(*wait_ms),
            Stop::TooLarge { .. } => None,
            Stop::Running { .. } => Some(RUNNING_RETRY_MS),
            Stop::TooMany => Some(NO_ROOM_RETRY_MS),
        }
    }

    /// For the client.
    pub fn message(&self) -> String {
        match self {
            Stop::Empty { kind, limit, wait_ms } => {
                format!("rate limit of {limit} {} reached; try again in {}", kind.unit(), duration(u64::from(*wait_ms)))
            }
            Stop::TooLarge { tokens, tokens_max } => format!(
                "the request needs about {tokens} tokens, more than the {tokens_max} that may be used at once; \
                 shorten the prompt or lower max_tokens"
            ),
            Stop::Running { places } => {
                format!("{places} requests run already, as many as may at once; try again when one has ended")
            }
            Stop::TooMany => "too many different tenants and models are being counted; try again in 1s".to_owned(),
        }
    }
}

impl Kind {
    fn unit(self) -> &'static str {
        match self {
            Kind::RequestsPerMinute => "requests per minute",
            Kind::TokensPerMinute => "tokens per minute",
            Kind::RequestsPerSecond => "requests per second",
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    use super::*;

    fn wants_of(rule: &str) -> Vec<Want> {
        let config = Config::parse(&format!(r#"{{"rules":[{rule}]}}"#)).unwrap();
        wants(&config.rules[0], "acme", 100)
    }

    const ALL: &str = r#"{"requests_per_minute":60,"tokens_per_minute":1000,"requests_per_second":5}"#;

    #[test]
    fn each_limit_is_a_bucket() {
        let names: Vec<(String, u32, u32, u32)> = wants_of(ALL)
            .into_iter()
            .map(|want| (want.name, want.shape.tokens_max, want.shape.tokens_per_minute, want.tokens))
            .collect();
        assert_eq!(
            names,
            [
                ("tokens acme".to_owned(), 1000, 1000, 100),
                ("requests acme".to_owned(), 60, 60, 1),
                ("second acme".to_owned(), 5, 300, 1)
            ]
        );
        assert!(wants_of("{}").is_empty());
    }

    #[test]
    fn a_burst_is_the_bucket_and_the_limit_its_inflow() {
        let wants =
            wants_of(r#"{"requests_per_minute":60,"requests_burst":5,"tokens_per_minute":9,"tokens_burst":900}"#);
        assert_eq!((wants[0].shape.tokens_max, wants[0].shape.tokens_per_minute), (900, 9));
        assert_eq!((wants[1].shape.tokens_max, wants[1].shape.tokens_per_minute), (5, 60));
    }

    /// What is left is said, or who is given back after which stop.
    #[track_caller]
    fn check(answers: &[Result<Taking, Refusal>], expected: Result<Vec<u32>, Stop>, expected_back: &[&str]) {
        let wants = wants_of(ALL);
        let (mut answers, mut back) = (answers.iter().copied(), Vec::new());
        let found = take_all(&wants, |_| answers.next().unwrap(), |want| back.push(want.name.clone()));
        assert_eq!((found, answers.count()), (expected, 0));
        assert_eq!(back, expected_back);
    }

    #[test]
    fn what_is_left_of_each_is_said() {
        check(&[Ok(Taking::Taken(900)), Ok(Taking::Taken(59)), Ok(Taking::Taken(4))], Ok(vec![900, 59, 4]), &[]);
    }

    #[test]
    fn what_was_taken_is_given_back_when_a_later_bucket_is_empty() {
        let stop = Stop::Empty { kind: Kind::RequestsPerSecond, limit: 5, wait_ms: 200 };
        check(
            &[Ok(Taking::Taken(900)), Ok(Taking::Taken(59)), Ok(Taking::WaitMs(200))],
            Err(stop),
            &["tokens acme", "requests acme"],
        );
        check(&[Ok(Taking::Never)], Err(Stop::TooLarge { tokens: 100, tokens_max: 1000 }), &[]);
        check(&[Ok(Taking::Taken(1)), Err(Refusal::Full)], Err(Stop::TooMany), &["tokens acme"]);
    }

    #[test]
    fn a_client_is_told_what_to_do() {
        let stop = Stop::Empty { kind: Kind::RequestsPerMinute, limit: 60, wait_ms: 61_500 };
        assert_eq!(stop.message(), "rate limit of 60 requests per minute reached; try again in 1m1.5s");
        assert_eq!((stop.retry_after_ms(), stop.limit().as_str()), (Some(61_500), "60 requests per minute"));
        assert_eq!(Stop::TooLarge { tokens: 9, tokens_max: 5 }.retry_after_ms(), None);
    }
}
