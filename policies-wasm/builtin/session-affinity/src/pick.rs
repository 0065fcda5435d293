//! The first replica from a key on whose load is below its bound, and why.

use headworks_policy::Fleet;

use crate::ring::Ring;

/// The chosen replica.
#[derive(Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its id.
    pub id: u32,
    load: u64,
    bound: u64,
    /// Where the key is at home, when that is another replica, and why not there.
    home: Option<(u32, NotHome)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NotHome {
    TakesNoWork,
    Full,
}

/// The loads that bounds follow from: of the replicas that take work, as if this request were there already.
struct Loads {
    requests: u64,
    weight: u64,
    factor_permille: u32,
}

/// The replica for a key, or none when no replica takes work. Full ones are passed over; since the bounds together
/// exceed all loads, one always has room.
pub fn pick(ring: &Ring, fleet: &Fleet, key: u64, factor_permille: u32) -> Option<Pick> {
    let loads = Loads::of(fleet, factor_permille)?;
    let mut home = None;
    for row in ring.from(key) {
        let id = fleet.id()[row];
        if !fleet.takes_work(row) {
            home.get_or_insert((id, NotHome::TakesNoWork));
            continue;
        }
        let (load, bound) = (load_of(fleet, row), loads.bound(fleet.weight()[row]));
        if load < bound {
            return Some(Pick { id, load, bound, home: home.filter(|(home, _)| *home != id) });
        }
        home.get_or_insert((id, NotHome::Full));
    }
    None
}

impl Loads {
    fn of(fleet: &Fleet, factor_permille: u32) -> Option<Loads> {
        let (mut requests, mut weight) = (1, 0);
        for row in fleet.rows().filter(|row| fleet.takes_work(*row)) {
            requests += load_of(fleet, row);
            weight += u64::from(fleet.weight()[row].max(1));
        }
        (weight > 0).then_some(Loads { requests, weight, factor_permille })
    }

    /// A replica's fair share times the factor, rounded up.
    fn bound(&self, weight: u32) -> u64 {
        let share = u128::from(self.factor_permille) * u128::from(self.requests) * u128::from(weight.max(1));
        u64::try_from(share.div_ceil(1000 * u128::from(self.weight))).unwrap_or(u64::MAX)
    }
}

fn load_of(fleet: &Fleet, row: usize) -> u64 {
    u64::from(fleet.running()[row]) + u64::from(fleet.waiting()[row])
}

impl Pick {
    /// `by session: its home 3, load 2 below 5`, or where it is not at home:
    /// `by session: 5, load 1 below 5; its home 3 is full`.
    pub fn why(&self, kind: &str) -> String {
        let Pick { id, load, bound, home } = self;
        match home {
            None => format!("by {kind}: its home {id}, load {load} below {bound}"),
            Some((home, NotHome::Full)) => {
                format!("by {kind}: {id}, load {load} below {bound}; its home {home} is full")
            }
            Some((home, NotHome::TakesNoWork)) => {
                format!("by {kind}: {id}, load {load} below {bound}; its home {home} takes no work")
            }
        }
    }
}

#[cfg(test)]
mod tests;
