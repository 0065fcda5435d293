//! The pool's promises: exact counts, no leak, no double use, hits only on equal prefixes.

use proptest::prelude::*;

use crate::{BlockPool, BlockTable, OutOfBlocks, PoolConfig};

fn pool(blocks: u32) -> BlockPool {
    BlockPool::new(PoolConfig { blocks, block_tokens: 4, salt: 7 })
}

/// A sequence that computed and published all of `tokens`.
fn computed(pool: &mut BlockPool, tokens: &[u32]) -> BlockTable {
    let mut table = pool.begin(tokens);
    pool.grow(&mut table, tokens.len() as u32).unwrap();
    pool.publish(&mut table, tokens);
    table
}

fn indices(pool: &BlockPool, tokens: &[u32]) -> Vec<u32> {
    pool.match_prefix(tokens).iter().map(|block| block.index()).collect()
}

#[test]
fn a_hit_covers_full_blocks_and_leaves_a_token() {
    let mut pool = pool(8);
    let tokens: Vec<u32> = (0..10).collect();
    let table = computed(&mut pool, &tokens);
    assert_eq!(indices(&pool, &tokens), [0, 1]);
    assert_eq!(indices(&pool, &tokens[..9]), [0, 1]);
    assert_eq!(indices(&pool, &tokens[..8]), [0], "the eighth token must be computed");
    assert_eq!(indices(&pool, &tokens[..4]), [0; 0]);
    assert_eq!(indices(&pool, &[]), [0; 0]);
    pool.check(&[table]);
}

#[test]
fn equal_blocks_after_different_prefixes_are_different() {
    let mut pool = pool(8);
    let table = computed(&mut pool, &[1, 1, 1, 1, 5, 5, 5, 5, 9]);
    let other = computed(&mut pool, &[2, 2, 2, 2]);
    assert_eq!(indices(&pool, &[2, 2, 2, 2, 5, 5, 5, 5, 9]), [3], "its second block is not the first's");
    pool.check(&[table, other]);
}

#[test]
fn released_blocks_are_found_again() {
    let mut pool = pool(8);
    let tokens: Vec<u32> = (0..9).collect();
    let table = computed(&mut pool, &tokens);
    pool.release(table);
    assert_eq!(pool.counters().blocks_used, 0);
    let again = pool.begin(&tokens);
    assert_eq!(again.blocks().len(), 2);
    assert_eq!(pool.counters().blocks_used, 2);
    pool.check(&[again]);
}

#[test]
fn the_tail_of_a_prefix_is_evicted_first() {
    let mut pool = pool(3);
    let tokens: Vec<u32> = (0..13).collect();
    let mut table = pool.begin(&tokens[..12]);
    pool.grow(&mut table, 12).unwrap();
    pool.publish(&mut table, &tokens[..12]);
    pool.release(table);
    assert_eq!(indices(&pool, &tokens).len(), 3);
    let mut other = pool.begin(&[99]);
    pool.grow(&mut other, 1).unwrap();
    assert_eq!(indices(&pool, &tokens).len(), 2, "one block of the tail is gone, the prefix stays");
    assert_eq!(pool.counters().evictions_total, 1);
    pool.check(&[other]);
}

#[test]
fn growing_beyond_the_pool_takes_nothing() {
    let mut pool = pool(2);
    let mut table = pool.begin(&[1]);
    assert_eq!(pool.grow(&mut table, 9), Err(OutOfBlocks { wanted: 3, free: 2 }));
    assert_eq!(pool.counters().blocks_used, 0);
    pool.check(&[table]);
}

#[test]
fn a_shared_prefix_is_held_once_by_each() {
    let mut pool = pool(8);
    let first = computed(&mut pool, &[1, 2, 3, 4, 5]);
    let second = computed(&mut pool, &[1, 2, 3, 4, 6]);
    assert_eq!(first.blocks()[0], second.blocks()[0]);
    assert_eq!(pool.counters().blocks_used, 3);
    pool.release(first);
    assert_eq!(pool.counters().blocks_used, 2);
    pool.check(&[second]);
}

