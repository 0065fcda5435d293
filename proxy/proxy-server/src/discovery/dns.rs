//! Finds replicas behind a name: one for each of its addresses.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::config::{Replica, Template};
use crate::discovery::Finder;

/// A name server that is silent for longer has failed.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(5);
/// Addresses that are taken of one name.
const ADDRESSES_MAX: usize = 1024;

/// The name that is looked up.
#[derive(Clone)]
pub(super) struct Name {
    pub host: String,
    pub port: u16,
}

/// Looks the name up again and again. A look-up that fails changes nothing, and neither does one that gives no
/// address: a name server that has lost a zone must not empty the fleet.
pub(super) async fn find(finder: Finder, name: Name, interval_ms: u64, template: Template) {
    loop {
        let Name { host, port } = &name;
        match tokio::time::timeout(LOOKUP_TIME_MAX, tokio::net::lookup_host((host.as_str(), *port))).await {
            Ok(Ok(addresses)) => match replicas(host, addresses.collect(), &template) {
                replicas if replicas.is_empty() => finder.failed(format!("{host} has no address")),
                replicas => finder.found(&replicas),
            },
            Ok(Err(error)) => finder.failed(format!("cannot look {host} up: {error}")),
            Err(_) => finder.failed(format!("looking {host} up took longer than {} s", LOOKUP_TIME_MAX.as_secs())),
        }
        tokio::time::sleep(Duration::from_millis(interval_ms)).await;
    }
}

/// A replica for each address, in an order that does not depend on the answer's.
fn replicas(host: &str, addresses: BTreeSet<SocketAddr>, template: &Template) -> Vec<Replica> {
    let replica = |address: SocketAddr| template.replica(format!("{host}/{address}"), address, host);
    addresses.into_iter().take(ADDRESSES_MAX).map(replica).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_a_replica_whatever_the_order() {
        let addresses = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
        let one = replicas("pool", addresses(&["10.0.0.2:80", "10.0.0.1:80", "[fd00::1]:80"]), &Template::default());
        let other = replicas("pool", addresses(&["[fd00::1]:80", "10.0.0.1:80", "10.0.0.2:80"]), &Template::default());
        assert_eq!(one, other);
        let shown: Vec<String> = one.iter().map(|replica| format!("{} {}", replica.name, replica.url)).collect();
        assert_eq!(
            shown,
            [
                "pool/10.0.0.1:80 http://10.0.0.1:80",
                "pool/10.0.0.2:80 http://10.0.0.2:80",
                "pool/[fd00::1]:80 http://[fd00::1]:80"
            ]
        );
    }
}
