//! The scheduler's promises, checked with a toy model that reads every token back through the block tables.

use std::collections::BTreeMap;

use engine_kv::{BlockPool, PoolConfig};
use proptest::prelude::*;

use crate::{
    PlannedSequence, PrefixCaching, Refusal, Scheduler, SchedulerConfig, SequenceId, SequenceRequest, Stats, StepPlan,
};

const BLOCK_TOKENS: u32 = 4;

fn config(step_tokens_max: u32, running_max: u32) -> SchedulerConfig {
    let prefix_caching = PrefixCaching::On;
    SchedulerConfig { step_tokens_max, running_max, waiting_max: 64, prefix_caching }
}

fn scheduler(config: SchedulerConfig, blocks: u32) -> Scheduler {
    Scheduler::new(config, BlockPool::new(PoolConfig { blocks, block_tokens: BLOCK_TOKENS, salt: 0 }))
}

fn request(id: u64, prompt: &[u32], output_tokens_max: u32) -> SequenceRequest {
    SequenceRequest { id: SequenceId(id), prompt: prompt.to_vec(), output_tokens_max }
}

/// A "model" whose cached state of a token depends on all before it, and whose next token depends on all states:
/// a wrong block anywhere changes the text.
struct Toy {
    memory: Vec<u32>,
}

impl Toy {
    fn new(blocks: u32) -> Toy {
        Toy { memory: vec![u32::MAX; (blocks * BLOCK_TOKENS) as usize] }
    }

    fn forward(&mut self, plan: &StepPlan) -> Vec<(SequenceId, u32)> {
        for share in &plan.sequences {
            for (&token, position) in share.tokens.iter().zip(share.position..) {
                let before = position.checked_sub(1).map_or(BEGIN, |position| self.memory[slot(share, position)]);
                self.memory[slot(share, position)] = state(before, token);
            }
        }
        let wanting = plan.sequences.iter().filter(|share| share.wants_logits);
        let states = |share: &PlannedSequence| -> Vec<u32> {
            let end = share.position + share.tokens.len() as u32;
            (0..end).map(|position| self.memory[slot(share, position)]).collect()
        };
        wanting.map(|share| (share.id, next_token(&states(share)))).collect()
    }
}

const BEGIN: u32 = 1;

fn slot(share: &PlannedSequence, position: u32) -> usize {
    let block = share.blocks[(position / BLOCK_TOKENS) as usize];
    (block.index() * BLOCK_TOKENS + position % BLOCK_TOKENS) as usize
}

fn state(before: u32, token: u32) -> u32 {
    before.wrapping_mul(0x9e37_79b1).rotate_left(7) ^ (token + 1)
}

fn next_token(states: &[u32]) -> u32 {
    states.iter().fold(17u32, |hash, state| hash.wrapping_mul(31).wrapping_add(*state)) % 3
}

/// What the toy says to a prompt when nothing is cached, shared or preempted.
fn alone(prompt: &[u32], output_tokens: usize) -> Vec<u32> {
    let mut before = BEGIN;
    let mut push = |states: &mut Vec<u32>, token| {
        before = state(before, token);
        states.push(before);
    };
    let mut states = Vec::new();
    prompt.iter().for_each(|token| push(&mut states, *token));
    let mut said = Vec::new();
    for _ in 0..output_tokens {
        let token = next_token(&states);
        said.push(token);
        push(&mut states, token);
    }
    said
}

/// One step with the toy; returns what was sampled and who finished.
fn step(scheduler: &mut Scheduler, toy: &mut Toy) -> (Vec<(SequenceId, u32)>, Vec<SequenceId>) {
    let sampled = toy.forward(&scheduler.plan());
    let finished = scheduler.commit(&sampled);
    (sampled, finished)
}

#[test]
fn a_long_prompt_is_computed_in_chunks_beside_a_decode() {
    let mut scheduler = scheduler(config(8, 4), 16);
    let mut toy = Toy::new(16);
    scheduler.enqueue(request(1, &[1, 2], 9)).unwrap();
    step(&mut scheduler, &mut toy);
    scheduler.enqueue(request(2, &[5; 15], 1)).unwrap();
    let shares = |plan: StepPlan| -> Vec<(u64, usize, bool)> {
        plan.sequences.iter().map(|s| (s.id.0, s.tokens.len(), s.wants_logits)).collect()
    };
    let plan = scheduler.plan();
    let sampled = toy.forward(&plan);
    assert_eq!(shares(plan), [(1, 1, true), (2, 7, false)]);
    scheduler.commit(&sampled);
    let plan = scheduler.plan();
    assert_eq!(shares(plan), [(1, 1, true), (2, 7, false)]);
}

