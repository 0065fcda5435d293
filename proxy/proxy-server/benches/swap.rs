//! Hot swaps under fire: `cargo xtask bench swap`.
//!
//! Clients ask as fast as they are answered, first undisturbed, then while components are uploaded one after another: at a
//! pace, which is what is judged, and without a pause, which is as much as a client more can do to the others. Prints what
//! requests took before and meanwhile and writes target/bench/swap.json. A policy counts with the host, a
//! `single` one in its own memory: both totals must be the requests'.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on says so by panicking")]

#[expect(dead_code, unused_imports, reason = "the tests use more of it")]
#[path = "../tests/proxy"]
mod tests {
    pub mod fixture;
}

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tests::fixture::component::{counting, remembering};
use tests::fixture::{Proxy, Replica, replicas, text};

const SWAPS: usize = 200;
const CLIENTS: usize = 8;
/// How long the load runs without a swap, so that it is warm, and then so that it is measured.
const WARM: Duration = Duration::from_secs(2);
const BEFORE: Duration = Duration::from_secs(10);
/// From one swap's beginning to the next one's.
const PACE: Duration = Duration::from_millis(50);
/// p99 meanwhile against p99 before.
const RATIO_MAX: f64 = 1.2;

#[tokio::main]
async fn main() {
    let mut only = Replica::start().await;
    only.answer_all("{}");
    let proxy = Proxy::start(&format!("limits.decisions_max = 1000\n{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    let components = [("limits", counting("counts").bytes()), ("memory", remembering("knows").bytes())];
    for (slot, component) in &components {
        put(&proxy, slot, component).await;
    }
    let warm = load(&proxy, tokio::time::sleep(WARM)).await;
    let before = load(&proxy, tokio::time::sleep(BEFORE)).await;
    let swaps = async |pace: Duration, took: &mut Vec<Duration>| {
        let mut ticks = tokio::time::interval(pace.max(Duration::from_nanos(1)));
        for swap in 0..SWAPS {
            ticks.tick().await;
            let (slot, component) = &components[swap % 2];
            let began = Instant::now();
            put(&proxy, slot, component).await;
            took.push(began.elapsed());
        }
    };
    let (mut paced_swaps, mut swaps_at_once) = (Vec::new(), Vec::new());
    let during = load(&proxy, swaps(PACE, &mut paced_swaps)).await;
    let at_once = load(&proxy, swaps(Duration::ZERO, &mut swaps_at_once)).await;
    // One more, when nothing else is counting: its gauges show the totals.
    assert_eq!(proxy.chat().await.status(), 200);
    let served = (warm.len() + before.len() + during.len() + at_once.len() + 1) as f64;
    let counted = proxy.metric("headworks_proxy_policy_gauge{name=\"counts\",slot=\"limits\"}").await;
    let known = proxy.metric("headworks_proxy_policy_gauge{name=\"knows\",slot=\"memory\"}").await;
    assert_eq!((counted, known), (served, served), "each request is counted once");

    let [ratio, ratio_at_once] = [&during, &at_once].map(|took| ms(took, 0.99) / ms(&before, 0.99));
    let report = json!({
        "swaps": SWAPS, "pace_ms": PACE.as_millis() as u64, "clients": CLIENTS, "failed": 0, "lost_counts": 0,
        "before": row(&before), "during": row(&during), "swap": row(&paced_swaps),
        "during, at once": row(&at_once), "swap, at once": row(&swaps_at_once),
        "p99_ratio": rounded(ratio), "p99_ratio_at_once": rounded(ratio_at_once), "p99_ratio_max": RATIO_MAX, "met": ratio <= RATIO_MAX,
    });
    println!(
        "twice {SWAPS} swaps, {CLIENTS} clients, {served} requests: none failed, each counted once by both policies"
    );
    println!("{:>15} {:>9} {:>9} {:>9} {:>9}", "", "requests", "p50 ms", "p90 ms", "p99 ms");
    for name in ["before", "during", "swap", "during, at once", "swap, at once"] {
        let Value::Object(row) = &report[name] else { panic!("{report}") };
        let [count, p50, p90, p99] = ["count", "p50_ms", "p90_ms", "p99_ms"].map(|key| row[key].to_string());
        println!("{name:>15} {count:>9} {p50:>9} {p90:>9} {p99:>9}");
    }
    println!(
        "p99 during against before: {ratio:.2} (at most {RATIO_MAX}); with no pause between swaps {ratio_at_once:.2}"
    );
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("swap.json"), serde_json::to_vec_pretty(&report).unwrap()).unwrap();
}

async fn put(proxy: &Proxy, slot: &str, component: &[u8]) {
    let answer = proxy.admin(Method::PUT, &format!("/admin/v1/policies/{slot}"), component.to_vec()).await;
    let status = answer.status();
    assert_eq!(status, 200, "{}", text(answer).await);
}

/// What each request took that the clients sent until `done`.
async fn load(proxy: &Proxy, done: impl Future<Output = ()>) -> Vec<Duration> {
    let goes_on = AtomicBool::new(true);
    let client = async || {
        let mut took = Vec::new();
        while goes_on.load(Ordering::Relaxed) {
            let began = Instant::now();
            let answer = proxy.chat().await;
            assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (200, "{}"));
            took.push(began.elapsed());
        }
        took
    };
    let stop = async {
        done.await;
        goes_on.store(false, Ordering::Relaxed);
    };
    let clients = futures_util::future::join_all((0..CLIENTS).map(|_| client()));
    let (took, ()) = tokio::join!(clients, stop);
    took.concat()
}

fn row(took: &[Duration]) -> Value {
    json!({ "count": took.len(), "p50_ms": ms(took, 0.5), "p90_ms": ms(took, 0.9), "p99_ms": ms(took, 0.99) })
}

/// Nearest rank.
fn ms(took: &[Duration], share: f64) -> f64 {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let rank = (share * sorted.len() as f64).ceil() as usize;
    rounded(sorted[rank.clamp(1, sorted.len()) - 1].as_secs_f64() * 1e3)
}

fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}
