//! What a store carries for its instance: the call it is in, its slot, its bounds.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use policy_api::{FleetView, Held, RequestFacts, Words};
use thiserror::Error;
use wasmtime::ResourceLimiter;

use crate::{
    Host, Level, Limits,
    chance::Chance,
    deadline::Deadline,
    recording::{Ask, Look},
    slot::{Full, Slot, is_metric_name, is_policy_header},
    tape::Tape,
};

/// Data of one instance's store.
pub(crate) struct State {
    pub(crate) slot: Arc<Slot>,
    pub(crate) host: Arc<dyn Host>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) call: CallState,
    /// What becomes of the call's questions; set before the call, taken after it.
    pub(crate) tape: Tape,
    deadline: Deadline,
    /// What a call without a request is about.
    no_facts: Arc<RequestFacts>,
    fleet_version: u64,
    memory: MemoryUse,
    table_elements_now: usize,
}

/// What one call sees and says.
pub(crate) struct CallState {
    pub(crate) now_ms: u64,
    pub(crate) facts: Arc<RequestFacts>,
    pub(crate) fleet: Arc<FleetView>,
    /// There is a request that it is about.
    pub(crate) has_request: bool,
    pub(crate) words: Words,
    /// The last line logged as an error: a guest's panic message comes this way.
    pub(crate) error_line: Option<String>,
    lines_left: u32,
    updates_left: u32,
    chance: Chance,
}

/// A place taken for a request, given back when the request's last trace of it is dropped.
struct HeldPlace {
    slot: Arc<Slot>,
    name: String,
}

impl Held for HeldPlace {}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        self.slot.buckets().give_place_back(&self.name);
    }
}

/// Linear memory of one instance, counted among all of its component's.
struct MemoryUse {
    bytes_now: usize,
    of_all: Arc<AtomicU64>,
}

impl MemoryUse {
    fn is_now(&mut self, bytes: usize) {
        self.of_all.fetch_add((bytes - self.bytes_now) as u64, Relaxed);
        self.bytes_now = bytes;
    }
}

impl Drop for MemoryUse {
    fn drop(&mut self) {
        self.of_all.fetch_sub(self.bytes_now as u64, Relaxed);
    }
}

/// An allocation was refused. Carried through wasmtime as the error that ends the call.
#[derive(Clone, Copy, Debug, Error)]
#[error("refused to grow beyond {bytes_max} bytes of memory")]
pub(crate) struct MemoryRefused {
    pub(crate) bytes_max: usize,
}

impl State {
    /// `memory_of_all` is how much memory all instances of the component have; this one's counts as long as it lives.
    pub(crate) fn new(
        slot: Arc<Slot>,
        host: Arc<dyn Host>,
        limits: Arc<Limits>,
        memory_of_all: Arc<AtomicU64>,
    ) -> State {
        let call = CallState {
            now_ms: 0,
            facts: Arc::default(),
            fleet: Arc::default(),
            has_request: false,
            words: Words::default(),
            error_line: None,
            lines_left: 0,
            updates_left: 0,
            chance: Chance::of(0),
        };
        State {
            slot,
            host,
            limits,
            call,
            tape: Tape::Off,
            deadline: Deadline::default(),
            no_facts: Arc::default(),
            fleet_version: 0,
            memory: MemoryUse { bytes_now: 0, of_all: memory_of_all },
            table_elements_now: 0,
        }
    }

    /// Makes ready for a call. Everything it may look at is set here, nothing is left of the call before.
    pub(crate) fn enter(
        &mut self,
        now_ms: u64,
        facts: Option<&Arc<RequestFacts>>,
        fleet: Option<&Arc<FleetView>>,
        chance_key: u64,
    ) {
        // By identity, not by the view's own version: a caller may show a request a changed view of the same version.
        if let Some(fleet) = fleet.filter(|fleet| !Arc::ptr_eq(&self.call.fleet, fleet)) {
            self.call.fleet = Arc::clone(fleet);
            self.fleet_version += 1;
        }
        self.call.has_request = facts.is_some();
        if let Some(facts) = facts {
            self.call.facts = Arc::clone(facts);
        }
        self.call.now_ms = now_ms;
        self.call.chance = Chance::of(chance_key);
        self.call.lines_left = self.limits.log_lines_per_call_max;
        self.call.updates_left = self.limits.metric_updates_per_call_max;
        self.call.words = Words::default();
        self.call.error_line = None;
    }

    /// Whether the call may go on.
    pub(crate) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// Lets go of the request, which may hold a large body.
    pub(crate) fn leave(&mut self) {
        self.call.facts = Arc::clone(&self.no_facts);
    }

    /// What the guest is told; moves when the view that it sees is another.
    pub(crate) fn fleet_version(&mut self) -> u64 {
        self.hear(|| Ask::FleetVersion, |state| state.fleet_version)
    }

    pub(crate) fn log(&mut self, level: Level, line: &str) {
        if self.call.lines_left == 0 {
            return;
        }
        self.call.lines_left -= 1;
        let line = bounded(line, self.limits.log_line_bytes_max);
        if level == Level::Error {
            self.call.error_line = Some(line.to_owned());
        }
        self.hear(|| Ask::Log { level, line: line.to_owned() }, |state| state.host.log(state.slot.name(), level, line));
    }

