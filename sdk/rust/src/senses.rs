//! What the host lends besides the request and the fleet.

/// Token buckets and counters, exact across instances and swaps. Inside a component only.
pub use crate::bindings::senses::headworks::policy::buckets;
/// Chance that replays. Inside a component only.
pub use crate::bindings::senses::headworks::policy::chance;
/// Monotonic milliseconds. Inside a component only.
pub use crate::bindings::senses::headworks::policy::clock;
/// Who has seen which prefix. Inside a component only; wants [`crate::Request::handle`].
pub use crate::bindings::senses::headworks::policy::prefix_index;
/// Small values with versions. Inside a component only.
pub use crate::bindings::senses::headworks::policy::store;

/// What the client's answer carries besides; silent in a test.
pub mod reply {
    use crate::bindings::senses::headworks::policy::reply as wit;

    /// Sets a header of the answer, whether the request is served or turned away. Names begin with `x-`.
    pub fn header(name: &str, value: &str) {
        if cfg!(target_family = "wasm") {
            wit::header(name, value);
        }
    }
}

/// Lines for the operator; silent in a test.
pub mod log {
    use crate::bindings::senses::headworks::policy::log as wit;

    pub use wit::Level;

    /// Writes a line. Long lines are cut; the lines of one call are bounded.
    pub fn log(level: Level, line: &str) {
        if cfg!(target_family = "wasm") {
            wit::log(level, line);
        }
    }
}

/// What a policy shows of itself; silent in a test.
pub mod telemetry {
    use crate::bindings::senses::headworks::policy::telemetry as wit;

    /// Adds to a counter.
    pub fn count(name: &str, delta: u64) {
        if cfg!(target_family = "wasm") {
            wit::count(name, delta);
        }
    }

    /// Sets a gauge.
    pub fn gauge(name: &str, value: f64) {
        if cfg!(target_family = "wasm") {
            wit::gauge(name, value);
        }
    }

    /// Attaches an attribute to the trace's span of this call.
    pub fn attribute(name: &str, value: &str) {
        if cfg!(target_family = "wasm") {
            wit::attribute(name, value);
        }
    }

    /// Says why, in one sentence. Shown beside the decision. The last one counts.
    pub fn explain(reason: &str) {
        if cfg!(target_family = "wasm") {
            wit::explain(reason);
        }
    }
}

/// The signatures that the README and the guide give.
#[cfg(test)]
const _: () = {
    use buckets::{Shape, Taking};
    use store::Entry;

    let _: fn(&str, Shape, u32) -> Result<Taking, buckets::Refusal> = buckets::take;
    let _: [fn(&str, u32); 2] = [buckets::give_back, buckets::charge];
    let _: fn(&str) -> Option<u32> = buckets::level;
    let _: fn(&str, u32) -> Result<bool, buckets::Refusal> = buckets::hold;
    let _: fn(&str) -> u32 = buckets::held;
    let _: fn(&str, u64) -> Result<u64, buckets::Refusal> = buckets::count;
    let _: fn(&str) -> Option<Entry> = store::get;
    let _: fn(&str, &[u8]) -> Result<u64, store::Refusal> = store::set;
    let _: fn(&str, u64, &[u8]) -> Result<u64, store::Refusal> = store::compare_and_set;
    let _: fn(&str) -> bool = store::remove;
    let _: fn() -> u32 = chance::next_u32;
    let _: fn() -> u64 = chance::next_u64;
    let _: fn(u32) -> u32 = chance::below;
    let _: fn() -> u64 = clock::now_ms;
};
