//! Decides what every step computes: which sequences run, how many tokens of each, and who waits or gives way.
//!
//! Plain code without IO, clock or chance: the engine's driver and the simulator call the same functions.
//!
//! ```
//! use engine_kv::{BlockPool, PoolConfig};
//! use engine_scheduler::{Scheduler, SchedulerConfig, SequenceId, SequenceRequest};
//!
//! let mut scheduler = Scheduler::new(SchedulerConfig::default(), BlockPool::new(PoolConfig::default()));
//! let id = SequenceId(1);
//! scheduler.enqueue(SequenceRequest { id, prompt: vec![5, 6, 7], output_tokens_max: 2 })?;
//! let plan = scheduler.plan();                         // the whole prompt, and its last token's logits
//! assert_eq!(plan.sequences[0].tokens, [5, 6, 7]);
//! let finished = scheduler.commit(&[(id, 8)]);         // a model ran, 8 was sampled
//! assert!(finished.is_empty());
//! assert_eq!(scheduler.plan().sequences[0].tokens, [8]);
//! assert_eq!(scheduler.commit(&[(id, 9)]), [id]);      // that was the second and last output token
//! # Ok::<(), engine_scheduler::Refusal>(())
//! ```

mod config;
mod plan;
mod scheduler;
mod sequence;
mod stats;

pub use config::{PrefixCaching, SchedulerConfig};
pub use plan::{PlannedSequence, StepPlan};
pub use scheduler::{Refusal, Scheduler};
pub use sequence::{SequenceId, SequenceRequest};
pub use stats::Stats;

#[cfg(test)]
mod tests;
