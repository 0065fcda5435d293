//! How free each replica is, and which is the freest.

use headworks_policy::{Fleet, least};

use crate::config::Config;

/// The chosen replica.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// Its id.
    pub id: u32,
    freeness: Freeness,
}

/// (M - ΣV) / B, in KV blocks for each request of the batch: about the steps that the replica can decode before it is out
/// of blocks, in units of a block's tokens. Negative where more is asked for than there is.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Freeness {
    blocks_free: f64,
    batch: f64,
}

/// Chooses, or says none when no replica takes work: one that is leaving has a freeness of minus infinity. `tokens` is
/// what this request's prompt needs, `runs_urgent(id)` whether urgent requests run there; `below(n)` draws evenly from 0
/// to n - 1.
pub fn pick(
    fleet: &Fleet,
    tokens: u32,
    config: &Config,
    runs_urgent: impl Fn(u32) -> bool,
    below: impl FnOnce(u32) -> u32,
) -> Option<Pick> {
    let of = |row: usize| Freeness::of(fleet, row, tokens, config, &runs_urgent);
    let takers = fleet.rows().filter(|row| fleet.takes_work(*row));
    let row = least(takers, |row| -of(row).value(), below)?;
    Some(Pick { id: fleet.id()[row], freeness: of(row) })
}

impl Freeness {
    fn of(fleet: &Fleet, row: usize, tokens: u32, config: &Config, runs_urgent: impl Fn(u32) -> bool) -> Freeness {
        let blocks = |tokens: u32| f64::from(tokens.div_ceil(config.block_tokens));
        let (running, waiting) = (fleet.running()[row], fleet.waiting()[row]);
        let requests = f64::from(running) + f64::from(waiting);
        let batch = requests.max(1.0);
        let total = fleet.kv_blocks_total()[row];
        if total == 0 {
            // It does not say: no freer than a full one, and the less so the more it has to do.
            return Freeness { blocks_free: -requests * batch, batch };
        }
        // What waits for its first token is asked for whole. Requests that others sent are not in `prefill_tokens`; each
        // counts as this one.
        let asked = blocks(fleet.prefill_tokens()[row]).max(f64::from(waiting) * blocks(tokens));
        let headroom = if runs_urgent(fleet.id()[row]) { blocks(config.headroom_tokens) } else { 0.0 };
        let used = f64::from(fleet.kv_blocks_used()[row]) + asked + headroom;
        Freeness { blocks_free: f64::from(total) - used, batch }
    }

    fn value(self) -> f64 {
        self.blocks_free / self.batch
    }
}

impl Pick {
    /// `3 is the freest: 480 blocks for a batch of 4, 120.0 each`.
    pub fn why(&self) -> String {
        let Pick { id, freeness } = self;
        let Freeness { blocks_free, batch } = freeness;
        format!("{id} is the freest: {blocks_free} blocks for a batch of {batch}, {:.1} each", freeness.value())
    }
}

#[cfg(test)]
mod tests {
    use headworks_policy::{Health, Replica};
    use proptest::prelude::*;

    use super::*;

    fn replica(id: u32, running: u32, kv_blocks_used: u32) -> Replica {
        Replica { id, running, kv_blocks_used, kv_blocks_total: 1000, ..Replica::default() }
    }

    #[track_caller]
    fn check(replicas: &[Replica], urgent: &[u32], expected: Option<&str>) {
        let runs_urgent = |id| urgent.contains(&id);
        let pick = pick(&Fleet::of(replicas, &[]), 160, &Config::default(), runs_urgent, |_| 0);
        assert_eq!(pick.map(|pick| pick.why()).as_deref(), expected);
    }

    #[test]
    fn free_blocks_are_shared_by_the_batch() {
        check(
            &[replica(0, 8, 200), replica(1, 4, 500), replica(2, 9, 100)],
            &[],
            Some("1 is the freest: 500 blocks for a batch of 4, 125.0 each"),
        );
    }

    #[test]
    fn an_idle_replica_has_all_its_blocks() {
        check(
            &[replica(0, 1, 1), replica(1, 0, 0)],
            &[],
            Some("1 is the freest: 1000 blocks for a batch of 1, 1000.0 each"),
        );
    }

    #[test]
    fn what_waits_is_asked_for_whole() {
        let queued = Replica { waiting: 2, prefill_tokens: 8000, ..replica(0, 2, 100) };
        check(&[queued, replica(1, 4, 500)], &[], Some("1 is the freest: 500 blocks for a batch of 4, 125.0 each"));
        let unheard_of = Replica { waiting: 2, ..replica(0, 2, 100) };
        check(&[unheard_of], &[], Some("0 is the freest: 880 blocks for a batch of 4, 220.0 each"));
    }

    #[test]
    fn urgent_requests_keep_others_away() {
        let two = [replica(0, 4, 100), replica(1, 4, 150)];
        check(&two, &[], Some("0 is the freest: 900 blocks for a batch of 4, 225.0 each"));
        check(&two, &[0], Some("1 is the freest: 850 blocks for a batch of 4, 212.5 each"));
        check(&two, &[0, 1], Some("0 is the freest: 800 blocks for a batch of 4, 200.0 each"));
    }

    #[test]
    fn one_that_is_leaving_or_ill_is_not_free_at_all() {
        let leaving = [
            Replica { draining: true, ..replica(0, 0, 0) },
            Replica { health: Health::Unhealthy, ..replica(1, 0, 0) },
            replica(2, 50, 2000),
        ];
        check(&leaving, &[], Some("2 is the freest: -1000 blocks for a batch of 50, -20.0 each"));
        check(&leaving[..2], &[], None);
    }

    #[test]
    fn those_that_do_not_say_their_blocks_come_after_those_that_have_some_and_the_idle_first() {
        let silent = |id, running| Replica { kv_blocks_total: 0, ..replica(id, running, 0) };
        check(&[silent(0, 0), replica(1, 9, 990)], &[], Some("1 is the freest: 10 blocks for a batch of 9, 1.1 each"));
        check(&[silent(0, 3), silent(1, 2)], &[], Some("1 is the freest: -4 blocks for a batch of 2, -2.0 each"));
    }

    #[test]
    fn equals_are_drawn_from() {
        let fleet = Fleet::of(&[replica(0, 1, 1), replica(1, 1, 1), replica(2, 1, 1)], &[]);
        assert_eq!(pick(&fleet, 1, &Config::default(), |_| false, |bound| bound - 1).unwrap().id, 2);
    }

    proptest! {
        #[test]
        fn nobody_is_freer(
            rows in proptest::collection::vec((0_u32..40, 0_u32..4, 0_u32..1200, any::<bool>(), any::<bool>()), 1..12),
        ) {
            let replicas: Vec<Replica> = (0..)
                .zip(&rows)
                .map(|(id, (running, waiting, used, draining, _))| {
                    Replica { waiting: *waiting, draining: *draining, ..replica(id, *running, *used) }
                })
                .collect();
            let runs_urgent = |id: u32| rows[id as usize].4;
            let found = pick(&Fleet::of(&replicas, &[]), 160, &Config::default(), runs_urgent, |_| 0);
            let freeness = |id: usize| {
                let (running, waiting, used, _, urgent) = rows[id];
                let free = 1000.0 - f64::from(used) - f64::from(waiting) * 10.0 - f64::from(u8::from(urgent)) * 100.0;
                free / f64::from(running + waiting).max(1.0)
            };
            let best = (0..rows.len()).filter(|id| !rows[*id].3).map(freeness).reduce(f64::max);
            prop_assert_eq!(found.map(|pick| freeness(pick.id as usize)), best);
        }
    }
}
