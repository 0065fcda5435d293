//! Every item once, whoever comes late, calls from inside, or panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{Placement, Threads, ThreadsConfig};

fn threads(count: usize, spin: Duration) -> Threads {
    Threads::new(ThreadsConfig { count, spin, placement: Placement::Free })
}

/// How often each item was handed out.
fn counted(threads: &Threads, items: usize, grain: usize) -> Vec<usize> {
    let counts: Vec<AtomicUsize> = (0..items).map(|_| AtomicUsize::new(0)).collect();
    threads.split(items, grain, |range| {
        assert!(range.len() <= grain);
        range.for_each(|item| _ = counts[item].fetch_add(1, Ordering::Relaxed));
    });
    counts.into_iter().map(AtomicUsize::into_inner).collect()
}

#[test]
fn every_item_comes_once_whatever_the_threads_and_the_grain() {
    for count in [1, 2, 3, 5] {
        for spin in [Duration::ZERO, Duration::from_millis(1)] {
            let threads = threads(count, spin);
            for (items, grain) in [(0, 1), (1, 1), (7, 3), (64, 1), (100, 7), (5, 100)] {
                assert_eq!(counted(&threads, items, grain), vec![1; items], "{items} items by {grain}");
            }
        }
    }
}

#[test]
fn many_jobs_in_a_row_are_kept_apart() {
    let threads = threads(3, Duration::from_micros(50));
    for round in 1..if cfg!(miri) { 20 } else { 5000 } {
        assert_eq!(counted(&threads, round % 17, 1), vec![1; round % 17]);
    }
}

#[test]
fn a_job_inside_a_job_and_jobs_side_by_side_are_done() {
    let threads = threads(2, Duration::from_micros(50));
    let total = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                threads.split(6, 1, |outer| {
                    threads.split(5, 2, |inner| _ = total.fetch_add(outer.len() * inner.len(), Ordering::Relaxed));
                });
            });
        }
    });
    assert_eq!(total.into_inner(), 3 * 6 * 5);
}

#[test]
fn a_panic_reaches_the_caller_and_the_pool_goes_on() {
    let threads = threads(2, Duration::from_micros(50));
    for bad in 0..8 {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            threads.split(8, 1, |range| assert!(!range.contains(&bad), "item {bad}"));
        }));
        assert!(outcome.is_err());
        assert_eq!(counted(&threads, 8, 1), [1; 8]);
    }
}

#[test]
fn pinned_threads_work_as_well() {
    let config = ThreadsConfig { placement: Placement::Pinned, ..ThreadsConfig::default() };
    assert_eq!(counted(&Threads::new(config), 100, 3), vec![1; 100]);
}
