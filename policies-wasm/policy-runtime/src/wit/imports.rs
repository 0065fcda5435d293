//! What a policy may import, given for real: each function translates and hands on to the state or the slot.

use policy_api::{FleetView, RequestFacts};
use wasmtime::component::{HasSelf, Linker, Resource};

use super::{
    RequestHandle,
    bindings::headworks::policy::{
        buckets, chance, clock, fleet, log, prefix_index, regions, reply, request, store, telemetry, types,
    },
};
use crate::{
    Level,
    recording::{Ask, Look, Prefix},
    slot::{Bucket, Holder, Taking, WriteRefusal},
    state::{State, halves},
};

/// Offers every import of the contract.
pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    fleet::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    regions::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    types::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    request::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    prefix_index::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    buckets::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    store::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    chance::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    clock::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    log::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    telemetry::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    reply::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

impl types::Host for State {}

impl fleet::Host for State {
    fn version(&mut self) -> u64 {
        self.fleet_version()
    }

    fn column(&mut self, field: fleet::Field) -> Vec<u32> {
        self.look(look_of(field));
        column_of(&self.call.fleet, field).to_vec()
    }

    fn columns(&mut self, fields: fleet::Fields) -> Vec<u32> {
        let wanted = FIELDS.into_iter().filter(|(flag, _)| fields.contains(*flag));
        wanted.for_each(|(_, field)| self.look(look_of(field)));
        let fleet = &self.call.fleet;
        let mut columns =
            Vec::with_capacity(FIELDS.iter().filter(|(flag, _)| fields.contains(*flag)).count() * fleet.len());
        for (flag, field) in FIELDS {
            if fields.contains(flag) {
                columns.extend_from_slice(column_of(fleet, field));
            }
        }
        columns
    }
}

/// The set's flags and the fields they mean, in the order of their columns.
const FIELDS: [(fleet::Fields, fleet::Field); 15] = [
    (fleet::Fields::ID, fleet::Field::Id),
    (fleet::Fields::REGION, fleet::Field::Region),
    (fleet::Fields::RUNNING, fleet::Field::Running),
    (fleet::Fields::WAITING, fleet::Field::Waiting),
    (fleet::Fields::KV_BLOCKS_USED, fleet::Field::KvBlocksUsed),
    (fleet::Fields::KV_BLOCKS_TOTAL, fleet::Field::KvBlocksTotal),
    (fleet::Fields::PREFIX_HIT_PERMILLE, fleet::Field::PrefixHitPermille),
    (fleet::Fields::HEALTH, fleet::Field::Health),
    (fleet::Fields::DRAINING, fleet::Field::Draining),
    (fleet::Fields::ROLE, fleet::Field::Role),
    (fleet::Fields::AGE_MS, fleet::Field::AgeMs),
    (fleet::Fields::TTFT_US, fleet::Field::TtftUs),
    (fleet::Fields::TPOT_US, fleet::Field::TpotUs),
    (fleet::Fields::WEIGHT, fleet::Field::Weight),
    (fleet::Fields::PREFILL_TOKENS, fleet::Field::PrefillTokens),
];

fn column_of(fleet: &FleetView, field: fleet::Field) -> &[u32] {
    match field {
        fleet::Field::Id => &fleet.id,
        fleet::Field::Region => &fleet.region,
        fleet::Field::Running => &fleet.running,
        fleet::Field::Waiting => &fleet.waiting,
        fleet::Field::KvBlocksUsed => &fleet.kv_blocks_used,
        fleet::Field::KvBlocksTotal => &fleet.kv_blocks_total,
        fleet::Field::PrefixHitPermille => &fleet.prefix_hit_permille,
        fleet::Field::Health => &fleet.health,
        fleet::Field::Draining => &fleet.draining,
        fleet::Field::Role => &fleet.role,
        fleet::Field::AgeMs => &fleet.age_ms,
        fleet::Field::TtftUs => &fleet.ttft_us,
        fleet::Field::TpotUs => &fleet.tpot_us,
        fleet::Field::Weight => &fleet.weight,
        fleet::Field::PrefillTokens => &fleet.prefill_tokens,
    }
}

