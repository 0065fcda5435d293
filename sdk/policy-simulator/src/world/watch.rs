//! How proxies keep up: looks at replicas and regions, events for policies, and what befalls replicas.

use dispatch::{Failure, FaultKind};
use policy_api::{Event, Hook};

use super::{Ending, Happening, World};
use crate::proxy::Look;
use crate::scenario::{Change, Condition};

/// How long events wait for more to come, as in a proxy.
const BATCH_US: u64 = 20_000;

impl World<'_> {
    /// Before the first request every proxy has looked around.
    pub(super) fn first_looks(&mut self) {
        for proxy in 0..self.proxies.len() {
            self.look_at_replicas(proxy);
        }
        for proxy in 0..self.proxies.len() {
            self.looks(proxy);
        }
    }

    pub(super) fn looks(&mut self, proxy: usize) {
        self.look_at_replicas(proxy);
        self.look_at_regions(proxy);
        let interval_us = u64::from(self.scenario.simulate.proxy.poll_interval_ms) * 1000;
        self.events.after(interval_us, Happening::Looks { proxy });
    }

    fn look_at_replicas(&mut self, proxy: usize) {
        let now_us = self.events.now_us();
        for known in 0..self.proxies[proxy].replicas.len() {
            let id = self.proxies[proxy].replicas[known].id;
            let replica = &self.replicas[self.index_of(proxy, id)];
            let look = match replica.condition {
                Condition::Down => None,
                condition => Some(Look { stats: replica.stats(), draining: condition == Condition::Draining }),
            };
            if let Some(event) = self.proxies[proxy].replicas[known].look(look, now_us) {
                self.tell(proxy, event);
            }
        }
    }

    fn look_at_regions(&mut self, proxy: usize) {
        let now_us = self.events.now_us();
        let told: Vec<(u32, u32)> =
            self.proxies.iter().map(|proxy| (proxy.available(), proxy.held.len() as u32)).collect();
        for peer in &mut self.proxies[proxy].peers {
            (peer.available, peer.queue) = told[peer.region];
            peer.read_us = now_us;
        }
    }

    /// Keeps an event for a proxy's policies.
    pub(super) fn tell(&mut self, proxy: usize, event: Event) {
        if self.proxies[proxy].tell(event) {
            self.events.after(BATCH_US, Happening::Tells { proxy });
        }
    }

    pub(super) fn tells(&mut self, proxy: usize) {
        let (now_us, now_ms) = (self.events.now_us(), self.now_ms());
        let events = std::mem::take(&mut self.proxies[proxy].told);
        let fleet = self.proxies[proxy].view(now_us);
        let mut faults = Vec::new();
        for link in self.proxies[proxy].chain.links().filter(|link| link.has(Hook::Observe)) {
            if let Err(fault) = link.policy.observe(now_ms, &fleet, &events) {
                let kind = FaultKind::NoVerdict(fault);
                link.tally.count_fault(&kind);
                faults.push(format!("{} in observe: {kind}", link.author.slot));
            }
        }
        for fault in faults {
            self.fault(fault);
        }
    }

    /// What the scenario foresees comes to pass.
    pub(super) fn changes(&mut self, number: usize) {
        let Change { at_ms: _, region, replica, to } = &self.scenario.simulate.changes[number];
        let regions = &self.scenario.fleet.regions;
        let region = regions.iter().position(|name| name == region).expect("a scenario's changes are checked");
        let replica = region * self.scenario.fleet.replicas as usize + *replica as usize;
        match to {
            Condition::Up | Condition::Draining => self.replicas[replica].condition = *to,
            Condition::Down => self.dies(replica),
        }
    }

    /// Requests whose client has seen nothing yet are tried elsewhere.
    fn dies(&mut self, replica: usize) {
        self.count_outstanding(replica);
        for request in self.replicas[replica].die() {
            let at = self.leg(request).at.expect("the replica had it");
            let failure = if at.has_begun { Failure::BrokeAfterFirstByte } else { Failure::BrokeBeforeFirstByte };
            if !self.may_retry(request, at.replica, failure) {
                self.ends(request, Ending::Failed);
            } else if !self.is_placed(request) {
                self.holds(request);
            }
        }
    }
}
