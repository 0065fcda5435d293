//! What a proxy does with a request: asks the chain, sends it, holds it, hands it on.

use std::sync::Arc;

use dispatch::{By, Decision, Entry, Failure, Next, Target};
use engine_scheduler::Refusal;
use policy_api::{Call, Event, FailureKind, Holds, Hook, RegionId, ReplicaId, RequestFacts};

use super::{At, Ending, Happening, Held, World};
use crate::replica::Job;
use crate::scenario::Condition;
use crate::text;

impl World<'_> {
    /// A request comes to a proxy.
    pub(super) fn enters(&mut self, request: usize) {
        let (proxy, facts) = (self.leg(request).proxy, Arc::clone(&self.leg(request).facts));
        let (now_us, now_ms) = (self.events.now_us(), self.now_ms());
        if self.proxies[proxy].chain.links().any(|link| link.has(Hook::Admit)) {
            let fleet = self.proxies[proxy].view(now_us);
            let decision = self.proxies[proxy].chain.admit(&Call { now_ms, facts: &facts, fleet: &fleet });
            self.decided(request, &decision);
            self.leg(request).admitted = decision.words.holds;
            if let Entry::Denied(_) = decision.verdict {
                return self.ends(request, Ending::Rejected);
            }
        }
        if !self.is_placed(request) {
            self.holds(request);
        }
    }

    /// Asks the chain and does what it says; false where the request is to be held.
    pub(super) fn is_placed(&mut self, request: usize) -> bool {
        loop {
            match self.target(request) {
                Target::Hold => return false,
                Target::Rejected(_) => self.ends(request, Ending::Rejected),
                Target::Nobody => self.ends(request, Ending::Failed),
                Target::Region(region) => self.hands_on(request, region),
                Target::Replica(replica) => match self.sends(request, replica) {
                    Ok(()) => {}
                    Err(failure) if self.may_retry(request, replica, failure) => continue,
                    Err(_) => self.ends(request, Ending::Failed),
                },
            }
            return true;
        }
    }

    fn target(&mut self, request: usize) -> Target {
        let (now_us, now_ms) = (self.events.now_us(), self.now_ms());
        let leg = self.requests[request].legs.last_mut().expect("a request has a leg from its beginning");
        let (facts, tried) = (Arc::clone(&leg.facts), leg.attempts.tried.clone());
        let proxy = &mut self.proxies[leg.proxy];
        let all = proxy.view(now_us);
        leg.asked_version = all.version;
        let fleet = proxy.view_without(&all, &tried);
        let decision = proxy.chain.place(&Call { now_ms, facts: &facts, fleet: &fleet }, &tried);
        leg.placed = match decision.verdict {
            Target::Hold => Holds::default(),
            _ => decision.words.holds.clone(),
        };
        match decision.by {
            By::Policy(_) => {}
            By::Fallback => self.counts.decisions_fallback += 1,
        }
        self.decided(request, &decision);
        decision.verdict
    }

    fn decided<V>(&mut self, request: usize, decision: &Decision<V>) {
        self.counts.decisions_policies += u64::from(matches!(decision.by, By::Policy(_)));
        for fault in &decision.faults {
            self.fault(fault.to_string());
        }
        if !decision.notes.is_empty() {
            Arc::make_mut(&mut self.leg(request).subject.notes).merge(&decision.notes);
        }
    }

    pub(super) fn fault(&mut self, fault: String) {
        self.counts.faults += 1;
        self.counts.first_fault.get_or_insert(fault);
    }

    /// Sends a request to a replica; what a proxy knows is brought up to date whether or not it is taken.
    fn sends(&mut self, request: usize, replica: ReplicaId) -> Result<(), Failure> {
        let now_us = self.events.now_us();
        let (prompt_tokens, output_tokens) =
            (self.requests[request].prompt_tokens, self.requests[request].output_tokens);
        let leg = self.leg(request);
        if leg.attempts.begin() > 1 {
            self.counts.retries += 1;
        }
        let leg = self.leg(request);
        leg.at = Some(At { replica, since_us: now_us, has_begun: false });
        leg.ran_on = Some(replica);
        let (proxy, subject, prompt) = (leg.proxy, leg.subject.clone(), text::tokens(&leg.facts.prompt.to_vec()));
        self.proxies[proxy].replicas[replica.0 as usize].send(prompt_tokens);
        self.tell(proxy, Event::Started { subject, replica });
        let index = self.index_of(proxy, replica);
        match self.replicas[index].condition {
            Condition::Up => {}
            Condition::Draining => return Err(Failure::Busy),
            Condition::Down => return Err(Failure::NotConnected),
        }
        self.count_outstanding(index);
        match self.replicas[index].submit(Job { id: request, prompt, output_tokens }) {
            Ok(()) => {
                self.begin_step(index);
                Ok(())
            }
            Err(Refusal::QueueFull { .. }) => Err(Failure::Busy),
            // The replica's answer to what can never run is the client's; nobody tries again.
            Err(Refusal::TooLong { .. } | Refusal::Empty | Refusal::Duplicate(_)) => {
                self.ends(request, Ending::Rejected);
                Ok(())
            }
        }
    }

    /// Takes note of a failed try.
    pub(super) fn may_retry(&mut self, request: usize, replica: ReplicaId, failure: Failure) -> bool {
        self.lets_go(request);
        let leg = self.leg(request);
        leg.placed = Holds::default();
        leg.attempts.tried.replicas.push(replica);
        let next = leg.attempts.after(failure);
        let (proxy, subject) = (leg.proxy, leg.subject.clone());
        self.tell(proxy, Event::Failed { subject, replica, kind: FailureKind::Replica });
        next == Next::Retry
    }

    /// Hands a request to another region's proxy, which has books of its own.
    fn hands_on(&mut self, request: usize, region: RegionId) {
        let leg = self.leg(request);
        let RequestFacts {
            id,
            endpoint,
            model,
            tenant,
            session,
            priority,
            prompt_tokens_estimate,
            output_tokens_max,
            stream,
            hop,
            prompt,
            tokens,
            headers,
            block_hashes,
        } = &*leg.facts;
        let facts = RequestFacts {
            id: *id,
            endpoint: endpoint.clone(),
            model: model.clone(),
            tenant: tenant.clone(),
            session: session.clone(),
            priority: *priority,
            prompt_tokens_estimate: *prompt_tokens_estimate,
            output_tokens_max: *output_tokens_max,
            stream: *stream,
            hop: hop + 1,
            prompt: prompt.clone(),
            tokens: tokens.clone(),
            headers: headers.clone(),
            block_hashes: block_hashes.clone(),
        };
        let proxy = leg.proxy;
        let other = self.proxies[proxy].peer(region);
        let leg = self.leg_at(other, facts);
        self.requests[request].legs.push(leg);
        self.counts.forwarded += 1;
        self.events.after(self.one_way_us(), Happening::Arrives { request });
    }

    /// Holds a request until the fleet changes or its time is over; one too many is turned away.
    pub(super) fn holds(&mut self, request: usize) {
        let now_us = self.events.now_us();
        self.requests[request].holds += 1;
        let hold = self.requests[request].holds;
        let leg = self.leg(request);
        leg.held = Some(Held { since_us: now_us });
        let proxy = leg.proxy;
        self.counts.held += 1;
        if self.proxies[proxy].held.len() >= self.scenario.simulate.proxy.queue_max as usize {
            self.leg(request).held = None;
            return self.ends(request, Ending::Failed);
        }
        self.proxies[proxy].held.push_back(request);
        let hold_us_max = u64::from(self.scenario.simulate.proxy.hold_ms_max) * 1000;
        self.events.after(hold_us_max, Happening::HoldEnds { request, hold });
    }

    /// A hold's time is over.
    pub(super) fn hold_ends(&mut self, request: usize, hold: u32) {
        if self.leg(request).held.is_some() && self.requests[request].holds == hold {
            self.no_longer_held(request);
            self.ends(request, Ending::Failed);
        }
    }

    /// Asks again about held requests whose fleet has changed since.
    pub(super) fn ask_again(&mut self) {
        for proxy in 0..self.proxies.len() {
            while self.asked_again(proxy) {}
        }
    }

    /// One round over a proxy's held requests, oldest first; true when one of them left, which changes what others see.
    fn asked_again(&mut self, proxy: usize) -> bool {
        let now_us = self.events.now_us();
        let mut left = false;
        for request in self.proxies[proxy].held.clone() {
            let version = self.proxies[proxy].view(now_us).version;
            if self.leg(request).asked_version != version && self.is_placed(request) {
                self.no_longer_held(request);
                left = true;
            }
        }
        left
    }

    fn no_longer_held(&mut self, request: usize) {
        let now_us = self.events.now_us();
        // A request that was handed on is held in the books of the proxy it left.
        let leg = self.requests[request].legs.iter_mut().find(|leg| leg.held.is_some());
        let leg = leg.expect("called for a held request");
        let Held { since_us } = leg.held.take().expect("found by it");
        let proxy = leg.proxy;
        self.samples.held_us_max = self.samples.held_us_max.max(now_us - since_us);
        self.proxies[proxy].held.retain(|held| *held != request);
    }

    pub(super) fn one_way_us(&self) -> u64 {
        u64::from(self.scenario.simulate.rtt_ms) * 1000 / 2
    }
}