#[test]
fn a_sequence_that_can_never_fit_is_refused() {
    let mut scheduler = scheduler(config(8, 4), 4);
    let refused = scheduler.enqueue(request(1, &[0; 10], 8));
    assert_eq!(refused, Err(Refusal::TooLong { tokens: 17, tokens_max: 16 }));
    assert_eq!(scheduler.enqueue(request(1, &[0; 10], 7)), Ok(()));
    assert_eq!(scheduler.enqueue(request(2, &[], 7)), Err(Refusal::Empty));
    assert_eq!(scheduler.enqueue(request(2, &[1], 0)), Err(Refusal::Empty));
    assert_eq!(scheduler.enqueue(request(1, &[1], 1)), Err(Refusal::Duplicate(SequenceId(1))));
}

#[test]
fn a_full_queue_refuses() {
    let mut scheduler = scheduler(SchedulerConfig { waiting_max: 1, ..config(8, 1) }, 4);
    scheduler.enqueue(request(1, &[1], 1)).unwrap();
    let refused = scheduler.enqueue(request(2, &[1], 1));
    assert_eq!(refused, Err(Refusal::QueueFull { waiting_max: 1 }));
}

#[test]
fn the_newest_gives_way_and_comes_back() {
    let (mut scheduler, mut toy) = (scheduler(config(8, 4), 4), Toy::new(4));
    scheduler.enqueue(request(1, &[1, 2, 3], 8)).unwrap();
    scheduler.enqueue(request(2, &[2, 2, 3], 8)).unwrap();
    let mut output = BTreeMap::<u64, Vec<u32>>::new();
    while !scheduler.is_idle() {
        let (sampled, _) = step(&mut scheduler, &mut toy);
        sampled.iter().for_each(|(id, token)| output.entry(id.0).or_default().push(*token));
    }
    assert!(scheduler.stats().preemptions_total > 0);
    assert_eq!(output[&1], alone(&[1, 2, 3], 8));
    assert_eq!(output[&2], alone(&[2, 2, 3], 8));
}

#[test]
fn an_equal_prefix_is_computed_once() {
    let (mut scheduler, mut toy) = (scheduler(config(32, 4), 16), Toy::new(16));
    let prompt: Vec<u32> = (0..10).collect();
    scheduler.enqueue(request(1, &prompt, 1)).unwrap();
    step(&mut scheduler, &mut toy);
    scheduler.enqueue(request(2, &prompt, 1)).unwrap();
    let plan = scheduler.plan();
    assert_eq!((plan.sequences[0].position, plan.sequences[0].cached_tokens), (8, 8));
    let sampled = toy.forward(&plan);
    assert_eq!(sampled, [(SequenceId(2), alone(&prompt, 1)[0])]);
    let Stats { prompt_tokens_total, cached_tokens_total, .. } = scheduler.stats();
    assert_eq!((prompt_tokens_total, cached_tokens_total), (20, 8));
}

#[test]
fn a_missing_sample_is_computed_again() {
    let (mut scheduler, mut toy) = (scheduler(config(8, 4), 4), Toy::new(4));
    scheduler.enqueue(request(1, &[1, 2, 3, 4], 1)).unwrap();
    toy.forward(&scheduler.plan());
    assert!(scheduler.commit(&[]).is_empty());
    let plan = scheduler.plan();
    assert_eq!((plan.sequences[0].tokens.as_slice(), plan.sequences[0].position), (&[4][..], 3));
    let sampled = toy.forward(&plan);
    assert_eq!(scheduler.commit(&sampled), [SequenceId(1)]);
}

#[test]
fn a_forgotten_plan_is_planned_again() {
    let mut scheduler = scheduler(config(8, 4), 4);
    scheduler.enqueue(request(1, &[1, 2, 3, 4, 5], 1)).unwrap();
    let first = scheduler.plan();
    assert_eq!(scheduler.plan(), first);
}

#[test]
fn cancelling_between_plan_and_commit_frees_everything() {
    let (mut scheduler, mut toy) = (scheduler(config(8, 4), 4), Toy::new(4));
    scheduler.enqueue(request(1, &[1, 2, 3, 4, 5], 4)).unwrap();
    let sampled = toy.forward(&scheduler.plan());
    assert!(scheduler.cancel(SequenceId(1)));
    assert!(!scheduler.cancel(SequenceId(1)));
    assert!(scheduler.commit(&sampled).is_empty());
    assert_eq!(scheduler.stats().blocks_used, 0);
    assert!(scheduler.is_idle());
}

