//! Finds replicas behind a name: one for each of its addresses, or for each host of a service, with its port and weight.

mod message;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Dns, DnsName, Replica, Template};
use crate::discovery::Finder;
use message::{Answer, Data, Kind, Service};
use server::Servers;

/// The system's name service is silent for longer: it has failed.
const LOOKUP_TIME_MAX: Duration = Duration::from_secs(5);
/// Addresses that are taken of one name, and hosts of one service.
const ADDRESSES_MAX: usize = 1024;
/// Between two looks, where nobody says how long the answer holds.
const INTERVAL: Duration = Duration::from_secs(5);
/// However short or long an answer holds.
const HOLDS_LEAST: Duration = Duration::from_secs(1);
const HOLDS_MOST: Duration = Duration::from_secs(30);
/// What routes know a service's priority by.
const PRIORITY: &str = "srv-priority";

/// What a look found, and for how many seconds that holds, if anybody says so.
type Found = (Vec<Replica>, Option<u32>);

/// Looks the name up again and again, whenever its answer is over. A look-up that fails changes nothing, and neither does
/// one that gives no address: a name server that has lost a zone must not empty the fleet.
pub(super) async fn find(finder: Finder, dns: Dns, template: Template) {
    let mut system = System { host: system_host(&dns), is_told: true };
    loop {
        let holds_s = match look(&dns, &template).await {
            Ok((replicas, holds_s)) => {
                finder.found(&replicas);
                match &holds_s {
                    Some(_) => holds_s,
                    None => system.holds_for(&replicas).await,
                }
            }
            Err(error) => {
                finder.failed(error);
                None
            }
        };
        tokio::time::sleep(pause(holds_s, dns.interval_ms.map(Duration::from_millis))).await;
    }
}

/// As long as the answer holds, but no longer than the operator wants.
fn pause(holds_s: Option<u32>, interval_max: Option<Duration>) -> Duration {
    match holds_s.map(|seconds| Duration::from_secs(seconds.into())) {
        None => interval_max.unwrap_or(INTERVAL),
        Some(holds) => holds.max(HOLDS_LEAST).min(interval_max.unwrap_or(HOLDS_MOST)),
    }
}

async fn look(dns: &Dns, template: &Template) -> Result<Found, String> {
    let Dns { name, server, interval_ms: _ } = dns;
    match (name, server) {
        (DnsName::Host { host, port }, None) => {
            Ok((of_addresses(host, of_the_system(host, *port).await?, template), None))
        }
        (DnsName::Host { host, port }, Some(server)) => {
            let servers = Servers::of(Some(*server))?;
            let (addresses, holds_s) = addresses_of(&servers, host).await?;
            let addresses = addresses.into_iter().map(|address| SocketAddr::new(address, *port)).collect();
            Ok((of_addresses(host, addresses, template), holds_s))
        }
        (DnsName::Service(name), server) => of_service(&Servers::of(*server)?, name, template).await,
    }
}

/// By the system's own ways: its files, its search list, its name servers.
async fn of_the_system(host: &str, port: u16) -> Result<BTreeSet<SocketAddr>, String> {
    match tokio::time::timeout(LOOKUP_TIME_MAX, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => match addresses.collect::<BTreeSet<_>>() {
            none if none.is_empty() => Err(format!("{host} has no address")),
            addresses => Ok(addresses),
        },
        Ok(Err(error)) => Err(format!("cannot look {host} up: {error}")),
        Err(_) => Err(format!("looking {host} up took longer than {} s", LOOKUP_TIME_MAX.as_secs())),
    }
}

/// The system does not say how long its answers hold; where its name servers say the same, they do.
struct System {
    /// What it looks up, where the answer's end is of use.
    host: Option<String>,
    /// Its name servers have told so far.
    is_told: bool,
}

fn system_host(dns: &Dns) -> Option<String> {
    let is_of_use = dns.interval_ms.is_none_or(|ms| Duration::from_millis(ms) > HOLDS_LEAST);
    match &dns.name {
        DnsName::Host { host, .. } if dns.server.is_none() && is_of_use => Some(host.clone()),
        DnsName::Host { .. } | DnsName::Service(_) => None,
    }
}

impl System {
    async fn holds_for(&mut self, replicas: &[Replica]) -> Option<u32> {
        let host = self.host.as_ref().filter(|_| self.is_told)?;
        let told = addresses_of(&Servers::of(None).ok()?, host).await;
        // Once without an answer is enough: names may be in a file, and name servers out of reach.
        self.is_told = told.is_ok();
        let (addresses, holds_s) = told.ok()?;
        let same = addresses.len() == replicas.len()
            && addresses.iter().all(|address| replicas.iter().any(|replica| is_at(replica, *address)));
        holds_s.filter(|_| same)
    }
}

