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
