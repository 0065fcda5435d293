//! Takes replicas out that are far slower than the fleet, again and again.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::proxy::Proxy;

const INTERVAL: Duration = Duration::from_secs(1);

/// Judges the replicas by each other.
pub(crate) async fn judge(proxy: Arc<Proxy>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let replicas = proxy.fleet.replicas();
        let ttft_us: Vec<u32> = replicas.iter().map(|replica| replica.ttft_shown_us()).collect();
        for row in dispatch::slow_ones(&ttft_us, proxy.limits.ttft_outlier_times) {
            let name = &replicas[row].name;
            tracing::warn!(replica = name, ttft_us = ttft_us[row], "replica is far slower than the others");
            replicas[row].eject(proxy.clock.now_ms());
            proxy.fleet.touch();
        }
    }
}