fn look_of(field: fleet::Field) -> Look {
    match field {
        fleet::Field::Id => Look::FleetId,
        fleet::Field::Region => Look::FleetRegion,
        fleet::Field::Running => Look::FleetRunning,
        fleet::Field::Waiting => Look::FleetWaiting,
        fleet::Field::KvBlocksUsed => Look::FleetKvBlocksUsed,
        fleet::Field::KvBlocksTotal => Look::FleetKvBlocksTotal,
        fleet::Field::PrefixHitPermille => Look::FleetPrefixHitPermille,
        fleet::Field::Health => Look::FleetHealth,
        fleet::Field::Draining => Look::FleetDraining,
        fleet::Field::Role => Look::FleetRole,
        fleet::Field::AgeMs => Look::FleetAgeMs,
        fleet::Field::TtftUs => Look::FleetTtftUs,
        fleet::Field::TpotUs => Look::FleetTpotUs,
        fleet::Field::Weight => Look::FleetWeight,
        fleet::Field::PrefillTokens => Look::FleetPrefillTokens,
    }
}

impl regions::Host for State {
    fn column(&mut self, field: regions::Field) -> Vec<u32> {
        self.look(match field {
            regions::Field::Id => Look::RegionId,
            regions::Field::Local => Look::RegionLocal,
            regions::Field::Available => Look::RegionAvailable,
            regions::Field::Queue => Look::RegionQueue,
            regions::Field::RttUs => Look::RegionRttUs,
            regions::Field::AgeMs => Look::RegionAgeMs,
        });
        let regions = &self.call.fleet.regions;
        let column = match field {
            regions::Field::Id => &regions.id,
            regions::Field::Local => &regions.local,
            regions::Field::Available => &regions.available,
            regions::Field::Queue => &regions.queue,
            regions::Field::RttUs => &regions.rtt_us,
            regions::Field::AgeMs => &regions.age_ms,
        };
        column.clone()
    }
}

impl request::Host for State {}

/// A handle is lent for one call only, so there is one request it can mean: the call's.
impl request::HostRequest for State {
    fn id(&mut self, _: Resource<RequestHandle>) -> u64 {
        self.look(Look::RequestId);
        self.call.facts.id
    }

    fn endpoint(&mut self, _: Resource<RequestHandle>) -> String {
        self.look(Look::Endpoint);
        self.call.facts.endpoint.clone()
    }

    fn model(&mut self, _: Resource<RequestHandle>) -> String {
        self.look(Look::Model);
        self.call.facts.model.clone()
    }

    fn tenant(&mut self, _: Resource<RequestHandle>) -> String {
        self.look(Look::Tenant);
        self.call.facts.tenant.clone()
    }

    fn session(&mut self, _: Resource<RequestHandle>) -> Option<String> {
        self.look(Look::Session);
        self.call.facts.session.clone()
    }

    fn priority(&mut self, _: Resource<RequestHandle>) -> u32 {
        self.look(Look::Priority);
        self.call.facts.priority
    }

    fn prompt_tokens_estimate(&mut self, _: Resource<RequestHandle>) -> u32 {
        self.look(Look::PromptTokens);
        self.call.facts.prompt_tokens_estimate
    }

    fn output_tokens_max(&mut self, _: Resource<RequestHandle>) -> u32 {
        self.look(Look::OutputTokens);
        self.call.facts.output_tokens_max
    }

    fn stream(&mut self, _: Resource<RequestHandle>) -> bool {
        self.look(Look::Stream);
        self.call.facts.stream
    }

    fn hop(&mut self, _: Resource<RequestHandle>) -> u32 {
        self.look(Look::Hop);
        self.call.facts.hop
    }

