//! One simulated replica: the engine's own scheduler and KV cache, with a model of time instead of a model of language.

use std::collections::BTreeMap;

use engine_kv::{BlockPool, PoolConfig};
use engine_scheduler::{
    PlannedSequence, PrefixCaching, Refusal, Scheduler, SchedulerConfig, SequenceId, SequenceRequest, Stats, StepPlan,
};

use crate::cost::{Cost, Work};
use crate::scenario::{Condition, ReplicaShape};
use crate::text;

/// A replica, as it is and not as its proxy knows it.
#[derive(Debug)]
pub(crate) struct Replica {
    pub condition: Condition,
    shape: ReplicaShape,
    scheduler: Scheduler,
    jobs: BTreeMap<SequenceId, Running>,
    step: Option<StepPlan>,
    /// Which life this is: what was foreseen in an earlier one does not happen.
    pub life: u32,
}

/// What a replica is asked to do.
pub(crate) struct Job {
    /// The request's number.
    pub id: usize,
    pub prompt: Vec<u32>,
    pub output_tokens: u32,
}

#[derive(Debug)]
struct Running {
    prompt_tokens: u32,
    output_tokens: u32,
    sampled: u32,
}

/// One token of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampled {
    /// The request's number.
    pub id: usize,
    /// Tokens sampled, this one included.
    pub tokens: u32,
    pub is_last: bool,
    /// Prompt tokens that came from the prefix cache.
    pub cached_tokens: u32,
}

impl Replica {
    pub fn new(shape: &ReplicaShape) -> Replica {
        Replica {
            condition: Condition::Up,
            shape: shape.clone(),
            scheduler: scheduler(shape),
            jobs: BTreeMap::new(),
            step: None,
            life: 0,
        }
    }

    /// Takes a request into the queue.
    pub fn submit(&mut self, job: Job) -> Result<(), Refusal> {
        let Job { id, prompt, output_tokens } = job;
        let id = SequenceId(id as u64);
        let running = Running { prompt_tokens: prompt.len() as u32, output_tokens, sampled: 0 };
        self.scheduler.enqueue(SequenceRequest { id, prompt, output_tokens_max: output_tokens })?;
        self.jobs.insert(id, running);
        Ok(())
    }

    /// Begins a step when there is something to do and none runs; says how long it takes.
    pub fn begin_step(&mut self) -> Option<u64> {
        if self.step.is_some() || self.scheduler.is_idle() {
            return None;
        }
        let plan = self.scheduler.plan();
        assert!(!plan.is_empty(), "a scheduler that is not idle moves on");
        let stats = self.scheduler.stats();
        assert!(stats.blocks_used <= stats.blocks_total, "no more KV than there is");
        let time = self.cost().of(self.work(&plan));
        self.step = Some(plan);
        Some(time)
    }

    /// Ends the step; the tokens that were sampled, oldest request first.
    pub fn end_step(&mut self) -> Vec<Sampled> {
        let plan = self.step.take().expect("a step ends once, after it began");
        let progress: Vec<Sampled> =
            plan.sequences.iter().filter(|planned| planned.wants_logits).map(|planned| self.sample(planned)).collect();
        let tokens: Vec<(SequenceId, u32)> = progress
            .iter()
            .map(|one| (SequenceId(one.id as u64), text::answer_token(one.id as u64, one.tokens - 1)))
            .collect();
        let finished = self.scheduler.commit(&tokens);
        debug_assert_eq!(finished.len(), progress.iter().filter(|one| one.is_last).count(), "both count the tokens");
        for id in finished {
            self.jobs.remove(&id);
        }
        progress
    }

    /// It dies: all that it had is lost. Says what it had.
    pub fn die(&mut self) -> Vec<usize> {
        let lost = self.jobs.keys().map(|id| id.0 as usize).collect();
        let Replica { shape, life, .. } = self;
        *self = Replica { condition: Condition::Down, life: *life + 1, ..Replica::new(shape) };
        lost
    }

    pub fn stats(&self) -> Stats {
        self.scheduler.stats()
    }

    /// Requests it has.
    pub fn outstanding(&self) -> usize {
        self.jobs.len()
    }

    fn cost(&self) -> &Cost {
        &self.shape.cost
    }

    fn work(&self, plan: &StepPlan) -> Work {
        let mut work = Work::default();
        for planned in &plan.sequences {
            let tokens = planned.tokens.len() as u64;
            if planned.position < self.jobs[&planned.id].prompt_tokens {
                work.prefill_tokens += tokens;
            } else {
                work.decodes += 1;
                work.context_tokens += u64::from(planned.position) + tokens;
            }
        }
        work
    }

    fn sample(&mut self, planned: &PlannedSequence) -> Sampled {
        let running = self.jobs.get_mut(&planned.id).expect("whatever is planned was submitted");
        running.sampled += 1;
        Sampled {
            id: planned.id.0 as usize,
            tokens: running.sampled,
            is_last: running.sampled == running.output_tokens,
            cached_tokens: planned.cached_tokens,
        }
    }
}

fn scheduler(shape: &ReplicaShape) -> Scheduler {
    let ReplicaShape { kv_blocks, block_tokens, step_tokens_max, running_max, waiting_max, cost: _ } = *shape;
    let pool = BlockPool::new(PoolConfig { blocks: kv_blocks, block_tokens, salt: 0 });
    let config = SchedulerConfig { step_tokens_max, running_max, waiting_max, prefix_caching: PrefixCaching::On };
    Scheduler::new(config, pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(replica: &mut Replica) -> (u64, Vec<Sampled>) {
        let (mut time, mut last) = (0, Vec::new());
        while let Some(took) = replica.begin_step() {
            time += took;
            last.extend(replica.end_step().into_iter().filter(|one| one.is_last));
        }
        (time, last)
    }

    fn job(id: usize, prompt_tokens: u32, output_tokens: u32) -> Job {
        Job { id, prompt: (0..prompt_tokens).collect(), output_tokens }
    }

    #[test]
    fn a_prefix_that_is_cached_takes_less_time() {
        let mut replica = Replica::new(&ReplicaShape::default());
        replica.submit(job(0, 1600, 4)).unwrap();
        let (cold, first) = finish(&mut replica);
        replica.submit(job(1, 1600, 4)).unwrap();
        let (warm, second) = finish(&mut replica);
        assert!(warm < cold / 2, "{warm} of {cold}");
        assert_eq!(first, [Sampled { id: 0, tokens: 4, is_last: true, cached_tokens: 0 }]);
        assert_eq!(second, [Sampled { id: 1, tokens: 4, is_last: true, cached_tokens: 1584 }]);
    }

    #[test]
    fn an_answer_is_cached_with_its_question() {
        let mut replica = Replica::new(&ReplicaShape::default());
        replica.submit(job(0, 160, 33)).unwrap();
        finish(&mut replica);
        let mut prompt: Vec<u32> = (0..160).collect();
        prompt.extend((0..33).map(|position| text::answer_token(0, position)));
        replica.submit(Job { id: 1, prompt, output_tokens: 1 }).unwrap();
        assert_eq!(finish(&mut replica).1[0].cached_tokens, 192);
    }

    #[test]
    fn what_a_dying_replica_had_is_lost() {
        let mut replica = Replica::new(&ReplicaShape::default());
        replica.submit(job(3, 16, 4)).unwrap();
        replica.begin_step().unwrap();
        assert_eq!((replica.die(), replica.outstanding(), replica.begin_step()), (vec![3], 0, None));
        assert_eq!((replica.condition, replica.life), (Condition::Down, 1));
    }
}
