//! What replicas do with requests, and how requests end.

use policy_api::{Event, Holds, Outcome, Usage};

use super::{At, Ending, Happening, World};
use crate::replica::Sampled;

impl World<'_> {
    /// Begins a replica's next step, if there is one to begin.
    pub(super) fn begin_step(&mut self, replica: usize) {
        let Some(takes_us) = self.replicas[replica].begin_step() else { return };
        let life = self.replicas[replica].life;
        let used = self.replicas[replica].stats().blocks_used;
        self.counts.kv_blocks_used_max = self.counts.kv_blocks_used_max.max(used);
        self.events.after(takes_us, Happening::StepEnds { replica, life });
    }

    pub(super) fn step_ends(&mut self, replica: usize, life: u32) {
        if self.replicas[replica].life != life {
            return;
        }
        self.count_outstanding(replica);
        for sampled in self.replicas[replica].end_step() {
            self.token(sampled);
        }
        self.begin_step(replica);
    }

    fn token(&mut self, sampled: Sampled) {
        let Sampled { id: request, tokens, is_last, cached_tokens } = sampled;
        if tokens == 1 {
            self.first_token(request);
        }
        if is_last {
            self.ends(request, Ending::Finished { cached_tokens });
        }
    }

    fn first_token(&mut self, request: usize) {
        let now_us = self.events.now_us();
        let prompt_tokens = self.requests[request].prompt_tokens;
        self.requests[request].first_token_us = Some(now_us);
        let leg = self.leg(request);
        let At { replica, since_us, has_begun } = leg.at.as_mut().expect("a token comes from the replica that has it");
        *has_begun = true;
        let (replica, ttft_us) = (*replica, micros(now_us - *since_us));
        let (proxy, subject) = (leg.proxy, leg.subject.clone());
        self.proxies[proxy].replicas[replica.0 as usize].begins(prompt_tokens);
        self.tell(proxy, Event::FirstToken { subject, replica, ttft_us });
    }

    /// A request's end: every proxy that had it closes its books, and its client hears of it.
    pub(super) fn ends(&mut self, request: usize, ending: Ending) {
        let before = self.requests[request].outcome.replace(ending);
        debug_assert_eq!(before, None, "a request ends once");
        self.count_end(request, ending);
        self.lets_go(request);
        for leg in 0..self.requests[request].legs.len() {
            let leg = &mut self.requests[request].legs[leg];
            (leg.admitted, leg.placed) = (Holds::default(), Holds::default());
            let (proxy, subject, replica) = (leg.proxy, leg.subject.clone(), leg.ran_on);
            let (outcome, usage) = self.told_of(request, ending);
            self.tell(proxy, Event::Ended { subject, replica, outcome, usage });
        }
        self.events.after(self.way_back_us(request), Happening::Answered { request });
    }

    fn told_of(&self, request: usize, ending: Ending) -> (Outcome, Usage) {
        let (prompt_tokens, output_tokens) =
            (self.requests[request].prompt_tokens, self.requests[request].output_tokens);
        match ending {
            Ending::Finished { cached_tokens } => {
                (Outcome::Finished, Usage { prompt_tokens, cached_tokens, output_tokens })
            }
            Ending::Failed => (Outcome::Failed, Usage::default()),
            Ending::Rejected => (Outcome::Refused, Usage::default()),
        }
    }

    fn count_end(&mut self, request: usize, ending: Ending) {
        let end_us = self.events.now_us() + self.way_back_us(request);
        self.samples.last_answer_us = self.samples.last_answer_us.max(end_us);
        match ending {
            Ending::Failed => self.counts.failed += 1,
            Ending::Rejected => self.counts.rejected += 1,
            Ending::Finished { cached_tokens } => {
                self.counts.finished += 1;
                self.counts.cached_tokens += u64::from(cached_tokens);
                self.counts.prompt_tokens += u64::from(self.requests[request].prompt_tokens);
                self.sample_times(request, end_us);
            }
        }
    }

    fn sample_times(&mut self, request: usize, end_us: u64) {
        let way_back_us = self.way_back_us(request);
        let found = &self.requests[request];
        let first_us = found.first_token_us.expect("a finished request has a token") + way_back_us;
        self.samples.output_tokens += u64::from(found.output_tokens);
        self.samples.ttft_us.push(first_us - found.sent_us);
        self.samples.e2e_us.push(end_us - found.sent_us);
        let tpot_us = (end_us - first_us).checked_div(u64::from(found.output_tokens) - 1);
        self.samples.tpot_us.extend(tpot_us);
        let now_us = self.events.now_us();
        let leg = self.leg(request);
        let (proxy, at) = (leg.proxy, leg.at.expect("it has just been served"));
        let ttft_us = micros(first_us - way_back_us - at.since_us);
        debug_assert!(at.since_us <= now_us, "time never runs backwards");
        self.proxies[proxy].replicas[at.replica.0 as usize].observe(ttft_us, tpot_us.map(micros));
    }

    /// The current proxy no longer counts the request at the replica that it was sent to.
    pub(super) fn lets_go(&mut self, request: usize) {
        let prompt_tokens = self.requests[request].prompt_tokens;
        let leg = self.leg(request);
        let (proxy, at) = (leg.proxy, leg.at.take());
        let Some(At { replica, has_begun, .. }) = at else { return };
        let known = &mut self.proxies[proxy].replicas[replica.0 as usize];
        if !has_begun {
            known.begins(prompt_tokens);
        }
        known.ends();
    }

    /// Counts a replica's outstanding requests up to now; called before their number changes.
    pub(super) fn count_outstanding(&mut self, replica: usize) {
        let now_us = self.events.now_us();
        let lasted_us = now_us - std::mem::replace(&mut self.counted_us[replica], now_us);
        self.samples.outstanding_us[replica] += lasted_us * self.replicas[replica].outstanding() as u64;
    }

    /// From the proxy that had it last to the one its client speaks to.
    fn way_back_us(&self, request: usize) -> u64 {
        if self.requests[request].legs.len() > 1 { self.one_way_us() } else { 0 }
    }
}

fn micros(us: u64) -> u32 {
    u32::try_from(us).unwrap_or(u32::MAX)
}
