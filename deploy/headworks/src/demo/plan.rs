//! Which processes the demo runs and on which ports.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;

use anyhow::{Context, bail};
use bench_load::{Fleet, Target};
use toml::{Table, Value, toml};

/// What the demo calls its model, whatever checkpoint it serves.
pub(crate) const MODEL_NAME: &str = "headworks-demo";
/// The chain's one slot.
pub(crate) const SLOT: &str = "placement";
/// Ports from one region's first to the next region's.
const REGION_PORTS: u16 = 10;

pub(crate) struct Plan {
    pub(crate) regions: Vec<RegionPlan>,
}

pub(crate) struct RegionPlan {
    pub(crate) name: String,
    pub(crate) data: SocketAddr,
    pub(crate) admin: SocketAddr,
    pub(crate) replicas: Vec<ReplicaPlan>,
}

pub(crate) struct ReplicaPlan {
    pub(crate) name: String,
    pub(crate) listen: SocketAddr,
}

impl Plan {
    /// Gives every process a port, and finds out now whether one is taken.
    pub(crate) fn of(fleet: &Fleet, first_port: u16) -> anyhow::Result<Plan> {
        let mut ports = Ports { held: Vec::new() };
        let regions = fleet
            .regions
            .iter()
            .enumerate()
            .map(|(number, name)| ports.region(name, number, fleet.replicas, first_port))
            .collect::<anyhow::Result<_>>()?;
        Ok(Plan { regions })
    }

    /// Where the workload goes.
    pub(crate) fn targets(&self) -> Vec<Target> {
        let target = |region: &RegionPlan| Target { name: region.name.clone(), base_url: region.data_url() };
        self.regions.iter().map(target).collect()
    }

    /// The configuration file of one region's proxy.
    pub(crate) fn proxy_config(&self, region: &RegionPlan, component: &Path, otlp: Option<(&str, &str)>) -> String {
        let text = |value: &dyn ToString| Value::String(value.to_string());
        let component = text(&component.display());
        let (listen, admin, name) = (text(&region.data), text(&region.admin), text(&region.name));
        let mut config: Table = toml! {
            region = name
            listen = listen
            [admin]
            listen = admin
            [[policy]]
            slot = SLOT
            component = component
        };
        let replicas = region.replicas.iter().map(|replica| {
            let (name, url) = (text(&replica.name), text(&format!("http://{}", replica.listen)));
            Value::Table(toml! { name = name
            url = url })
        });
        config.insert("replica".to_owned(), Value::Array(replicas.collect()));
        let peers = self.regions.iter().filter(|peer| peer.name != region.name).map(|peer| {
            let (name, data, admin) = (text(&peer.name), text(&peer.data_url()), text(&peer.admin_url()));
            Value::Table(toml! { name = name
            data_url = data
            admin_url = admin })
        });
        config.insert("region_peer".to_owned(), Value::Array(peers.collect()));
        if let Some((endpoint, protocol)) = otlp {
            let telemetry = toml! { otlp_endpoint = endpoint
            protocol = protocol };
            config.insert("telemetry".to_owned(), Value::Table(telemetry));
        }
        config.to_string()
    }
}

impl RegionPlan {
    pub(crate) fn data_url(&self) -> String {
        format!("http://{}", self.data)
    }

    pub(crate) fn admin_url(&self) -> String {
        format!("http://{}", self.admin)
    }
}

/// Ports found free, held until the whole plan is made so that none is given twice.
struct Ports {
    held: Vec<TcpListener>,
}

impl Ports {
    fn region(&mut self, name: &str, number: usize, replicas: u32, first: u16) -> anyhow::Result<RegionPlan> {
        let mut nth = |offset: u32| {
            let wanted = match first {
                0 => Some(0),
                first => u32::from(REGION_PORTS)
                    .max(replicas + 2)
                    .checked_mul(number as u32)
                    .and_then(|base| u16::try_from(base + offset + u32::from(first)).ok()),
            };
            let wanted =
                wanted.with_context(|| format!("ports from {first} on do not suffice; choose a lower --port"))?;
            self.take(wanted)
        };
        let (data, admin) = (nth(0)?, nth(1)?);
        let replicas = (0..replicas)
            .map(|replica| Ok(ReplicaPlan { name: format!("{name}-{replica}"), listen: nth(replica + 2)? }))
            .collect::<anyhow::Result<_>>()?;
        Ok(RegionPlan { name: name.to_owned(), data, admin, replicas })
    }

    fn take(&mut self, port: u16) -> anyhow::Result<SocketAddr> {
        let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => listener,
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                bail!("port {port} is already taken; stop what listens there, or choose other ports with --port")
            }
            Err(error) => return Err(error).with_context(|| format!("listen on port {port}")),
        };
        let address = listener.local_addr().context("read the port's number")?;
        self.held.push(listener);
        Ok(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Fleet {
        Fleet { regions: vec!["us".to_owned(), "eu".to_owned()], replicas: 2 }
    }

    #[test]
    fn free_ports_are_all_different() {
        let plan = Plan::of(&fleet(), 0).unwrap();
        let mut ports: Vec<u16> = plan
            .regions
            .iter()
            .flat_map(|region| {
                let replicas = region.replicas.iter().map(|replica| replica.listen);
                [region.data, region.admin].into_iter().chain(replicas)
            })
            .map(|address| address.port())
            .collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 8);
    }

    #[test]
    fn a_taken_port_is_one_clear_sentence() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Plan::of(&fleet(), port).map(|_| ()).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("port {port} is already taken; stop what listens there, or choose other ports with --port")
        );
    }

    #[test]
    fn ports_past_the_last_are_refused() {
        let error = Plan::of(&fleet(), 65_535).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("65535"), "{error}");
    }
}