    pub(crate) fn count(&mut self, name: &str, delta: u64) {
        self.update(name, || Ask::Metric { name: name.to_owned(), delta }, |host, slot| host.count(slot, name, delta));
    }

    pub(crate) fn gauge(&mut self, name: &str, value: f64) {
        self.update(name, || Ask::Gauge { name: name.to_owned(), value }, |host, slot| host.gauge(slot, name, value));
    }

    pub(crate) fn attribute(&mut self, name: String, value: &str) {
        let fits =
            name.len() <= self.limits.name_bytes_max && self.call.words.attributes.len() < self.limits.attributes_max;
        if fits && is_metric_name(&name) {
            self.call.words.attributes.push((name, bounded(value, self.limits.attribute_bytes_max).to_owned()));
        }
    }

    pub(crate) fn explain(&mut self, mut reason: String) {
        reason.truncate(bounded(&reason, self.limits.reason_bytes_max).len());
        self.call.words.reason = Some(reason);
    }

    /// Drops what is too long: half a note would be read as another.
    pub(crate) fn note(&mut self, note: &[u8]) {
        if note.len() <= self.limits.note_bytes_max {
            self.call.words.note = Some(note.into());
        }
    }

    /// Sets a header of the client's answer, where its name and value are such that a policy may.
    pub(crate) fn header(&mut self, name: &str, value: &str) {
        let name = name.to_ascii_lowercase();
        let fits = name.len() <= self.limits.name_bytes_max && value.len() <= self.limits.header_bytes_max;
        if !fits || !is_policy_header(&name) || !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return;
        }
        let headers = &mut self.call.words.headers;
        if let Some((_, old)) = headers.iter_mut().find(|(known, _)| *known == name) {
            value.clone_into(old);
        } else if headers.len() < self.limits.headers_max {
            headers.push((name, value.to_owned()));
        }
    }

    /// Takes a place until the request of this call ends.
    pub(crate) fn hold(&mut self, name: &str, places: u32) -> Result<bool, Full> {
        if !self.call.has_request || self.call.words.holds.len() >= self.limits.holds_per_call_max {
            return Ok(false);
        }
        let taken = self.slot.buckets().take_place(self.call.now_ms, name, places)?;
        if taken {
            self.call.words.holds.push(Arc::new(HeldPlace { slot: Arc::clone(&self.slot), name: name.to_owned() }));
        }
        Ok(taken)
    }

    pub(crate) fn chance(&mut self) -> &mut Chance {
        self.look(Look::Chance);
        &mut self.call.chance
    }

    /// Changes a metric, where there may be one of this name and it may change once more in this call.
    fn update(&mut self, name: &str, ask: impl FnOnce() -> Ask, change: impl FnOnce(&dyn Host, &str)) {
        if self.call.updates_left == 0 || name.len() > self.limits.name_bytes_max {
            return;
        }
        self.call.updates_left -= 1;
        self.hear(ask, |state| {
            if state.slot.admits_metric(name) {
                change(&*state.host, state.slot.name());
            }
        });
    }
}

impl ResourceLimiter for State {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let bytes = self.memory.bytes_now.saturating_add(desired - current);
        if bytes > self.limits.memory_bytes_max {
            return Err(MemoryRefused { bytes_max: self.limits.memory_bytes_max }.into());
        }
        self.memory.is_now(bytes);
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let elements = self.table_elements_now.saturating_add(desired - current);
        let fits = elements <= self.limits.table_elements_max;
        if fits {
            self.table_elements_now = elements;
        }
        Ok(fits)
    }
}

/// Low and high 32 bits.
pub(crate) fn halves(value: u64) -> [u32; 2] {
    [(value & u64::from(u32::MAX)) as u32, (value >> 32) as u32]
}

/// `text` cut to at most `bytes_max` bytes, between characters.
pub(crate) fn bounded(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(bounded("aüb", 2), "a");
        assert_eq!(bounded("aüb", 3), "aü");
        assert_eq!(bounded("aüb", 30), "aüb");
    }

    struct Deaf;

    impl Host for Deaf {
        fn now_ms(&self) -> u64 {
            0
        }
        fn log(&self, _slot: &str, _level: Level, _line: &str) {}
        fn count(&self, _slot: &str, _name: &str, _delta: u64) {}
        fn gauge(&self, _slot: &str, _name: &str, _value: f64) {}
    }

    #[test]
    fn an_attribute_is_named_as_a_metric_is() {
        let limits = Arc::new(Limits::default());
        let mut state = State::new(Arc::new(Slot::new("slot", &limits)), Arc::new(Deaf), limits, Arc::default());
        for name in ["cost_1", "", "Cost", "a b", "a.b", "a\nb", "\u{e9}"] {
            state.attribute(name.to_owned(), "1");
        }
        assert_eq!(state.call.words.attributes, [("cost_1".to_owned(), "1".to_owned())]);
    }
}
