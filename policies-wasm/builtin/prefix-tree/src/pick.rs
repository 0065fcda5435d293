//! The replica for a prompt: the longest match that no guard forbids, or the least load.

use headworks_policy::{Fleet, Prefix, Reason, least};

use crate::config::{Config, Rule};

/// The chosen replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its id.
    pub id: u32,
    load: u64,
    load_least: u64,
    cause: Cause,
}

/// Why this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It has seen so many blocks of the prompt.
    Match { blocks: u32 },
    /// Nobody has seen enough; the most anyone has.
    NoMatch { blocks: u32 },
    /// The loads are too far apart for matches to count.
    Imbalance { load_most: u64 },
    /// Those that have seen enough are too busy; the longest match among them.
    TooBusy { blocks: u32 },
}

/// The loads of the replicas that take work.
struct Loads {
    least: u64,
    most: u64,
    mean: f64,
    count: f64,
}

/// Chooses, or says none when no replica takes work. `below(n)` draws evenly from 0 to n - 1.
pub fn pick(fleet: &Fleet, prefix: &Prefix, config: &Config, below: impl FnOnce(u32) -> u32) -> Option<Pick> {
    let takers = || fleet.takers().iter().copied();
    let load = |row: usize| u64::from(fleet.running()[row]) + u64::from(fleet.waiting()[row]);
    let loads = Loads::of(takers().map(load))?;
    let picked = |row: usize, cause| Pick { id: fleet.id()[row], load: load(row), load_least: loads.least, cause };
    let fits = |row: &usize| prefix.held[*row] > 0 && prefix.reaches(*row, config.threshold_permille);
    let least_loaded = |cause, below| least(takers(), load, below).map(|row| picked(row, cause));

    if loads.are_too_far_apart(config.rule) {
        return least_loaded(Cause::Imbalance { load_most: loads.most }, below);
    }
    let bound = loads.bound(config.rule, || takers().map(load));
    // The longest match; the least load among equals, then the first.
    let found = takers()
        .filter(|row| fits(row) && load(*row) as f64 <= bound)
        .max_by_key(|row| (prefix.held[*row], std::cmp::Reverse((load(*row), *row))));
    match found {
        Some(row) => Some(picked(row, Cause::Match { blocks: prefix.held[row] })),
        None => {
            let busy = takers().filter(fits).map(|row| prefix.held[row]).max();
            let seen = || takers().map(|row| prefix.held[row]).max().unwrap_or_default();
            least_loaded(
                busy.map_or_else(|| Cause::NoMatch { blocks: seen() }, |blocks| Cause::TooBusy { blocks }),
                below,
            )
        }
    }
}

impl Loads {
    fn of(loads: impl Iterator<Item = u64>) -> Option<Loads> {
        let (mut least, mut most, mut total, mut count) = (u64::MAX, 0, 0, 0_u32);
        for load in loads {
            (least, most, total, count) = (least.min(load), most.max(load), total + load, count + 1);
        }
        let count = f64::from(count);
        (count > 0.0).then(|| Loads { least, most, mean: total as f64 / count, count })
    }

    /// Whether load alone counts now.
    fn are_too_far_apart(&self, rule: Rule) -> bool {
        let apart = self.most - self.least;
        match rule {
            Rule::Block { .. } => false,
            Rule::Sglang { abs, rel } => apart > u64::from(abs) && self.most as f64 > rel * self.least as f64,
            Rule::Aibrix { abs, .. } => apart > u64::from(abs),
        }
    }

    /// The load up to which a replica is chosen for its match.
    fn bound<L: Iterator<Item = u64>>(&self, rule: Rule, loads: impl Fn() -> L) -> f64 {
        match rule {
            Rule::Block { abs, rel } => self.mean * rel + f64::from(abs),
            Rule::Sglang { .. } => f64::INFINITY,
            Rule::Aibrix { std_factor, .. } => {
                let variance = loads().map(|load| (load as f64 - self.mean).powi(2)).sum::<f64>() / self.count;
                self.mean + std_factor * variance.sqrt()
            }
        }
    }
}

impl Pick {
    /// `12 of 16 blocks matched on 3, load 4, least 2`; where load decided: `5 has the least load 2: no match, at most 0
    /// of 16 blocks`.
    pub fn why(&self, blocks_all: u32) -> Reason {
        let Pick { id, load, load_least, cause } = *self;
        let of_all = |reason: Reason| reason.text(" of ").number(blocks_all).text(" blocks");
        let least = || Reason::of("").number(id).text(" has the least load ").number(load);
        match cause {
            Cause::Match { blocks } => {
                let matched = of_all(Reason::of("").number(blocks)).text(" matched on ").number(id);
                matched.text(", load ").number(load).text(", least ").number(load_least)
            }
            Cause::NoMatch { blocks } => of_all(least().text(": no match, at most ").number(blocks)),
            Cause::Imbalance { load_most } => least().text(": imbalance, up to ").number(load_most),
            Cause::TooBusy { blocks } => of_all(least().text(": too busy where ").number(blocks)).text(" matched"),
        }
    }
}

#[cfg(test)]
mod tests;