    fn prompt_bytes(&mut self, _: Resource<RequestHandle>) -> u32 {
        self.look(Look::PromptBytes);
        u32::try_from(self.call.facts.prompt.len()).unwrap_or(u32::MAX)
    }

    fn prompt(&mut self, _: Resource<RequestHandle>, offset: u32, bytes_max: u32) -> Vec<u8> {
        self.look(Look::Prompt);
        self.call.facts.prompt.range(offset as usize, bytes_max as usize)
    }

    fn tokens(&mut self, _: Resource<RequestHandle>) -> Vec<u32> {
        self.look(Look::Tokens);
        self.call.facts.tokens.clone()
    }

    fn block_hashes(&mut self, _: Resource<RequestHandle>) -> request::Hashes {
        self.look(Look::BlockHashes);
        let (low, high) = self.prefix(&self.call.facts).iter().map(|hash| halves(*hash).into()).unzip();
        request::Hashes { low, high }
    }

    fn block_hash_bytes(&mut self, _: Resource<RequestHandle>) -> Vec<u8> {
        self.look(Look::BlockHashes);
        self.prefix(&self.call.facts).iter().flat_map(|hash| hash.to_le_bytes()).collect()
    }

    fn header(&mut self, _: Resource<RequestHandle>, name: String) -> Option<String> {
        self.look(Look::Headers);
        self.call.facts.header(&name).map(str::to_owned)
    }

    fn header_names(&mut self, _: Resource<RequestHandle>) -> Vec<String> {
        self.look(Look::Headers);
        self.call.facts.headers.iter().map(|(name, _)| name.clone()).collect()
    }

    fn note(&mut self, _: Resource<RequestHandle>, note: Vec<u8>) {
        State::note(self, &note);
    }

    fn drop(&mut self, _: Resource<RequestHandle>) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl prefix_index::Host for State {
    fn match_replicas(&mut self, _: Resource<RequestHandle>) -> prefix_index::ReplicaMatches {
        self.hear(
            || Ask::MatchReplicas(Prefix::Request),
            |state| state.replica_matches(state.prefix(&state.call.facts)),
        )
    }

    fn match_regions(&mut self, _: Resource<RequestHandle>) -> prefix_index::RegionMatches {
        self.hear(|| Ask::MatchRegions(Prefix::Request), |state| state.region_matches(state.prefix(&state.call.facts)))
    }

    fn insert(&mut self, holder: types::Holder, _: Resource<RequestHandle>) {
        let holder = holder_of(holder);
        self.hear(
            || Ask::Insert { holder, prefix: Prefix::Request },
            |state| state.slot.prefix_index().insert(holder, state.prefix(&state.call.facts)),
        );
    }

    fn match_replicas_of(&mut self, prefix: request::Hashes) -> prefix_index::ReplicaMatches {
        let hashes = self.joined(&prefix);
        self.hear(|| Ask::MatchReplicas(Prefix::Hashes(hashes.clone())), |state| state.replica_matches(&hashes))
    }

    fn match_regions_of(&mut self, prefix: request::Hashes) -> prefix_index::RegionMatches {
        let hashes = self.joined(&prefix);
        self.hear(|| Ask::MatchRegions(Prefix::Hashes(hashes.clone())), |state| state.region_matches(&hashes))
    }

    fn insert_hashes(&mut self, holder: types::Holder, prefix: request::Hashes) {
        let (holder, hashes) = (holder_of(holder), self.joined(&prefix));
        self.hear(
            || Ask::Insert { holder, prefix: Prefix::Hashes(hashes.clone()) },
            |state| state.slot.prefix_index().insert(holder, &hashes),
        );
    }

    fn evict(&mut self, holder: types::Holder) {
        let holder = holder_of(holder);
        self.hear(|| Ask::Evict { holder }, |state| state.slot.prefix_index().evict(holder));
    }

    fn sizes(&mut self) -> prefix_index::IndexSizes {
        self.hear(
            || Ask::IndexSizes,
            |state| {
                let index = state.slot.prefix_index();
                prefix_index::IndexSizes {
                    blocks: u32::try_from(index.blocks_now()).unwrap_or(u32::MAX),
                    blocks_max: u32::try_from(index.blocks_max()).unwrap_or(u32::MAX),
                    evicted: index.evicted(),
                }
            },
        )
    }
}

impl State {
    /// The blocks of the request's prompt that one call may look at. Host functions are not interrupted by a
    /// deadline, so their work is bounded here.
    fn prefix<'a>(&self, facts: &'a RequestFacts) -> &'a [u64] {
        let hashes = facts.block_hashes();
        &hashes[..hashes.len().min(self.limits.prefix_blocks_per_call_max)]
    }

    fn joined(&self, prefix: &request::Hashes) -> Vec<u64> {
        let pairs = prefix.low.iter().zip(&prefix.high).take(self.limits.prefix_blocks_per_call_max);
        pairs.map(|(low, high)| u64::from(*high) << 32 | u64::from(*low)).collect()
    }

    fn replica_matches(&self, hashes: &[u64]) -> prefix_index::ReplicaMatches {
        let (replica, blocks) = self.slot.prefix_index().matches(hashes, Holder::replica);
        prefix_index::ReplicaMatches { replica, blocks }
    }

    fn region_matches(&self, hashes: &[u64]) -> prefix_index::RegionMatches {
        let (region, blocks) = self.slot.prefix_index().matches(hashes, Holder::region);
        prefix_index::RegionMatches { region, blocks }
    }

    fn fits_name(&self, name: &str) -> bool {
        name.len() <= self.limits.name_bytes_max
    }

    fn check_name(&self, name: &str) -> Result<(), buckets::Refusal> {
        if self.fits_name(name) { Ok(()) } else { Err(buckets::Refusal::NameTooLong) }
    }
}

