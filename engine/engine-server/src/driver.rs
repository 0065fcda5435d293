//! The thread that owns the scheduler and the model: take the inbox, plan, forward, sample, commit, send.

mod recent;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use engine_backend::{Backend, ForwardBatch, LogitsWanted};
use engine_model::Model;
use engine_scheduler::{Refusal, Scheduler, SequenceId, SequenceRequest, Stats, StepPlan};
use openai_api::FinishReason;
use tokio::sync::{mpsc, watch};

use crate::metrics::Metrics;
use crate::sampler::{Choice, Sampler, TopLogprobs};
use crate::{Error, clock};
use recent::Recent;

/// A request, ready to run.
pub(crate) struct Job {
    pub prompt: Vec<u32>,
    pub output_tokens_max: u32,
    pub sampler: Sampler,
    pub received: Instant,
    pub events: mpsc::Sender<Event>,
}

/// What happens to a request, told through its own channel.
#[derive(Debug)]
pub(crate) enum Event {
    /// It waits for the batch, or runs.
    Queued,
    /// It was not taken.
    Refused(Refusal),
    /// Its first step begins.
    Started { at: Instant, cached_tokens: u32 },
    /// A token was sampled.
    Token { token: u32, logprobs: Option<TopLogprobs>, at: Instant, finish: Option<FinishReason> },
    /// It cannot go on.
    Failed(String),
}

/// Something to tell, once the step is over.
type News = (mpsc::Sender<Event>, Event);

/// The driver as others see it, after each step.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct View {
    pub stats: Stats,
    /// Tokens of the latest step.
    pub step_tokens: u32,
    pub ttft_us: u32,
    pub tpot_us: u32,
    pub prefix_hit_permille: u32,
}

/// The channel a request needs: every event it can get fits, so that a slow client never stops the driver.
pub(crate) fn events(output_tokens_max: u32) -> (mpsc::Sender<Event>, mpsc::Receiver<Event>) {
    const BESIDES_TOKENS: usize = 3;
    mpsc::channel(output_tokens_max as usize + BESIDES_TOKENS)
}

/// The loop's state.
pub(crate) struct Driver<B: Backend> {
    pub scheduler: Scheduler,
    pub model: Model<B>,
    /// Tokens that end a sequence.
    pub end_tokens: Vec<u32>,
    pub inbox: mpsc::Receiver<Job>,
    pub view: watch::Sender<View>,
    pub metrics: Arc<Metrics>,
}

/// A sequence the scheduler has.
struct Active {
    sampler: Sampler,
    events: mpsc::Sender<Event>,
    received: Instant,
    prompt_tokens: u32,
    started: bool,
    first_token: Option<Instant>,
    latest_token: Instant,
    tokens_after_first: u32,
}

impl<B: Backend> Driver<B> {
    /// Runs until the inbox is closed and all is done. An error is the model's: nobody's requests can go on.
    pub fn run(self) -> Result<(), Error> {
        let mut run = Run {
            driver: self,
            active: HashMap::new(),
            names: 0,
            recent: Recent::default(),
            batch: ForwardBatch::default(),
        };
        while run.take_inbox() {
            run.drop_abandoned();
            let plan = run.driver.scheduler.plan();
            if let Err(error) = run.step(&plan) {
                run.fail_all(&error);
                return Err(error);
            }
        }
        Ok(())
    }
}

struct Run<B: Backend> {
    driver: Driver<B>,
    active: HashMap<SequenceId, Active>,
    names: u64,
    recent: Recent,
    batch: ForwardBatch,
}

impl<B: Backend> Run<B> {
    /// Takes what has arrived; sleeps while there is nothing to do. False: the inbox is closed and all is done.
    fn take_inbox(&mut self) -> bool {
        while self.driver.scheduler.is_idle() {
            self.publish(0);
            match self.driver.inbox.blocking_recv() {
                Some(job) => self.enqueue(job),
                None => return false,
            }
        }
        while let Ok(job) = self.driver.inbox.try_recv() {
            self.enqueue(job);
        }
        true
    }

    fn enqueue(&mut self, job: Job) {
        let Job { prompt, output_tokens_max, sampler, received, events } = job;
        self.names += 1;
        let id = SequenceId(self.names);
        let prompt_tokens = u32::try_from(prompt.len()).expect("the door bounds a prompt by the context");
        match self.driver.scheduler.enqueue(SequenceRequest { id, prompt, output_tokens_max }) {
            Ok(()) => {
                tell(&events, Event::Queued);
                let active = Active {
                    sampler,
                    events,
                    received,
                    prompt_tokens,
                    started: false,
                    first_token: None,
                    latest_token: received,
                    tokens_after_first: 0,
                };
                self.active.insert(id, active);
            }
            Err(refusal) => tell(&events, Event::Refused(refusal)),
        }
    }

    /// Frees what belongs to requests whose client left or whose stop string came.
    fn drop_abandoned(&mut self) {
        let Run { driver, active, recent, .. } = self;
        active.retain(|id, sequence| {
            let wanted = !sequence.events.is_closed();
            if !wanted {
                driver.scheduler.cancel(*id);
                sequence.count_pace(recent, &driver.metrics);
            }
            wanted
        });
    }

