//! What clients do: ask, read the answer, think, ask again.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dispatch::{Attempts, Repeat};
use policy_api::{Holds, RequestFacts, Subject};

use super::{Ending, Happening, Leg, Request, Talk, World};
use crate::text::{self, TOKEN_BYTES};
use crate::workload::Turn;

impl World<'_> {
    /// An open loop's conversations begin when they do; a closed loop's first ones begin at once.
    pub(super) fn begin_talks(&mut self) {
        let clients = match self.scenario.simulate.conversations_per_s {
            Some(_) => self.talks.len(),
            None => self.talks.len().min(self.scenario.traffic.concurrency as usize),
        };
        for talk in 0..clients {
            self.events.after(self.talks[talk].conversation.begins_us, Happening::Asks { talk });
        }
        self.talk_next = clients;
    }

    /// A client sends its next question with all that was said before.
    pub(super) fn asks(&mut self, talk: usize) {
        let request = self.requests.len();
        let Talk { conversation, turn, history } = &mut self.talks[talk];
        let Turn { question, output_tokens, stream, think_us: _ } = &conversation.turns[*turn];
        let (output_tokens, stream) = (*output_tokens, *stream);
        history.extend_from_slice(question);
        let prompt = Bytes::copy_from_slice(history);
        let conversation = &self.talks[talk].conversation;
        let prompt_tokens = (prompt.len() / TOKEN_BYTES) as u32;
        let facts = RequestFacts {
            id: request as u64,
            endpoint: "/v1/chat/completions".to_owned(),
            model: "simulated".to_owned(),
            tenant: conversation.tenant.to_string(),
            session: conversation.session.clone(),
            prompt_tokens_estimate: prompt_tokens,
            output_tokens_max: output_tokens,
            stream,
            prompt: prompt.into(),
            block_hashes: OnceLock::new(),
            ..RequestFacts::default()
        };
        let leg = self.leg_at(conversation.region, facts);
        self.requests.push(Request {
            talk,
            prompt_tokens,
            output_tokens,
            sent_us: self.events.now_us(),
            first_token_us: None,
            outcome: None,
            holds: 0,
            legs: vec![leg],
        });
        self.counts.requests += 1;
        self.enters(request);
    }

    /// A proxy's new books.
    pub(super) fn leg_at(&self, proxy: usize, facts: RequestFacts) -> Leg {
        let subject = Subject {
            request: facts.id,
            tenant: facts.tenant.as_str().into(),
            model: facts.model.as_str().into(),
            endpoint: facts.endpoint.as_str().into(),
            ..Subject::default()
        };
        Leg {
            proxy,
            facts: Arc::new(facts),
            subject,
            attempts: Attempts::new(self.scenario.simulate.proxy.tries_max, Repeat::Harmless),
            admitted: Holds::default(),
            placed: Holds::default(),
            at: None,
            ran_on: None,
            held: None,
            asked_version: 0,
        }
    }

    /// The client has its answer, or its refusal: it asks its next question, or another client takes its place.
    pub(super) fn answered(&mut self, request: usize) {
        let Request { talk, output_tokens, outcome, .. } = self.requests[request];
        if let Some(Ending::Finished { .. }) = outcome {
            self.talks[talk].history.extend(text::answer(request as u64, output_tokens));
        }
        self.talks[talk].turn += 1;
        self.requests_left -= 1;
        let Talk { conversation, turn, .. } = &self.talks[talk];
        let closed_loop = self.scenario.simulate.conversations_per_s.is_none();
        if let Some(next) = conversation.turns.get(*turn) {
            self.events.after(next.think_us, Happening::Asks { talk });
        } else if closed_loop && self.talk_next < self.talks.len() {
            self.events.after(0, Happening::Asks { talk: self.talk_next });
            self.talk_next += 1;
        }
    }
}
