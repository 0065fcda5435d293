//! Whether the proxy should be sent requests, and why not.

use policy_api::Health;

use crate::proxy::Proxy;
use crate::tasks::Ending;

/// Why requests should go elsewhere: the proxy stops, or none of its replicas is healthy.
pub(crate) fn why_not_ready(proxy: &Proxy) -> Option<String> {
    // Where it has handed over, who is sent here finds its successor.
    if proxy.stopping.ending() == Some(Ending::Stopped) {
        return Some("the proxy is stopping".to_owned());
    }
    let replicas = proxy.fleet.replicas();
    match replicas.iter().any(|replica| replica.reading().health == Health::Healthy) {
        true => None,
        false => Some(format!("none of the {} replicas is healthy", replicas.len())),
    }
}

/// Whether each replica has been looked at, so that what is asked of the fleet finds who is there.
pub(crate) fn has_looked(proxy: &Proxy) -> bool {
    proxy.fleet.replicas().iter().all(|replica| replica.reading().health != Health::Unknown)
}