fn holder_of(holder: types::Holder) -> Holder {
    match holder {
        types::Holder::Replica(id) => Holder::Replica(id),
        types::Holder::Region(id) => Holder::Region(id),
    }
}

impl buckets::Host for State {
    fn take(&mut self, name: String, shape: buckets::Shape, tokens: u32) -> Result<buckets::Taking, buckets::Refusal> {
        let buckets::Shape { tokens_max, tokens_per_minute } = shape;
        self.hear(
            || Ask::Take { name: name.clone(), tokens_max, tokens_per_minute, tokens },
            |state| {
                state.check_name(&name)?;
                let shape = Bucket::shape(tokens_max, tokens_per_minute);
                match state.slot.buckets().take(state.call.now_ms, &name, shape, tokens) {
                    Ok(Taking::Taken(left)) => Ok(buckets::Taking::Taken(left)),
                    Ok(Taking::WaitMs(ms)) => Ok(buckets::Taking::WaitMs(ms)),
                    Ok(Taking::Never) => Ok(buckets::Taking::Never),
                    Err(_full) => Err(buckets::Refusal::Full),
                }
            },
        )
    }

    fn give_back(&mut self, name: String, tokens: u32) {
        self.hear(
            || Ask::GiveBack { name: name.clone(), tokens },
            |state| state.slot.buckets().give_back(&name, tokens),
        );
    }

    fn charge(&mut self, name: String, tokens: u32) {
        self.hear(
            || Ask::Charge { name: name.clone(), tokens },
            |state| state.slot.buckets().charge(state.call.now_ms, &name, tokens),
        );
    }

    fn hold(&mut self, name: String, places: u32) -> Result<bool, buckets::Refusal> {
        self.hear(
            || Ask::Hold { name: name.clone(), places },
            |state| {
                state.check_name(&name)?;
                State::hold(state, &name, places).map_err(|_full| buckets::Refusal::Full)
            },
        )
    }

