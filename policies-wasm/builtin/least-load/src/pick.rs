//! Which of the compared replicas has the least to do, and why.

use headworks_policy::{Fleet, Reason};

use crate::config::Scan;

/// Replicas that a reason lists; with more it would not be read.
const LISTED_MAX: usize = 4;

/// The chosen replica.
#[derive(Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its id.
    pub id: u32,
    /// One sentence.
    pub why: Reason,
}

/// What replicas have to do, by row. Requests count first; KV use tells equals apart, since a replica short of blocks
/// will preempt.
struct Loads<'a> {
    fleet: &'a Fleet,
    running: &'a [u32],
    waiting: &'a [u32],
}

/// The fewest requests, and the rows that have no more.
struct Fewest {
    requests: u32,
    rows: Vec<usize>,
}

/// The least loaded of the replicas that are compared, or none when no replica takes work. `below(n)` draws evenly
/// from 0 to n - 1.
pub fn pick(fleet: &Fleet, scan: Scan, mut below: impl FnMut(u32) -> u32) -> Option<Pick> {
    match scan {
        Scan::All => least_of(fleet, fleet.takers(), below),
        Scan::Two => match two_of(fleet, &mut below) {
            Some(two) => least_of(fleet, &two, below),
            None => least_of(fleet, fleet.takers(), below),
        },
    }
}

/// Two different ones that take work; none where there are no more than two. Drawn from all replicas, as mostly all of
/// them take work; only when one does not, those that do are counted.
fn two_of(fleet: &Fleet, below: &mut impl FnMut(u32) -> u32) -> Option<[usize; 2]> {
    if fleet.len() <= 2 {
        return None;
    }
    let two = draw_two(fleet.len(), below);
    if two.into_iter().all(|row| fleet.takes_work(row)) {
        return Some(two);
    }
    let takers = fleet.takers();
    (takers.len() > 2).then(|| draw_two(takers.len(), below).map(|at| takers[at]))
}

/// Two different numbers below `count`.
fn draw_two(count: usize, below: &mut impl FnMut(u32) -> u32) -> [usize; 2] {
    let count = count as u32;
    let first = below(count);
    let second = (first + 1 + below(count - 1)) % count;
    [first as usize, second as usize]
}

fn least_of(fleet: &Fleet, rows: &[usize], mut below: impl FnMut(u32) -> u32) -> Option<Pick> {
    let loads = Loads { fleet, running: fleet.running(), waiting: fleet.waiting() };
    let Fewest { requests, rows: alike } = loads.fewest_requests(rows)?;
    // Only equals are told apart by their KV use: it costs a division each.
    let kv: Vec<u32> = match alike.len() {
        1 => vec![],
        _ => alike.iter().map(|row| loads.kv_used_permille(*row)).collect(),
    };
    let kv_least = kv.iter().copied().min().unwrap_or_default();
    let mut equals = kv.iter().zip(&alike).filter(|(kv, _)| **kv == kv_least).map(|(_, row)| *row);
    // Among equals by chance: the first in the list would get every request of an idle fleet.
    let row = match equals.clone().count() {
        0 => alike[0],
        1 => equals.next()?,
        count => equals.nth(below(count as u32) as usize)?,
    };
    let kv_decided = kv.iter().any(|kv| *kv != kv_least).then_some(kv_least);
    Some(Pick { id: fleet.id()[row], why: loads.why(rows, requests, kv_decided) })
}

impl Loads<'_> {
    fn requests(&self, row: usize) -> u32 {
        self.running[row].saturating_add(self.waiting[row])
    }

    fn kv_used_permille(&self, row: usize) -> u32 {
        let (used, total) = (u64::from(self.fleet.kv_blocks_used()[row]), u64::from(self.fleet.kv_blocks_total()[row]));
        (used * 1000).checked_div(total).map_or(0, |permille| permille.min(1000) as u32)
    }

    /// The fewest requests of any of these rows.
    fn fewest_requests(&self, rows: &[usize]) -> Option<Fewest> {
        let (first, others) = rows.split_first()?;
        let mut fewest = Fewest { requests: self.requests(*first), rows: vec![*first] };
        for row in others {
            let requests = self.requests(*row);
            if requests < fewest.requests {
                fewest.requests = requests;
                fewest.rows.clear();
            }
            if requests == fewest.requests {
                fewest.rows.push(*row);
            }
        }
        Some(fewest)
    }

    /// `lowest load 1 of 0=1, 3=4`; where KV use decided: `lowest load 1 and KV use 20‰ of 0=1 (20‰), 3=1 (50‰)`.
    fn why(&self, rows: &[usize], requests: u32, kv_decided: Option<u32>) -> Reason {
        if let [_] = rows {
            return Reason::of("the only one that takes work, load ").number(requests);
        }
        let mut why = Reason::of("lowest load ").number(requests);
        if let Some(permille) = kv_decided {
            why = why.text(" and KV use ").number(permille).text("‰");
        }
        for (at, row) in rows.iter().take(LISTED_MAX).enumerate() {
            why = why.text(if at == 0 { " of " } else { ", " }).number(self.fleet.id()[*row]);
            why = why.text("=").number(self.requests(*row));
            if kv_decided.is_some() {
                why = why.text(" (").number(self.kv_used_permille(*row)).text("‰)");
            }
        }
        match rows.len().checked_sub(LISTED_MAX) {
            Some(more @ 1..) => why.text(" and ").number(more as u64).text(" more"),
            _ => why,
        }
    }
}

#[cfg(test)]
mod tests;
