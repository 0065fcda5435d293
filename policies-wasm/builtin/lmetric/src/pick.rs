//! The least product of uncached tokens and batch, and why.

use headworks_policy::{Fleet, Prefix, least};

use crate::config::Config;

/// What of a request counts.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Estimated.
    pub tokens: u32,
    /// Of its text.
    pub bytes: u32,
    /// Who has seen how much of it.
    pub prefix: Prefix,
}

/// The chosen replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its id.
    pub id: u32,
    score: Score,
    uncached: u32,
}

/// Products compare first; where a prompt is cached whole, and they are all 0, the batch does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    product: u64,
    batch: u64,
    tokens: u64,
}

/// Chooses, or says none when no replica takes work. `below(n)` draws evenly from 0 to n - 1.
pub fn pick(fleet: &Fleet, prompt: &Prompt, config: &Config, below: impl FnOnce(u32) -> u32) -> Option<Pick> {
    let takers = || fleet.rows().filter(|row| fleet.takes_work(*row));
    let batch_max = batch_max(config, || takers().map(|row| batch_of(fleet, row)));
    // The least busy is never beyond a multiple of the mean.
    let within = takers().filter(|row| batch_of(fleet, *row) as f64 <= batch_max);
    let row = least(within, |row| Score::of(fleet, prompt, row), below)?;
    Some(Pick {
        id: fleet.id()[row],
        score: Score::of(fleet, prompt, row),
        uncached: prompt.prefix.uncached_tokens(row, prompt.tokens, prompt.bytes),
    })
}

fn batch_max<B: Iterator<Item = u64>>(config: &Config, batches: impl Fn() -> B) -> f64 {
    let Some(factor) = config.batch_over_mean_max else { return f64::INFINITY };
    let (total, count) = batches().fold((0_u64, 0_u32), |(total, count), batch| (total + batch, count + 1));
    total as f64 / f64::from(count.max(1)) * factor
}

/// Running and waiting requests, this one included.
fn batch_of(fleet: &Fleet, row: usize) -> u64 {
    u64::from(fleet.running()[row]) + u64::from(fleet.waiting()[row]) + 1
}

impl Score {
    fn of(fleet: &Fleet, prompt: &Prompt, row: usize) -> Score {
        let uncached = prompt.prefix.uncached_tokens(row, prompt.tokens, prompt.bytes);
        let tokens = u64::from(uncached) + u64::from(fleet.prefill_tokens()[row]);
        let batch = batch_of(fleet, row);
        Score { product: tokens.saturating_mul(batch), batch, tokens }
    }
}

impl Pick {
    /// `least product 640 on 3: 160 tokens to prefill (100 of this prompt) × batch 4`.
    pub fn why(&self) -> String {
        let Pick { id, score: Score { product, batch, tokens }, uncached } = self;
        format!(
            "least product {product} on {id}: {tokens} tokens to prefill ({uncached} of this prompt) × batch {batch}"
        )
    }
}

#[cfg(test)]
mod tests {
    use headworks_policy::{Health, Replica};
    use proptest::prelude::*;

    use super::*;

    /// Requests, tokens to prefill and blocks seen, of a prompt of four blocks and 400 tokens.
    fn pick_in(config: &str, rows: &[(u32, u32, u32)], below: impl FnOnce(u32) -> u32) -> Option<Pick> {
        let replicas: Vec<Replica> = (0..)
            .zip(rows)
            .map(|(id, (running, prefill_tokens, _))| Replica {
                id,
                running: *running,
                prefill_tokens: *prefill_tokens,
                ..Replica::default()
            })
            .collect();
        let prefix = Prefix { blocks: 4, held: rows.iter().map(|row| row.2).collect() };
        let prompt = Prompt { tokens: 400, bytes: 1024, prefix };
        pick(&Fleet::of(&replicas, &[]), &prompt, &Config::parse(config).unwrap(), below)
    }

    #[track_caller]
    fn check(config: &str, rows: &[(u32, u32, u32)], expected: &str) {
        assert_eq!(pick_in(config, rows, |_| 0).unwrap().why(), expected);
    }

    #[test]
    fn the_product_decides() {
        check(
            "{}",
            &[(3, 0, 3), (0, 0, 0), (9, 0, 4)],
            "least product 0 on 2: 0 tokens to prefill (0 of this prompt) × batch 10",
        );
        check(
            "{}",
            &[(3, 50, 3), (1, 0, 0)],
            "least product 600 on 0: 150 tokens to prefill (100 of this prompt) × batch 4",
        );
        check(
            "{}",
            &[(7, 50, 3), (1, 0, 0)],
            "least product 800 on 1: 400 tokens to prefill (400 of this prompt) × batch 2",
        );
    }

    #[test]
    fn where_all_is_cached_the_batch_decides() {
        check("{}", &[(5, 0, 4), (2, 0, 4)], "least product 0 on 1: 0 tokens to prefill (0 of this prompt) × batch 3");
    }

    #[test]
    fn equals_are_drawn_from() {
        assert_eq!(pick_in("{}", &[(1, 0, 0); 3], |bound| bound - 1).unwrap().id, 2);
    }

    #[test]
    fn a_guard_leaves_out_the_hot_spot() {
        let rows = [(9, 0, 4), (0, 0, 0), (0, 0, 0)];
        assert_eq!(pick_in("{}", &rows, |_| 0).unwrap().id, 0);
        assert_eq!(pick_in(r#"{"batch_over_mean_max":2}"#, &rows, |_| 0).unwrap().id, 1);
    }

    #[test]
    fn what_takes_no_work_is_left_out() {
        let prompt = Prompt { tokens: 1, bytes: 0, prefix: Prefix { blocks: 0, held: vec![0; 2] } };
        let sick = [
            Replica { health: Health::Unhealthy, ..Replica::default() },
            Replica { draining: true, ..Replica::default() },
        ];
        assert_eq!(pick(&Fleet::of(&sick, &[]), &prompt, &Config::default(), |_| 0), None);
    }

    proptest! {
        #[test]
        fn nobody_has_a_smaller_product_within_the_guard(
            rows in proptest::collection::vec((0_u32..50, 0_u32..5000, 0_u32..5), 1..12),
            guarded in any::<bool>(),
        ) {
            let config = if guarded { r#"{"batch_over_mean_max":1.5}"# } else { "{}" };
            let id = pick_in(config, &rows, |bound| bound / 2).expect("all take work").id as usize;
            let mean = rows.iter().map(|row| f64::from(row.0 + 1)).sum::<f64>() / rows.len() as f64;
            let within = |row: &(u32, u32, u32)| !guarded || f64::from(row.0 + 1) <= 1.5 * mean;
            let product = |row: &(u32, u32, u32)| u64::from(400 - 100 * row.2 + row.1) * u64::from(row.0 + 1);
            prop_assert!(within(&rows[id]));
            prop_assert!(rows.iter().filter(|row| within(row)).all(|row| product(row) >= product(&rows[id])));
        }
    }
}