    fn held(&mut self, name: String) -> u32 {
        self.hear(|| Ask::Held { name: name.clone() }, |state| state.slot.buckets().places_taken(&name))
    }

    fn level(&mut self, name: String) -> Option<u32> {
        self.hear(|| Ask::Level { name: name.clone() }, |state| state.slot.buckets().level(state.call.now_ms, &name))
    }

    fn count(&mut self, name: String, delta: u64) -> Result<u64, buckets::Refusal> {
        self.hear(
            || Ask::Count { name: name.clone(), delta },
            |state| {
                state.check_name(&name)?;
                let before = state.slot.buckets().count(state.call.now_ms, &name, delta);
                before.map_err(|_full| buckets::Refusal::Full)
            },
        )
    }
}

impl store::Host for State {
    fn get(&mut self, key: String) -> Option<store::Entry> {
        self.hear(
            || Ask::Get { key: key.clone() },
            |state| {
                let entry = state.slot.store().get(&key)?;
                Some(store::Entry { value: entry.value, version: entry.version })
            },
        )
    }

    fn set(&mut self, key: String, value: Vec<u8>) -> Result<u64, store::Refusal> {
        let taped = self.tape.copy_of(&value);
        self.hear(
            || Ask::Set { key: key.clone(), value: taped },
            |state| {
                state.check_entry(&key, &value)?;
                state.slot.store().set(&key, value).map_err(store_refusal)
            },
        )
    }

    fn compare_and_set(&mut self, key: String, expected: u64, value: Vec<u8>) -> Result<u64, store::Refusal> {
        let taped = self.tape.copy_of(&value);
        self.hear(
            || Ask::CompareAndSet { key: key.clone(), expected, value: taped },
            |state| {
                state.check_entry(&key, &value)?;
                state.slot.store().compare_and_set(&key, expected, value).map_err(store_refusal)
            },
        )
    }

    fn remove(&mut self, key: String) -> bool {
        self.hear(|| Ask::Remove { key: key.clone() }, |state| state.slot.store().remove(&key))
    }
}

impl State {
    fn check_entry(&self, key: &str, value: &[u8]) -> Result<(), store::Refusal> {
        let fits = self.fits_name(key) && value.len() <= self.limits.store_value_bytes_max;
        if fits { Ok(()) } else { Err(store::Refusal::TooLong) }
    }
}

fn store_refusal(refusal: WriteRefusal) -> store::Refusal {
    match refusal {
        WriteRefusal::Conflict(version) => store::Refusal::Conflict(version),
        WriteRefusal::Full => store::Refusal::Full,
    }
}

impl chance::Host for State {
    fn next_u32(&mut self) -> u32 {
        self.chance().next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.chance().next_u64()
    }

    fn below(&mut self, bound: u32) -> u32 {
        self.chance().below(bound)
    }
}

impl clock::Host for State {
    fn now_ms(&mut self) -> u64 {
        self.look(Look::Clock);
        self.call.now_ms
    }
}

impl log::Host for State {
    fn log(&mut self, level: log::Level, line: String) {
        let level = match level {
            log::Level::Debug => Level::Debug,
            log::Level::Info => Level::Info,
            log::Level::Warn => Level::Warn,
            log::Level::Error => Level::Error,
        };
        State::log(self, level, &line);
    }
}

impl telemetry::Host for State {
    fn count(&mut self, name: String, delta: u64) {
        State::count(self, &name, delta);
    }

    fn gauge(&mut self, name: String, value: f64) {
        State::gauge(self, &name, value);
    }

    fn attribute(&mut self, name: String, value: String) {
        State::attribute(self, name, &value);
    }

    fn explain(&mut self, reason: String) {
        State::explain(self, reason);
    }
}

impl reply::Host for State {
    fn header(&mut self, name: String, value: String) {
        State::header(self, &name, &value);
    }
}
