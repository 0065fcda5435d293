//! The scheduler itself: enqueue, plan, commit, finish, cancel.

use std::collections::VecDeque;

use engine_kv::{BlockPool, Counters};

use crate::sequence::Sequence;
use crate::{PlannedSequence, PrefixCaching, SchedulerConfig, SequenceId, SequenceRequest, Stats, StepPlan};

/// Why a sequence was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Come again later.
    #[error("the queue is full ({waiting_max} waiting)")]
    QueueFull {
        /// The bound that was reached.
        waiting_max: u32,
    },
    /// It can never run, however empty the engine is: shorten the prompt or the output.
    #[error("prompt and output need {tokens} tokens of KV cache, the engine has {tokens_max}")]
    TooLong {
        /// Prompt plus longest output.
        tokens: u64,
        /// What all blocks together hold.
        tokens_max: u64,
    },
    /// There is nothing to compute, or nothing may be sampled.
    #[error("a sequence needs a prompt and room for an output token")]
    Empty,
    /// The name is in use.
    #[error("sequence {0:?} is already here")]
    Duplicate(SequenceId),
}

/// Plans steps over a pool of KV blocks.
///
/// The caller loops: [`plan`](Self::plan), run the model, [`commit`](Self::commit) the sampled tokens. Between steps
/// it may [`enqueue`](Self::enqueue), [`finish`](Self::finish) and [`cancel`](Self::cancel).
///
/// Older sequences go before newer ones. When blocks run out the newest running sequence gives back its own and is
/// computed again later, so the oldest always advances and every sequence ends.
#[derive(Debug)]
pub struct Scheduler {
    config: SchedulerConfig,
    pool: BlockPool,
    /// Oldest first.
    running: Vec<Sequence>,
    /// Next first. Preempted sequences return to the front, so this too is ordered by age.
    waiting: VecDeque<Sequence>,
    /// Whatever is not a gauge.
    totals: Stats,
}

impl Scheduler {
    /// A scheduler with nothing to do.
    ///
    /// # Panics
    /// If `running_max` is zero or above `step_tokens_max`.
    pub fn new(config: SchedulerConfig, pool: BlockPool) -> Scheduler {
        let SchedulerConfig { step_tokens_max, running_max, .. } = config;
        assert!(
            (1..=step_tokens_max).contains(&running_max),
            "running_max ({running_max}) must be between 1 and step_tokens_max ({step_tokens_max})"
        );
        Scheduler { config, pool, running: Vec::new(), waiting: VecDeque::new(), totals: Stats::default() }
    }

    /// Takes a sequence into the queue.
    pub fn enqueue(&mut self, request: SequenceRequest) -> Result<(), Refusal> {
        let waiting_max = self.config.waiting_max;
        if request.prompt.is_empty() || request.output_tokens_max == 0 {
            return Err(Refusal::Empty);
        }
        // The last sampled token is never computed, so it needs no room.
        let tokens = request.prompt.len() as u64 + u64::from(request.output_tokens_max) - 1;
        let tokens_max = u64::from(self.pool.counters().blocks_total) * u64::from(self.pool.block_tokens());
        if tokens > tokens_max.min(u64::from(u32::MAX - 1)) {
            return Err(Refusal::TooLong { tokens, tokens_max });
        }
        if self.waiting.len() >= waiting_max as usize {
            return Err(Refusal::QueueFull { waiting_max });
        }
        if self.running.iter().chain(&self.waiting).any(|sequence| sequence.id == request.id) {
            return Err(Refusal::Duplicate(request.id));
        }
        self.waiting.push_back(Sequence::of(request));
        Ok(())
    }

    /// Chooses what the next step computes. A plan that was not committed is forgotten.
    pub fn plan(&mut self) -> StepPlan {
        self.running.iter_mut().for_each(|sequence| sequence.planned = 0);
        let mut budget = self.config.step_tokens_max;
        let preemptions_before = self.totals.preemptions_total;
        // Decodes first, one token each: a long prompt must not make every stream stutter.
        self.plan_running(&mut budget, |sequence| sequence.left() == 1);
        self.plan_running(&mut budget, |sequence| sequence.left() > 1);
        if self.totals.preemptions_total == preemptions_before {
            self.admit(&mut budget);
        }
        self.written_plan()
    }

    /// Takes in what a step computed: a sampled token for every sequence that wanted logits.
    ///
    /// Returns the sequences that reached their last output token; they are gone. A sequence that was cancelled
    /// since the plan is ignored; one whose sampled token is missing computes its last token again.
    pub fn commit(&mut self, sampled: &[(SequenceId, u32)]) -> Vec<SequenceId> {
        let mut finished = Vec::new();
        for sequence in &mut self.running {
            let planned = std::mem::take(&mut sequence.planned);
            if planned == 0 {
                continue;
            }
            sequence.computed += planned;
            let token = sampled.iter().find(|(id, _)| *id == sequence.id).map(|(_, token)| *token);
            match (sequence.left(), token) {
                (0, Some(token)) => sequence.tokens.push(token),
                (0, None) => sequence.computed -= 1,
                _ => continue,
            }
            self.totals.output_tokens_total += u64::from(token.is_some());
            if sequence.output_tokens() >= sequence.output_tokens_max {
                finished.push(sequence.id);
            }
        }
        self.publish();
        self.totals.steps_total += 1;
        finished.iter().for_each(|&id| _ = self.finish(id));
        finished
    }

