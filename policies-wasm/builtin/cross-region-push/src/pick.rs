//! A local replica with room, else a region that has one, else the wait; and why.

use std::{cmp::Reverse, fmt};

use headworks_policy::{Fleet, Prefix, least};

use crate::config::{Config, Room};

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// By its id.
    Replica(u32),
    /// By its id.
    Region(u32),
    /// Nowhere yet.
    Hold,
}

/// Whether another proxy has forwarded the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// It came from a client.
    First,
    /// It may not be forwarded again: two regions would send it to and fro.
    Forwarded,
}

/// Why there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A local replica has seen so much of the prompt.
    LocalMatch {
        /// Which.
        id: u32,
        /// Seen.
        blocks: u32,
        /// In all.
        of: u32,
    },
    /// Nobody local has seen enough.
    LocalLeast {
        /// Which.
        id: u32,
        /// Its running and waiting requests.
        load: u64,
        /// Local replicas with room.
        with_room: u32,
    },
    /// No local replica has room; a region has seen so much of the prompt.
    RegionMatch {
        /// Which.
        id: u32,
        /// Seen.
        blocks: u32,
        /// In all.
        of: u32,
    },
    /// No region has seen enough.
    RegionNearest {
        /// Which.
        id: u32,
        /// How far.
        rtt_us: u32,
    },
    /// Nobody has room whom it may go to.
    Full {
        /// Whether that is because it was forwarded already.
        hop: Hop,
    },
}

/// Where a request goes; none when there is nobody it could wait for. The matches are asked for when they are needed.
/// `below(n)` draws evenly from 0 to n - 1.
pub fn pick(
    fleet: &Fleet,
    hop: Hop,
    config: &Config,
    replicas: impl FnOnce() -> Prefix,
    regions: impl FnOnce() -> Prefix,
    below: impl FnOnce(u32) -> u32,
) -> Option<(Target, Why)> {
    let own = own_region(fleet);
    let takers =
        || fleet.rows().filter(|row| fleet.takes_work(*row) && own.is_none_or(|own| fleet.region()[*row] == own));
    if takers().any(|row| has_room(fleet, row, config.room)) {
        let with_room = takers().filter(|row| has_room(fleet, *row, config.room));
        return local(fleet, with_room, config, &replicas(), below);
    }
    if hop == Hop::First
        && let Some(region) = remote(fleet, config, regions)
    {
        return Some(region);
    }
    let may_come_free = takers().next().is_some() || (hop == Hop::First && others(fleet).next().is_some());
    may_come_free.then_some((Target::Hold, Why::Full { hop }))
}

fn local(
    fleet: &Fleet,
    with_room: impl Iterator<Item = usize> + Clone,
    config: &Config,
    prefix: &Prefix,
    below: impl FnOnce(u32) -> u32,
) -> Option<(Target, Why)> {
    let matching = with_room
        .clone()
        .filter(|row| prefix.held[*row] > 0 && prefix.reaches(*row, config.threshold_permille))
        .max_by_key(|row| (prefix.held[*row], Reverse((load_of(fleet, *row), *row))));
    if let Some(row) = matching {
        let id = fleet.id()[row];
        return Some((Target::Replica(id), Why::LocalMatch { id, blocks: prefix.held[row], of: prefix.blocks }));
    }
    let row = least(with_room.clone(), |row| load_of(fleet, row), below)?;
    let (id, with_room) = (fleet.id()[row], with_room.count() as u32);
    Some((Target::Replica(id), Why::LocalLeast { id, load: load_of(fleet, row), with_room }))
}

fn remote(fleet: &Fleet, config: &Config, prefix: impl FnOnce() -> Prefix) -> Option<(Target, Why)> {
    let regions = fleet.regions();
    let open = others(fleet).filter(|row| {
        regions.available()[*row] > 0
            && regions.queue()[*row] <= config.queue_max
            && regions.age_ms()[*row] <= config.region_age_ms_max
    });
    // Without a match: the nearest, then the one with the shortest queue.
    let distance = |row: usize| (regions.rtt_us()[row], regions.queue()[row], row);
    let nearest = open.clone().min_by_key(|row| distance(*row))?;
    let prefix = prefix();
    let matching = open
        .filter(|row| prefix.held[*row] > 0 && prefix.reaches(*row, config.threshold_permille))
        .max_by_key(|row| (prefix.held[*row], Reverse(distance(*row))));
    let row = matching.unwrap_or(nearest);
    let id = regions.id()[row];
    let why = match matching {
        Some(_) => Why::RegionMatch { id, blocks: prefix.held[row], of: prefix.blocks },
        None => Why::RegionNearest { id, rtt_us: regions.rtt_us()[row] },
    };
    Some((Target::Region(id), why))
}

/// The rows of the regions that are not ours.
fn others(fleet: &Fleet) -> impl Iterator<Item = usize> + Clone {
    let local = fleet.regions().local();
    (0..local.len()).filter(|row| local[*row] == 0)
}

/// The id of our own region, where there are regions.
fn own_region(fleet: &Fleet) -> Option<u32> {
    let regions = fleet.regions();
    regions.local().iter().position(|local| *local != 0).map(|row| regions.id()[row])
}

fn has_room(fleet: &Fleet, row: usize, room: Room) -> bool {
    match room {
        Room::NothingPending => fleet.waiting()[row] == 0,
        Room::Below { outstanding_max } => load_of(fleet, row) < u64::from(outstanding_max),
    }
}

fn load_of(fleet: &Fleet, row: usize) -> u64 {
    u64::from(fleet.running()[row]) + u64::from(fleet.waiting()[row])
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::LocalMatch { id, blocks, of } => write!(f, "local: {blocks} of {of} blocks matched on {id}"),
            Why::LocalLeast { id, load, with_room } => {
                write!(f, "local: {id} has the least load {load} of {with_room} with room, no match")
            }
            Why::RegionMatch { id, blocks, of } => {
                write!(f, "no room here: {blocks} of {of} blocks matched in region {id}")
            }
            Why::RegionNearest { id, rtt_us } => {
                write!(f, "no room here: region {id} is the nearest, {:.1} ms away, no match", f64::from(*rtt_us) / 1e3)
            }
            Why::Full { hop: Hop::First } => write!(f, "no room here, nor in another region: held"),
            Why::Full { hop: Hop::Forwarded } => write!(f, "no room here, and it was forwarded once already: held"),
        }
    }
}

#[cfg(test)]
mod tests;