    fn step(&mut self, plan: &StepPlan) -> Result<(), Error> {
        if plan.is_empty() {
            return Ok(());
        }
        let start = clock::now();
        self.tell_started(plan, start);
        let choices = self.forward(plan)?;
        let at = clock::now();
        let news = self.commit(choices, at);
        self.driver.metrics.step_seconds.observe((at - start).as_secs_f64());
        // Before anybody is told: who has an answer finds it counted.
        self.publish(u32::try_from(plan.tokens()).expect("step_tokens_max is a u32"));
        for (events, event) in news {
            tell(&events, event);
        }
        Ok(())
    }

    fn tell_started(&mut self, plan: &StepPlan, at: Instant) {
        for planned in &plan.sequences {
            let Some(active) = self.active.get_mut(&planned.id).filter(|active| !active.started) else { continue };
            active.started = true;
            self.recent.prompt(active.prompt_tokens, planned.cached_tokens);
            self.driver.metrics.queue_seconds.observe((at - active.received).as_secs_f64());
            tell(&active.events, Event::Started { at, cached_tokens: planned.cached_tokens });
        }
    }

    /// Computes a plan; what was chosen for each sequence whose logits were wanted.
    fn forward(&mut self, plan: &StepPlan) -> Result<Vec<(SequenceId, Option<Choice>)>, Error> {
        self.batch.clear();
        for planned in &plan.sequences {
            let wanted = if planned.wants_logits { LogitsWanted::Yes } else { LogitsWanted::No };
            self.batch.push(
                &planned.tokens,
                planned.position,
                planned.blocks.iter().map(|block| block.index()),
                wanted,
            );
        }
        let logits = self.driver.model.forward(&self.batch)?;
        let sampled = plan.sequences.iter().filter(|planned| planned.wants_logits).enumerate();
        let choices = sampled.map(|(row, planned)| {
            let active = self.active.get_mut(&planned.id);
            let choice = active.and_then(|active| active.sampler.choose(logits.row(row)));
            (planned.id, choice)
        });
        Ok(choices.collect())
    }

    /// Hands the chosen tokens to the scheduler; what is to be told, and to whom.
    fn commit(&mut self, choices: Vec<(SequenceId, Option<Choice>)>, at: Instant) -> Vec<News> {
        let sampled: Vec<(SequenceId, u32)> =
            choices.iter().filter_map(|(id, choice)| Some((*id, choice.as_ref()?.token))).collect();
        let finished = self.driver.scheduler.commit(&sampled);
        self.driver.metrics.output_tokens_total.inc_by(sampled.len() as u64);
        let news = choices.into_iter().filter_map(|(id, choice)| {
            let Some(Choice { token, logprobs }) = choice else {
                return self.fail(id, "the model computed no finite logits");
            };
            let finish = self.finish_of(id, token, &finished);
            let active = self.active.get_mut(&id)?;
            active.count_token(at, &mut self.recent, &self.driver.metrics);
            let event = Event::Token { token, logprobs, at, finish };
            if finish.is_none() {
                return Some((active.events.clone(), event));
            }
            let active = self.active.remove(&id)?;
            active.count_pace(&mut self.recent, &self.driver.metrics);
            Some((active.events, event))
        });
        news.collect()
    }

    /// Whether a token was a sequence's last, and why; the scheduler knows only of the bound.
    fn finish_of(&mut self, id: SequenceId, token: u32, finished: &[SequenceId]) -> Option<FinishReason> {
        if self.driver.end_tokens.contains(&token) {
            self.driver.scheduler.finish(id);
            return Some(FinishReason::Stop);
        }
        finished.contains(&id).then_some(FinishReason::Length)
    }

    fn fail(&mut self, id: SequenceId, reason: &str) -> Option<News> {
        self.driver.scheduler.cancel(id);
        self.active.remove(&id).map(|active| (active.events, Event::Failed(reason.to_owned())))
    }

    fn fail_all(&mut self, error: &Error) {
        for (_, active) in self.active.drain() {
            tell(&active.events, Event::Failed(error.to_string()));
        }
    }

    fn publish(&mut self, step_tokens: u32) {
        let view = View { stats: self.driver.scheduler.stats(), step_tokens, ..self.recent.view() };
        self.driver.view.send_replace(view);
    }
}

impl Active {
    fn count_token(&mut self, at: Instant, recent: &mut Recent, metrics: &Metrics) {
        self.latest_token = at;
        if self.first_token.is_some() {
            self.tokens_after_first += 1;
            return;
        }
        self.first_token = Some(at);
        metrics.ttft_seconds.observe((at - self.received).as_secs_f64());
        recent.first_token(at - self.received);
    }

    /// The sequence ends here, whoever ended it: its tokens came at this pace.
    fn count_pace(&self, recent: &mut Recent, metrics: &Metrics) {
        if let Some(first) = self.first_token.filter(|_| self.tokens_after_first > 0) {
            let tpot = (self.latest_token - first) / self.tokens_after_first;
            metrics.tpot_seconds.observe(tpot.as_secs_f64());
            recent.time_per_token(tpot);
        }
    }
}

fn tell(events: &mpsc::Sender<Event>, event: Event) {
    if let Err(mpsc::error::TrySendError::Full(event)) = events.try_send(event) {
        unreachable!("events() leaves room for every event, but not for {event:?}");
    }
}
