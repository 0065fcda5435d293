//! Sends each request to the next replica in turn.

use headworks_policy::{Fleet, Mode, Place, Placement, Policy, Reason, Request, buckets, telemetry};

/// Keeps nothing itself: the turn is the host's counter, exact across instances and swaps.
#[derive(Debug, Default)]
pub struct RoundRobin;

impl Policy for RoundRobin {
    const NAME: &str = "round-robin";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Pooled;
}

impl Place for RoundRobin {
    fn place(&mut self, _request: &Request<'_>, fleet: &Fleet) -> Placement {
        pick(fleet, || buckets::count("turn", 1).unwrap_or_default())
    }
}

headworks_policy::export!(RoundRobin: place);

/// The replica whose turn it is among those that take work. The turn is not taken when there is none.
fn pick(fleet: &Fleet, turn: impl FnOnce() -> u64) -> Placement {
    let takers = fleet.takers();
    if takers.is_empty() {
        return Placement::Pass;
    }
    let count = takers.len() as u64;
    let place = turn() % count;
    telemetry::explain(
        &Reason::of("next in turn: ").number(place + 1).text(" of ").number(count).text(" that take work"),
    );
    Placement::Replica(fleet.id()[takers[place as usize]])
}

#[cfg(test)]
mod tests;