fn is_at(replica: &Replica, address: IpAddr) -> bool {
    replica.url.authority().as_str().parse::<SocketAddr>().is_ok_and(|at| at.ip() == address)
}

/// A host's addresses of both kinds. One kind may be missing, and may be refused where the other is there.
async fn addresses_of(servers: &Servers, host: &str) -> Result<(BTreeSet<IpAddr>, Option<u32>), String> {
    let (four, six) = tokio::join!(servers.ask(host, Kind::A), servers.ask(host, Kind::Aaaa));
    let answers: Vec<Answer> = match (four, six) {
        (Err(error), Err(_)) => return Err(error),
        (four, six) => four.into_iter().chain(six).collect(),
    };
    let records = || answers.iter().flat_map(|answer| &answer.records);
    let address = |data: &Data| match data {
        Data::Address(address) => Some(*address),
        Data::Service(_) | Data::Alias => None,
    };
    let addresses: BTreeSet<IpAddr> = records().filter_map(|record| address(&record.data)).collect();
    match addresses.is_empty() {
        true => Err(format!("{host} has no address")),
        false => Ok((addresses, records().map(|record| record.ttl_s).min())),
    }
}

/// A replica for each address, in an order that does not depend on the answer's.
fn of_addresses(host: &str, addresses: BTreeSet<SocketAddr>, template: &Template) -> Vec<Replica> {
    let replica = |address: SocketAddr| template.replica(format!("{host}/{address}"), address, host);
    addresses.into_iter().take(ADDRESSES_MAX).map(replica).collect()
}

async fn of_service(servers: &Servers, name: &str, template: &Template) -> Result<Found, String> {
    let Answer { records, .. } = servers.ask(name, Kind::Srv).await?;
    let mut holds_s = records.iter().map(|record| record.ttl_s).min();
    // The target `.` says that there is no such service (RFC 2782).
    let service = |data: &Data| match data {
        Data::Service(service) if !service.target.is_empty() && service.port != 0 => Some(service.clone()),
        _ => None,
    };
    let mut services: Vec<Service> = records.iter().filter_map(|record| service(&record.data)).collect();
    services.sort_by(|one, other| (&one.target, one.port).cmp(&(&other.target, other.port)));
    services.truncate(ADDRESSES_MAX);
    // Most name servers say the hosts' addresses along with it.
    let mut known: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for record in records {
        if let Data::Address(address) = record.data {
            known.entry(record.name.to_ascii_lowercase()).or_default().insert(address);
        }
    }
    let mut found = Vec::new();
    for service in services {
        let target = service.target.to_ascii_lowercase();
        if !known.contains_key(&target) {
            let (addresses, seconds) = addresses_of(servers, &target).await?;
            known.insert(target.clone(), addresses);
            holds_s = holds_s.into_iter().chain(seconds).min();
        }
        found.push((service, known[&target].clone()));
    }
    match of_services(&found, template) {
        none if none.is_empty() => Err(format!("{name} has no host")),
        replicas => Ok((replicas, holds_s)),
    }
}

/// A replica for each address of each host. Weights are shares of those of the same priority, so that an ordinary one has
/// the template's; the priority is a label.
fn of_services(services: &[(Service, BTreeSet<IpAddr>)], template: &Template) -> Vec<Replica> {
    let mut replicas: Vec<Replica> = Vec::new();
    for (Service { priority, weight, port, target }, addresses) in services {
        let alike = || services.iter().filter(|(other, _)| other.priority == *priority);
        let sum: u64 = alike().map(|(other, _)| u64::from(other.weight)).sum();
        let share = match sum {
            0 => template.weight,
            sum => (u64::from(template.weight) * u64::from(*weight) * alike().count() as u64 / sum) as u32,
        };
        for address in addresses {
            let address = SocketAddr::new(*address, *port);
            let named = template.replica(format!("{target}/{address}"), address, target);
            let mut labels = (*named.labels).clone();
            labels.insert(PRIORITY.to_owned(), priority.to_string());
            // Two records may name one address; the first one counts. None is so light that it gets nothing.
            if replicas.len() < ADDRESSES_MAX && replicas.iter().all(|other| other.name != named.name) {
                replicas.push(Replica { weight: share.max(1), labels: Arc::new(labels), ..named });
            }
        }
    }
    replicas
}

#[cfg(test)]
mod tests;