#[test]
fn another_salt_is_another_cache() {
    let tokens = [1, 2, 3, 4, 5];
    let hash = |salt| {
        let mut pool = BlockPool::new(PoolConfig { blocks: 2, block_tokens: 4, salt });
        computed(&mut pool, &tokens).chain
    };
    assert_ne!(hash(1), hash(2));
}

#[derive(Clone, Debug)]
enum Act {
    /// Begin a sequence over a short alphabet, so that prefixes repeat.
    Begin(Vec<u32>),
    /// Append tokens to the n-th living sequence.
    Extend(usize, Vec<u32>),
    /// End the n-th living sequence.
    Release(usize),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let tokens = || prop::collection::vec(0u32..2, 1..24);
    let act = prop_oneof![
        3 => tokens().prop_map(Act::Begin),
        2 => (any::<usize>(), tokens()).prop_map(|(n, tokens)| Act::Extend(n, tokens)),
        2 => any::<usize>().prop_map(Act::Release),
    ];
    prop::collection::vec(act, 1..60)
}

/// For each token, a number that depends on it and on all before it, as a key and a value do.
fn states(tokens: &[u32]) -> Vec<u32> {
    let step = |state: &mut u32, token: &u32| {
        *state = state.wrapping_mul(0x9e37_79b1).rotate_left(7) ^ (token + 1);
        Some(*state)
    };
    tokens.iter().scan(1, step).collect()
}

/// Replays acts; a memory beside the pool remembers what was written into each block, and hits must agree with it.
fn replay(blocks: u32, acts: Vec<Act>) {
    let mut pool = pool(blocks);
    let mut memory = vec![[u32::MAX; 4]; blocks as usize];
    let (mut tables, mut contents) = (Vec::<BlockTable>::new(), Vec::<Vec<u32>>::new());
    for act in acts {
        match act {
            Act::Begin(tokens) => {
                let mut table = pool.begin(&tokens);
                let known = table.blocks().len() * 4;
                assert!(known < tokens.len(), "a token is left to compute");
                let held: Vec<u32> = table.blocks().iter().flat_map(|block| memory[block.index() as usize]).collect();
                assert_eq!(held, states(&tokens)[..known], "a hit holds exactly the prompt's prefix");
                if pool.grow(&mut table, tokens.len() as u32).is_ok() {
                    write(&mut memory, &table, &tokens);
                    pool.publish(&mut table, &tokens);
                    tables.push(table);
                    contents.push(tokens);
                } else {
                    pool.release(table);
                }
            }
            Act::Extend(n, tokens) if !tables.is_empty() => {
                let n = n % tables.len();
                let longer = [contents[n].clone(), tokens].concat();
                if pool.grow(&mut tables[n], longer.len() as u32).is_ok() {
                    write(&mut memory, &tables[n], &longer);
                    pool.publish(&mut tables[n], &longer);
                    contents[n] = longer;
                }
            }
            Act::Release(n) if !tables.is_empty() => {
                let n = n % tables.len();
                contents.swap_remove(n);
                pool.release(tables.swap_remove(n));
            }
            Act::Extend(..) | Act::Release(_) => {}
        }
        pool.check(&tables);
        for (table, content) in tables.iter().zip(&contents) {
            let held: Vec<u32> = table.blocks().iter().flat_map(|block| memory[block.index() as usize]).collect();
            assert_eq!(held[..content.len()], states(content), "nobody wrote into a held block");
        }
    }
    tables.drain(..).for_each(|table| pool.release(table));
    pool.check(&[]);
    assert_eq!(pool.counters().blocks_used, 0);
}

fn write(memory: &mut [[u32; 4]], table: &BlockTable, tokens: &[u32]) {
    for (block, states) in table.blocks().iter().zip(states(tokens).chunks(4)) {
        memory[block.index() as usize][..states.len()].copy_from_slice(states);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counts_stay_exact_and_hits_true(blocks in 1u32..24, acts in acts()) {
        replay(blocks, acts);
    }
}