#[derive(Clone, Debug)]
enum Act {
    Enqueue {
        prompt: Vec<u32>,
        output_tokens_max: u32,
    },
    Step,
    CancelOldest,
    CancelNewest,
    /// A cancellation that arrives while the model runs.
    CancelDuringStep,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let enqueue = (prop::collection::vec(0u32..2, 1..30), 1u32..12)
        .prop_map(|(prompt, output_tokens_max)| Act::Enqueue { prompt, output_tokens_max });
    let act = prop_oneof![
        6 => enqueue,
        12 => Just(Act::Step),
        1 => Just(Act::CancelOldest),
        1 => Just(Act::CancelNewest),
        1 => Just(Act::CancelDuringStep),
    ];
    prop::collection::vec(act, 1..80)
}

/// A run under observation: who is alive, what each asked for and got.
struct Watched {
    scheduler: Scheduler,
    toy: Toy,
    step_tokens_max: u32,
    /// Ordered by age.
    alive: BTreeMap<SequenceId, SequenceRequest>,
    output: BTreeMap<SequenceId, Vec<u32>>,
    enqueued: u64,
}

impl Watched {
    fn new(config: SchedulerConfig, blocks: u32) -> Watched {
        Watched {
            scheduler: scheduler(config, blocks),
            toy: Toy::new(blocks),
            step_tokens_max: config.step_tokens_max,
            alive: BTreeMap::new(),
            output: BTreeMap::new(),
            enqueued: 0,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Enqueue { prompt, output_tokens_max } => {
                self.enqueued += 1;
                let request = request(self.enqueued, &prompt, output_tokens_max);
                if self.scheduler.enqueue(request.clone()).is_ok() {
                    self.alive.insert(request.id, request);
                }
            }
            Act::Step => self.step(None),
            Act::CancelOldest => self.cancel(self.alive.keys().next().copied()),
            Act::CancelNewest => self.cancel(self.alive.keys().next_back().copied()),
            Act::CancelDuringStep => self.step(self.alive.keys().next().copied()),
        }
    }

    fn cancel(&mut self, id: Option<SequenceId>) {
        if let Some(id) = id {
            assert!(self.scheduler.cancel(id), "whoever is alive can be cancelled");
            self.alive.remove(&id);
        }
    }

    fn step(&mut self, cancelled_meanwhile: Option<SequenceId>) {
        let plan = self.scheduler.plan();
        assert!(plan.tokens() <= self.step_tokens_max as usize);
        assert_eq!(plan.is_empty(), self.alive.is_empty());
        if let Some(oldest) = self.alive.keys().next() {
            let planned = plan.sequences.iter().any(|sequence| sequence.id == *oldest);
            assert!(planned, "the oldest advances in every step");
        }
        let sampled = self.toy.forward(&plan);
        self.cancel(cancelled_meanwhile);
        let finished = self.scheduler.commit(&sampled);
        for (id, token) in sampled {
            self.output.entry(id).or_default().push(token);
        }
        for id in finished {
            let request = self.alive.remove(&id).expect("only who is alive finishes");
            let expected = alone(&request.prompt, request.output_tokens_max as usize);
            assert_eq!(self.output[&id], expected, "as if it had run alone");
        }
    }

    fn drain(&mut self) {
        let work = self.alive.values().map(|r| r.prompt.len() + r.output_tokens_max as usize);
        // The oldest advances by a token a step, whatever the others do.
        let steps_max: usize = work.sum();
        for _ in 0..steps_max {
            self.step(None);
        }
        assert!(self.scheduler.is_idle(), "everybody ends within {steps_max} steps");
        assert_eq!(self.scheduler.stats().blocks_used, 0, "no block leaks");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn everybody_ends_with_the_text_it_would_have_alone(
        acts in acts(),
        blocks in 4u32..40,
        (running_max, extra) in (1u32..6, 0u32..20),
    ) {
        let mut watched = Watched::new(config(running_max + extra, running_max), blocks);
        acts.into_iter().for_each(|act| watched.act(act));
        watched.drain();
    }

    #[test]
    fn the_same_holds_without_a_prefix_cache(acts in acts(), blocks in 4u32..20) {
        let config = SchedulerConfig { prefix_caching: PrefixCaching::Off, ..config(9, 4) };
        let mut watched = Watched::new(config, blocks);
        acts.into_iter().for_each(|act| watched.act(act));
        watched.drain();
        prop_assert_eq!(watched.scheduler.stats().cached_tokens_total, 0);
    }
}
