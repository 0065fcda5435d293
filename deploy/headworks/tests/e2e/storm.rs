//! A storm of faults over real processes: no request is lost without a clear error, no stream is corrupted, nothing
//! leaks, and when the storm is over everything works.
//!
//! What happens is drawn from a seed. `cargo xtask faults --requests N --seed S` makes it longer, and holds recovery
//! against its bound of a second, which a test among many others on a busy machine cannot promise.

mod client;
mod fleet;
mod gremlin;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::processes::{metric, wait_for};
use client::{Counts, Expected};
use fleet::{Chance, Fleet};

/// Clients at one time.
const CLIENTS: u64 = 8;
/// Requests between two faults.
const REQUESTS_PER_FAULT: u64 = 20;
const RECOVERY_MS_MAX: u128 = 1000;

fn number(variable: &str, otherwise: u64) -> u64 {
    let said = std::env::var(variable).ok();
    said.map_or(otherwise, |said| {
        said.parse().unwrap_or_else(|_| panic!("{variable} must be a whole number, not {said}"))
    })
}

#[test]
fn a_storm_of_faults_loses_and_corrupts_nothing() {
    let requests = number("HEADWORKS_FAULTS_REQUESTS", 2000);
    let seed = number("HEADWORKS_FAULTS_SEED", 7);
    let is_alone = std::env::var_os("HEADWORKS_FAULTS_REQUESTS").is_some();
    let mut fleet = Fleet::start();
    let expected = Expected::from(&fleet.undisturbed.url);
    let counts = Mutex::new(Counts::default());
    // Warm: what a first request allocates is no leak.
    storm(&mut fleet, &expected, &counts, Storm { requests: 40, seed, faults: false });
    let before = fleet.proxy_use();
    let began = Instant::now();
    storm(&mut fleet, &expected, &counts, Storm { requests, seed, faults: true });
    let took = began.elapsed();

    fleet.all_down();
    let gone = expected.ask(&fleet.proxy.url, 0, &mut Chance::from(seed));
    assert!(gone.is_clear_error(), "with nobody there the client is told so: {gone:?}");
    let recovery_ms = fleet.recover(&expected);

    let page = fleet.metrics();
    let counted = |name: &str| metric(&page, name).unwrap_or(0.0);
    let counts = counts.into_inner().unwrap();
    eprintln!("faults (seed {seed}): {} requests in {:.1} s: {counts}", requests, took.as_secs_f64());
    eprintln!(
        "faults: {}; deaths in mid-stream {}, gone on {}; tries again {}; recovery {recovery_ms} ms",
        fleet.told(),
        counted("headworks_proxy_midstream_deaths_total"),
        counted("headworks_proxy_resumes_total{result=\"resumed\"}"),
        counted("headworks_proxy_retries_total"),
    );
    assert_eq!((counts.corrupted, counts.lost), (0, 0), "{:?}", counts.first_wrong);
    assert!(counts.right > requests / 4, "most of what is asked is answered");
    wait_for("every request to be accounted for", || {
        let page = fleet.metrics();
        let idle = |name: &str| metric(&page, name).unwrap_or(0.0) == 0.0;
        let quiet = idle("headworks_proxy_in_flight") && idle("headworks_proxy_queue");
        (quiet && (0..3).all(|replica| idle(&format!("headworks_proxy_replica_in_flight{{replica=\"us-{replica}\"}}"))))
            .then_some(())
    });
    wait_for("connections to be given back", || (fleet.proxy_use().files <= before.files + 4).then_some(()));
    let after = fleet.proxy_use();
    assert!(after.memory_kib < before.memory_kib + (64 << 10), "memory grew from {before:?} to {after:?}");
    if is_alone {
        assert!(recovery_ms < RECOVERY_MS_MAX, "recovery took {recovery_ms} ms");
    }
}

struct Storm {
    requests: u64,
    seed: u64,
    faults: bool,
}

fn storm(fleet: &mut Fleet, expected: &Expected, counts: &Mutex<Counts>, storm: Storm) {
    let Storm { requests, seed, faults } = storm;
    let asked = AtomicU64::new(0);
    let url = fleet.proxy.url.clone();
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (asked, url) = (&asked, &url);
            scope.spawn(move || {
                let mut chance = Chance::from(seed ^ (client << 32) ^ requests);
                loop {
                    let number = asked.fetch_add(1, Ordering::Relaxed);
                    if number >= requests {
                        return;
                    }
                    let answer = expected.ask(url, number, &mut chance);
                    if faults {
                        counts.lock().unwrap().count(number, &answer);
                    }
                }
            });
        }
        let mut chance = Chance::from(seed);
        let mut next = 0;
        while faults && next < requests {
            fleet.fault(&mut chance);
            next += REQUESTS_PER_FAULT;
            wait_for("the clients to go on", || (asked.load(Ordering::Relaxed) >= next.min(requests)).then_some(()));
        }
    });
    fleet.clear();
}
