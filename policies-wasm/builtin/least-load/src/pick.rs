//! Which of the compared replicas has the least to do, and why.

use std::fmt::Write as _;

use headworks_policy::Fleet;

use crate::config::Scan;

/// Replicas that a reason lists; with more it would not be read.
const LISTED_MAX: usize = 4;

/// The chosen replica.
#[derive(Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its id.
    pub id: u32,
    /// One sentence.
    pub why: String,
}

/// What a replica has to do. Requests count first; KV use tells equals apart, since a replica short of blocks will
/// preempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Load {
    requests: u32,
    kv_used_permille: u32,
}

/// A replica that takes work.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    id: u32,
    load: Load,
}

/// The least loaded of the replicas that are compared, or none when no replica takes work. `below(n)` draws evenly
/// from 0 to n - 1.
pub fn pick(fleet: &Fleet, scan: Scan, mut below: impl FnMut(u32) -> u32) -> Option<Pick> {
    let mut candidates: Vec<Candidate> = fleet
        .rows()
        .filter(|row| fleet.takes_work(*row))
        .map(|row| Candidate { id: fleet.id()[row], load: Load::of(fleet, row) })
        .collect();
    if scan == Scan::Two && candidates.len() > 2 {
        candidates = two_of(&candidates, &mut below);
    }
    let least = candidates.iter().map(|candidate| candidate.load).min()?;
    let mut equals = candidates.iter().filter(|candidate| candidate.load == least);
    // Among equals by chance: the first in the list would get every request of an idle fleet.
    let drawn = match equals.clone().count() {
        1 => 0,
        count => below(count as u32),
    };
    let id = equals.nth(drawn as usize)?.id;
    Some(Pick { id, why: why(&candidates, least) })
}

/// Two different ones.
fn two_of(candidates: &[Candidate], below: &mut impl FnMut(u32) -> u32) -> Vec<Candidate> {
    let count = candidates.len() as u32;
    let first = below(count);
    let second = (first + 1 + below(count - 1)) % count;
    vec![candidates[first as usize], candidates[second as usize]]
}

impl Load {
    fn of(fleet: &Fleet, row: usize) -> Load {
        let (used, total) = (u64::from(fleet.kv_blocks_used()[row]), u64::from(fleet.kv_blocks_total()[row]));
        Load {
            requests: fleet.running()[row].saturating_add(fleet.waiting()[row]),
            kv_used_permille: (used * 1000).checked_div(total).map_or(0, |permille| permille.min(1000) as u32),
        }
    }
}

/// `lowest load 1 of 0=1, 3=4`; where KV use decided: `lowest load 1 and KV use 20‰ of 0=1 (20‰), 3=1 (50‰)`.
fn why(candidates: &[Candidate], least: Load) -> String {
    let [only] = candidates else {
        let kv_decided = candidates.iter().any(|other| {
            other.load.requests == least.requests && other.load.kv_used_permille != least.kv_used_permille
        });
        return if kv_decided { why_by_kv(candidates, least) } else { why_by_requests(candidates, least) };
    };
    format!("the only one that takes work, load {}", only.load.requests)
}

fn why_by_requests(candidates: &[Candidate], least: Load) -> String {
    let listed = list(candidates, |why, load| write!(why, "{}", load.requests));
    format!("lowest load {} of {listed}", least.requests)
}

fn why_by_kv(candidates: &[Candidate], least: Load) -> String {
    let listed = list(candidates, |why, load| write!(why, "{} ({}‰)", load.requests, load.kv_used_permille));
    format!("lowest load {} and KV use {}‰ of {listed}", least.requests, least.kv_used_permille)
}

fn list(candidates: &[Candidate], show: fn(&mut String, Load) -> std::fmt::Result) -> String {
    let mut listed = String::new();
    for (at, candidate) in candidates.iter().take(LISTED_MAX).enumerate() {
        let comma = if at == 0 { "" } else { ", " };
        write!(listed, "{comma}{}=", candidate.id)
            .and_then(|()| show(&mut listed, candidate.load))
            .expect("a String takes every write");
    }
    match candidates.len().checked_sub(LISTED_MAX) {
        Some(more @ 1..) => listed + &format!(" and {more} more"),
        _ => listed,
    }
}

#[cfg(test)]
mod tests;
