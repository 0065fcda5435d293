//! Makes a scenario's conversations from its seed.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::scenario::{Prompts, Scenario, Tenant};
use crate::text;

/// One client's talk: each turn sends all that was said before, and one question more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conversation {
    pub tenant: Arc<str>,
    /// What ties its turns together; none where there is only one.
    pub session: Option<String>,
    /// Which region's proxy it speaks to.
    pub region: usize,
    /// When it begins, in an open loop.
    pub begins_us: u64,
    /// The system prompt, shared with others.
    pub system: Arc<[u8]>,
    pub turns: Vec<Turn>,
}

/// One question, and the answer's length.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Turn {
    /// How long its client thinks before it.
    pub think_us: u64,
    pub question: Vec<u8>,
    pub output_tokens: u32,
    pub stream: bool,
}

/// The conversations in the order in which they begin; their turns together are the scenario's requests.
pub(crate) fn conversations(scenario: &Scenario) -> Vec<Conversation> {
    let mut maker = Maker::new(scenario);
    let mut requests_left = scenario.traffic.requests;
    let mut made = Vec::new();
    while requests_left > 0 {
        let conversation = maker.conversation(made.len(), requests_left);
        requests_left -= conversation.turns.len() as u32;
        made.push(conversation);
    }
    made
}

struct Maker<'a> {
    scenario: &'a Scenario,
    chance: ChaCha8Rng,
    /// By tenant, in the scenario's order.
    systems: Vec<Vec<Arc<[u8]>>>,
    now_us: u64,
}

impl<'a> Maker<'a> {
    fn new(scenario: &'a Scenario) -> Maker<'a> {
        let mut chance = ChaCha8Rng::seed_from_u64(scenario.seed);
        let Prompts { shared_prefixes, prefix_words, .. } = scenario.prompts;
        let systems = scenario.simulate.tenants.iter().map(|tenant| {
            let system = |number| {
                let heading = format!("Guide {number} of {}:", tenant.name);
                Arc::from(text::words(&mut chance, &heading, prefix_words))
            };
            (0..shared_prefixes).map(system).collect()
        });
        let systems = systems.collect();
        Maker { scenario, chance, systems, now_us: 0 }
    }

    fn conversation(&mut self, number: usize, turns_max: u32) -> Conversation {
        let Scenario { prompts, fleet, simulate, .. } = self.scenario;
        let tenant_number = self.tenant();
        let tenant = &simulate.tenants[tenant_number];
        let prefix = self.chance.random_range(0..prompts.shared_prefixes as usize);
        let turns = self.within(simulate.turns).min(turns_max);
        let turns = (0..turns).map(|turn| self.turn(tenant, turn)).collect();
        Conversation {
            tenant: tenant.name.as_str().into(),
            session: (simulate.turns[1] > 1).then(|| format!("session-{number}")),
            region: number % fleet.regions.len(),
            begins_us: self.arrival(),
            system: self.systems[tenant_number][prefix].clone(),
            turns,
        }
    }

    fn turn(&mut self, tenant: &Tenant, number: u32) -> Turn {
        let Scenario { traffic, prompts, simulate, .. } = self.scenario;
        let think_us = if number == 0 { 0 } else { u64::from(self.within(simulate.think_ms)) * 1000 };
        let words = self.within(tenant.question_words.unwrap_or(prompts.question_words));
        Turn {
            think_us,
            question: text::words(&mut self.chance, "", words),
            output_tokens: self.within(tenant.output_tokens.unwrap_or(prompts.output_tokens)),
            stream: self.chance.random_bool(traffic.stream_share),
        }
    }

    /// A tenant, by the shares.
    fn tenant(&mut self) -> usize {
        let tenants = &self.scenario.simulate.tenants;
        let whole: f64 = tenants.iter().map(|tenant| tenant.share).sum();
        let mut left = self.chance.random_range(0.0..whole);
        for (number, tenant) in tenants.iter().enumerate() {
            left -= tenant.share;
            if left < 0.0 {
                return number;
            }
        }
        tenants.len() - 1
    }

    /// The next arrival of a Poisson process; all at once in a closed loop, whose clients say when.
    fn arrival(&mut self) -> u64 {
        if let Some(rate) = self.scenario.simulate.conversations_per_s {
            let uniform: f64 = self.chance.random_range(0.0..1.0);
            self.now_us += (-(1.0 - uniform).ln() / rate * 1e6).round() as u64;
        }
        self.now_us
    }

    fn within(&mut self, [from, to]: [u32; 2]) -> u32 {
        self.chance.random_range(from..=to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Simulate;

    fn scenario() -> Scenario {
        Scenario::parse(include_str!("../../../benches/scenarios/multi-turn.toml"), "multi-turn.toml").unwrap()
    }

    #[test]
    fn the_same_seed_makes_the_same_conversations_and_another_does_not() {
        let scenario = scenario();
        let other = Scenario { seed: scenario.seed + 1, ..scenario.clone() };
        assert_eq!(conversations(&scenario), conversations(&scenario));
        assert_ne!(conversations(&scenario), conversations(&other));
    }

    #[test]
    fn turns_add_up_to_the_requests_and_stay_inside_their_ranges() {
        let scenario = scenario();
        let made = conversations(&scenario);
        assert_eq!(made.iter().map(|one| one.turns.len() as u32).sum::<u32>(), scenario.traffic.requests);
        let [turns_min, turns_max] = scenario.simulate.turns;
        let whole = &made[..made.len() - 1];
        assert!(whole.iter().all(|one| (turns_min..=turns_max).contains(&(one.turns.len() as u32))));
    }

    #[test]
    fn tenants_come_by_their_shares() {
        let tenant =
            |name: &str, share| Tenant { name: name.to_owned(), share, question_words: None, output_tokens: None };
        let tenants = vec![tenant("big", 3.0), tenant("small", 1.0)];
        let simulate = Simulate { tenants, ..Simulate::default() };
        let mut scenario = Scenario { simulate, ..scenario() };
        scenario.traffic.requests = 4000;
        let big = conversations(&scenario).iter().filter(|one| &*one.tenant == "big").count();
        assert!((2800..3200).contains(&big), "{big}");
    }
}
