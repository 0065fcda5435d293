//! Another region: its proxy, and what that proxy last said of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use policy_api::{RegionId, RegionRow};

use crate::admin::RegionDoc;
use crate::base_url::BaseUrl;
use crate::config::{self, Secret};
use crate::tls::ServerTls;
use crate::upstream::{Link, Links};

/// A region of the mesh that is not ours.
pub(crate) struct Peer {
    pub id: RegionId,
    pub name: String,
    pub data_url: BaseUrl,
    pub admin_url: BaseUrl,
    pub admin_token: Option<Secret>,
    /// To its data port.
    pub data: Link,
    /// To its admin port.
    pub admin: Link,
    reading: Mutex<PeerReading>,
}

/// What the last looks at a region showed.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerReading {
    pub region: Option<RegionDoc>,
    pub error: Option<String>,
    pub rtt_us: u32,
    /// The models its replicas serve.
    models: Arc<[String]>,
    read_ms: Option<u64>,
}

impl Peer {
    pub fn new(file: &config::Region, links: &Links) -> Peer {
        let config::Region { id, name, data_url, admin_url, admin_token, transports } = file.clone();
        let reading = PeerReading { error: Some("not reached yet".to_owned()), ..PeerReading::default() };
        let (data, admin) = (links.to(&data_url, &transports[0]), links.to(&admin_url, &transports[1]));
        Peer { id, name, data_url, admin_url, admin_token, data, admin, reading: Mutex::new(reading) }
    }

    /// Of both its ports.
    pub fn tls(&self) -> impl Iterator<Item = Arc<ServerTls>> {
        [&self.data, &self.admin].into_iter().filter_map(|link| link.tls.clone())
    }

    pub fn reading(&self) -> MutexGuard<'_, PeerReading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn looks_well(&self, region: RegionDoc, rtt_us: u32, now_ms: u64) {
        let told: BTreeSet<&String> = region.replicas.iter().flat_map(|replica| &replica.models).collect();
        let mut reading = self.reading();
        // The same list is the same allocation, which is how the fleet's views know that nothing changed.
        let models = match reading.models.iter().eq(told.iter().copied()) {
            true => reading.models.clone(),
            false => told.into_iter().cloned().collect(),
        };
        *reading = PeerReading { region: Some(region), error: None, rtt_us, models, read_ms: Some(now_ms) };
    }

    pub fn looks_ill(&self, error: String) {
        self.reading().error = Some(error);
    }

    /// The models its replicas serve.
    pub fn models(&self) -> Arc<[String]> {
        self.reading().models.clone()
    }

    /// The region as policies see it. One that cannot be reached has nothing available.
    pub fn row(&self, now_ms: u64) -> RegionRow {
        let reading = self.reading();
        let reached = reading.region.as_ref().filter(|_| reading.error.is_none());
        RegionRow {
            id: self.id,
            local: false,
            available: reached.map_or(0, |region| region.available),
            queue: reached.map_or(0, |region| region.queue),
            rtt_us: reading.rtt_us,
            age_ms: reading.age_ms(now_ms).unwrap_or(u32::MAX),
        }
    }
}

impl PeerReading {
    /// Since the last good look; `None` before the first.
    pub fn age_ms(&self, now_ms: u64) -> Option<u32> {
        self.read_ms.map(|read_ms| now_ms.saturating_sub(read_ms).try_into().unwrap_or(u32::MAX))
    }
}
