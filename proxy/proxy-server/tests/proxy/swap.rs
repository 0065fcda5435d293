//! Swapped at full load: nothing fails, and nothing that policies count is lost or counted twice.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Method;

use crate::fixture::component::{counting, remembering};
use crate::fixture::{Proxy, Replica, replicas, text};

/// Some are uploads, which are compiled; the others are as quick as a policy is made anew.
const SWAPS: usize = 200;
const UPLOADS_EVERY: usize = 10;
const CLIENTS: usize = 8;

/// Changes a slot; it must not be refused.
async fn change(proxy: &Proxy, method: Method, path: &str, body: impl Into<bytes::Bytes>) {
    let answer = proxy.admin(method, &format!("/admin/v1/policies/{path}"), body).await;
    let status = answer.status();
    assert_eq!(status, 200, "{path}: {}", text(answer).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_swaps_at_full_load_fail_no_request_and_lose_no_count() {
    let mut only = Replica::start().await;
    only.answer_all("{}");
    let proxy = Proxy::start(&replicas([&only])).await;
    proxy.until_healthy(1).await;
    let components = [("limits", counting("counts").bytes()), ("memory", remembering("knows").bytes())];
    for (slot, component) in &components {
        change(&proxy, Method::PUT, slot, component.clone()).await;
    }
    let (swapping, served) = (AtomicBool::new(true), AtomicU64::new(0));
    let client = async || {
        while swapping.load(Ordering::Relaxed) {
            let answer = proxy.chat().await;
            assert_eq!((answer.status().as_u16(), text(answer).await.as_str()), (200, "{}"));
            served.fetch_add(1, Ordering::Relaxed);
        }
    };
    let swaps = async {
        for swap in 0..SWAPS {
            let (slot, component) = &components[swap % 2];
            match swap / 2 % UPLOADS_EVERY {
                0 => change(&proxy, Method::PUT, slot, component.clone()).await,
                1 | 4 | 7 => change(&proxy, Method::POST, &format!("{slot}/rollback"), "").await,
                _ => change(&proxy, Method::PUT, &format!("{slot}/config"), "{}").await,
            }
        }
        swapping.store(false, Ordering::Relaxed);
    };
    tokio::join!(futures_util::future::join_all((0..CLIENTS).map(|_| client())), swaps);
    // One more, when nothing else is counting: its gauges show the totals.
    assert_eq!(proxy.chat().await.status(), 200);
    let served = (served.into_inner() + 1) as f64;
    assert_eq!(proxy.metric("headworks_proxy_requests_total{outcome=\"finished\"}").await, served);
    assert_eq!(proxy.metric("headworks_proxy_policy_gauge{name=\"counts\",slot=\"limits\"}").await, served);
    assert_eq!(proxy.metric("headworks_proxy_policy_gauge{name=\"knows\",slot=\"memory\"}").await, served);
    for slot in ["limits", "memory"] {
        let faults = format!("headworks_proxy_policy_faults_total{{slot=\"{slot}\"}}");
        assert_eq!(proxy.metric(&faults).await, 0.0, "{slot}");
    }
}
