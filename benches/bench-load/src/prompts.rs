//! Makes a scenario's requests from its seed.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::Scenario;

const WORDS: [&str; 48] = [
    "river", "gate", "water", "level", "token", "block", "cache", "stream", "batch", "model", "prompt", "answer",
    "north", "south", "valley", "pump", "lake", "spring", "canal", "engine", "meter", "flow", "rate", "queue", "first",
    "second", "third", "where", "when", "how", "which", "many", "open", "close", "route", "place", "hold", "send",
    "count", "time", "light", "stone", "bridge", "field", "harbour", "window", "paper", "and",
];

/// One request to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    /// The system prompt, shared with other requests.
    pub system: String,
    /// The question, its own.
    pub question: String,
    /// `max_tokens`.
    pub output_tokens_max: u32,
    /// Whether the answer streams.
    pub stream: bool,
    /// The sampling seed.
    pub seed: u64,
}

/// The scenario's requests in the order they are sent.
pub fn asks(scenario: &Scenario) -> Vec<Ask> {
    let mut chance = StdRng::seed_from_u64(scenario.seed);
    let prompts = &scenario.prompts;
    let prefixes: Vec<String> = (0..prompts.shared_prefixes)
        .map(|number| format!("Guide {number}: {}", words(&mut chance, prompts.prefix_words)))
        .collect();
    (0..scenario.traffic.requests)
        .map(|_| {
            let prefix = chance.random_range(0..prefixes.len());
            let [words_min, words_max] = prompts.question_words;
            let [tokens_min, tokens_max] = prompts.output_tokens;
            let question_words = chance.random_range(words_min..=words_max);
            Ask {
                system: prefixes[prefix].clone(),
                question: words(&mut chance, question_words),
                output_tokens_max: chance.random_range(tokens_min..=tokens_max),
                stream: chance.random_bool(scenario.traffic.stream_share),
                seed: chance.random_range(0..1_000_000),
            }
        })
        .collect()
}

fn words(chance: &mut StdRng, count: u32) -> String {
    let picked: Vec<&str> = (0..count).map(|_| WORDS[chance.random_range(0..WORDS.len())]).collect();
    picked.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_requests_and_another_does_not() {
        let scenario = Scenario::parse(include_str!("../../scenarios/demo.toml"), "demo.toml").unwrap();
        let other = Scenario { seed: scenario.seed + 1, ..scenario.clone() };
        assert_eq!(asks(&scenario), asks(&scenario));
        assert_ne!(asks(&scenario), asks(&other));
    }

    #[test]
    fn requests_stay_inside_the_scenarios_ranges() {
        let scenario = Scenario::parse(include_str!("../../scenarios/demo.toml"), "demo.toml").unwrap();
        let asks = asks(&scenario);
        assert_eq!(asks.len(), 96);
        let systems: std::collections::BTreeSet<_> = asks.iter().map(|ask| &ask.system).collect();
        assert!(systems.len() <= 6);
        for ask in &asks {
            assert!((12..=40).contains(&ask.output_tokens_max));
            assert!((4..=24).contains(&ask.question.split(' ').count()));
        }
    }
}
