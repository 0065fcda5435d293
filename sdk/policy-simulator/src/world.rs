//! The simulated world: clients, proxies and replicas, moved from event to event.

mod clients;
mod place;
mod serve;
mod watch;

use std::sync::Arc;

use dispatch::Attempts;
use policy_api::{Holds, RegionId, ReplicaId, RequestFacts, Subject};
use policy_runtime::LoadError;

use crate::VirtualHost;
use crate::contender::Contender;
use crate::events::Events;
use crate::proxy::{Peer, Proxy};
use crate::replica::Replica;
use crate::report::{Report, Samples};
use crate::scenario::Scenario;
use crate::workload::{Conversation, conversations};

/// Something that will happen.
#[derive(Debug)]
enum Happening {
    /// A client sends its conversation's next question.
    Asks { talk: usize },
    /// A request that was handed on arrives in the other region.
    Arrives { request: usize },
    /// A replica's step is computed.
    StepEnds { replica: usize, life: u32 },
    /// A proxy looks at its replicas and the other regions.
    Looks { proxy: usize },
    /// A held request's time is over, if it is still the same hold.
    HoldEnds { request: usize, hold: u32 },
    /// A proxy tells its policies what happened.
    Tells { proxy: usize },
    /// What the scenario foresees for a replica.
    Changes { number: usize },
    /// A request's end reaches its client.
    Answered { request: usize },
}

/// One run.
pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    events: Events<Happening>,
    host: Arc<VirtualHost>,
    talks: Vec<Talk>,
    /// The next conversation of a closed loop.
    talk_next: usize,
    requests: Vec<Request>,
    proxies: Vec<Proxy>,
    /// Region by region.
    replicas: Vec<Replica>,
    /// Until when each replica's outstanding requests are counted.
    counted_us: Vec<u64>,
    requests_left: u64,
    counts: Report,
    samples: Samples,
}

/// A conversation, as far as it has come.
struct Talk {
    conversation: Conversation,
    turn: usize,
    /// All that was said.
    history: Vec<u8>,
}

/// One request, as its client knows it.
struct Request {
    talk: usize,
    prompt_tokens: u32,
    output_tokens: u32,
    sent_us: u64,
    first_token_us: Option<u64>,
    outcome: Option<Ending>,
    /// Times it was held.
    holds: u32,
    /// The proxy it came to, then the one it was handed to.
    legs: Vec<Leg>,
}

/// One proxy's books of a request.
struct Leg {
    proxy: usize,
    facts: Arc<RequestFacts>,
    subject: Subject,
    attempts: Attempts,
    admitted: Holds,
    placed: Holds,
    /// The replica that has it.
    at: Option<At>,
    ran_on: Option<ReplicaId>,
    held: Option<Held>,
    /// The fleet's version that its policies were asked about last.
    asked_version: u64,
}

/// A request at a replica.
#[derive(Clone, Copy)]
struct At {
    replica: ReplicaId,
    since_us: u64,
    has_begun: bool,
}

#[derive(Clone, Copy)]
struct Held {
    since_us: u64,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Finished { cached_tokens: u32 },
    Failed,
    Rejected,
}

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario, contender: &Contender) -> Result<World<'a>, LoadError> {
        let host = Arc::new(VirtualHost::default());
        let regions = scenario.fleet.regions.len();
        let proxies = (0..regions).map(|region| {
            let chain = contender.chain(&host, scenario.seed.wrapping_add(region as u64))?;
            Ok(Proxy::new(chain, scenario.fleet.replicas, peers(scenario, region)))
        });
        let proxies = proxies.collect::<Result<Vec<Proxy>, LoadError>>()?;
        let replicas = regions * scenario.fleet.replicas as usize;
        let talk = |conversation: Conversation| Talk { history: conversation.system.to_vec(), conversation, turn: 0 };
        Ok(World {
            scenario,
            events: Events::new(),
            host,
            talks: conversations(scenario).into_iter().map(talk).collect(),
            talk_next: 0,
            requests: Vec::new(),
            proxies,
            replicas: (0..replicas).map(|_| Replica::new(&scenario.simulate.replica)).collect(),
            counted_us: vec![0; replicas],
            requests_left: u64::from(scenario.traffic.requests),
            counts: Report {
                scenario: scenario.name.clone(),
                contender: contender.name.clone(),
                kv_blocks_total: scenario.simulate.replica.kv_blocks,
                ..Report::default()
            },
            samples: Samples { outstanding_us: vec![0; replicas], ..Samples::default() },
        })
    }

    /// Plays until every request has ended.
    pub(crate) fn run(mut self) -> Report {
        self.first_looks();
        for (number, change) in self.scenario.simulate.changes.iter().enumerate() {
            self.events.after(u64::from(change.at_ms) * 1000, Happening::Changes { number });
        }
        self.begin_talks();
        while self.requests_left > 0 {
            let happening = self.events.next().expect("while a request is under way something will happen to it");
            self.host.set_now_ms(self.now_ms());
            self.happens(happening);
            self.ask_again();
        }
        self.finish()
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Asks { talk } => self.asks(talk),
            Happening::Arrives { request } => self.enters(request),
            Happening::StepEnds { replica, life } => self.step_ends(replica, life),
            Happening::Looks { proxy } => self.looks(proxy),
            Happening::HoldEnds { request, hold } => self.hold_ends(request, hold),
            Happening::Tells { proxy } => self.tells(proxy),
            Happening::Changes { number } => self.changes(number),
            Happening::Answered { request } => self.answered(request),
        }
    }

    fn finish(mut self) -> Report {
        for replica in 0..self.replicas.len() {
            self.count_outstanding(replica);
        }
        let counts = &self.counts;
        assert_eq!(
            counts.requests,
            counts.finished + counts.failed + counts.rejected,
            "no request is lost and none ends twice"
        );
        self.counts.complete(self.samples)
    }

    fn now_ms(&self) -> u64 {
        self.events.now_us() / 1000
    }

    /// The current proxy's books of a request.
    fn leg(&mut self, request: usize) -> &mut Leg {
        self.requests[request].legs.last_mut().expect("a request has a leg from its beginning")
    }

    /// A replica's place among all.
    fn index_of(&self, proxy: usize, replica: ReplicaId) -> usize {
        proxy * self.scenario.fleet.replicas as usize + replica.0 as usize
    }
}

/// What a region's proxy calls the other regions.
fn peers(scenario: &Scenario, region: usize) -> Vec<Peer> {
    let others = (0..scenario.fleet.regions.len()).filter(|other| *other != region);
    let peer = |(number, other)| Peer {
        region: other,
        id: RegionId(number as u32 + 1),
        available: 0,
        queue: 0,
        rtt_us: scenario.simulate.rtt_ms.saturating_mul(1000),
        read_us: 0,
    };
    others.enumerate().map(peer).collect()
}