    /// Ends a sequence early (a stop token). Returns whether it was here.
    pub fn finish(&mut self, id: SequenceId) -> bool {
        let running = self.running.iter().position(|sequence| sequence.id == id);
        let sequence = match running {
            Some(index) => Some(self.running.remove(index)),
            None => {
                self.waiting.iter().position(|sequence| sequence.id == id).and_then(|index| self.waiting.remove(index))
            }
        };
        let found = sequence.is_some();
        if let Some(sequence) = sequence {
            self.pool.release(sequence.table);
        }
        found
    }

    /// Ends a sequence that nobody waits for any more. Returns whether it was here.
    pub fn cancel(&mut self, id: SequenceId) -> bool {
        self.finish(id)
    }

    /// Whether there is nothing to compute until the next `enqueue`.
    pub fn is_idle(&self) -> bool {
        self.running.is_empty() && self.waiting.is_empty()
    }

    /// The scheduler in numbers.
    pub fn stats(&self) -> Stats {
        let Counters { blocks_used, blocks_total, blocks_cached, evictions_total } = self.pool.counters();
        let length = |len: usize| u32::try_from(len).expect("bounded by the config");
        Stats {
            running: length(self.running.len()),
            running_max: self.config.running_max,
            waiting: length(self.waiting.len()),
            waiting_max: self.config.waiting_max,
            blocks_used,
            blocks_total,
            blocks_cached,
            block_tokens: self.pool.block_tokens(),
            evictions_total,
            ..self.totals
        }
    }

    /// Gives the running sequences that `eligible` picks their share of the budget, oldest first.
    fn plan_running(&mut self, budget: &mut u32, eligible: impl Fn(&Sequence) -> bool) {
        let mut index = 0;
        while *budget > 0 && index < self.running.len() {
            let sequence = &mut self.running[index];
            if sequence.planned > 0 || !eligible(sequence) {
                index += 1;
                continue;
            }
            let tokens = sequence.left().min(*budget);
            match self.pool.grow(&mut sequence.table, sequence.computed + tokens) {
                Ok(()) => {
                    sequence.planned = tokens;
                    *budget -= tokens;
                    index += 1;
                }
                // The newest gives way; that may be this sequence itself, and then the loop ends.
                Err(_) => *budget += self.preempt_newest(),
            }
        }
    }

    /// Sends the newest running sequence back to the queue. Returns the tokens it was to compute in this plan.
    fn preempt_newest(&mut self) -> u32 {
        let mut sequence = self.running.pop().expect("called for a sequence that runs");
        self.pool.release(std::mem::take(&mut sequence.table));
        sequence.computed = 0;
        self.totals.preemptions_total += 1;
        let planned = std::mem::take(&mut sequence.planned);
        self.waiting.push_front(sequence);
        planned
    }

    /// Lets waiting sequences in while there is budget, a seat, and room for all that is known of them.
    fn admit(&mut self, budget: &mut u32) {
        while *budget > 0 && self.running.len() < self.config.running_max as usize {
            let Some(mut sequence) = self.waiting.pop_front() else {
                return;
            };
            let mut table = match self.config.prefix_caching {
                PrefixCaching::On => self.pool.begin(&sequence.tokens),
                PrefixCaching::Off => self.pool.begin_uncached(),
            };
            let held = u32::try_from(table.blocks().len()).expect("no more than the pool has");
            let missing = self.pool.blocks_for(sequence.total()) - held;
            if missing > self.pool.blocks_free() {
                self.pool.release(table);
                self.waiting.push_front(sequence);
                return;
            }
            sequence.computed = held * self.pool.block_tokens();
            sequence.planned = sequence.left().min(*budget);
            self.pool
                .grow(&mut table, sequence.computed + sequence.planned)
                .expect("there is room for the whole sequence");
            sequence.table = table;
            *budget -= sequence.planned;
            self.count_admission(&mut sequence);
            self.running.push(sequence);
        }
    }

    /// Counts a prompt once, however often it is preempted: a hit on one's own blocks is no saving.
    fn count_admission(&mut self, sequence: &mut Sequence) {
        if sequence.cached_tokens.is_none() {
            sequence.cached_tokens = Some(sequence.computed);
            self.totals.cached_tokens_total += u64::from(sequence.computed);
            self.totals.prompt_tokens_total += u64::from(sequence.prompt_tokens);
        }
    }

    fn publish(&mut self) {
        if self.config.prefix_caching == PrefixCaching::Off {
            return;
        }
        for sequence in &mut self.running {
            let computed = &sequence.tokens[..sequence.computed as usize];
            self.pool.publish(&mut sequence.table, computed);
        }
    }

    fn written_plan(&self) -> StepPlan {
        let planned = self.running.iter().filter(|sequence| sequence.planned > 0);
        let sequences = planned.map(|sequence| {
            let start = sequence.computed as usize;
            let end = start + sequence.planned as usize;
            PlannedSequence {
                id: sequence.id,
                tokens: sequence.tokens[start..end].to_vec(),
                position: sequence.computed,
                blocks: sequence.table.blocks().to_vec(),
                wants_logits: end == sequence.tokens.len(),
                cached_tokens: sequence.cached_tokens.unwrap_or(0),
            }
        });
        StepPlan { sequences: sequences.collect() }
    }
}
