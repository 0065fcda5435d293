//! What is compared: chains of policies, each loaded anew for every proxy of a run.

use std::fmt;
use std::sync::Arc;

use dispatch::{Author, Chain, Fallback, Link};
use policy_api::Policy;
use policy_runtime::{Limits, LoadError, Runtime};

use crate::{VirtualHost, cached_runtime};

/// Fuel of one call. A native pick burns a few hundred, a token tree tens of thousands; this is some 50 ms of work.
const CALL_FUEL_MAX: u64 = 100_000_000;
/// Fuel of one call while loading: a JavaScript or Python runtime starts in there.
const LOAD_FUEL_MAX: u64 = 20_000_000_000;
/// Bytes of one component: room for a language's whole runtime.
const COMPONENT_BYTES_MAX: usize = 64 << 20;

/// One chain under comparison.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name in reports.
    pub name: String,
    /// Its policies in order; none leaves all to the proxy's own fallback.
    pub policies: Vec<Source>,
}

/// Where a policy comes from.
#[derive(Clone)]
pub enum Source {
    /// A component.
    Component {
        /// Its bytes.
        bytes: Arc<[u8]>,
        /// Its configuration, a JSON object, or empty for none.
        config_json: String,
    },
    /// Rust code; called once for each proxy.
    Native(fn() -> Arc<dyn Policy>),
}

/// The bounds of a run that replays: those of a proxy, with fuel as the only meter.
pub fn virtual_limits() -> Limits {
    Limits {
        fuel_max: Some(CALL_FUEL_MAX),
        load_fuel_max: LOAD_FUEL_MAX,
        component_bytes_max: COMPONENT_BYTES_MAX,
        // One thread calls, so one instance is all that is ever lent.
        instances_max: 1,
        instances_ready: 1,
        ..Limits::default()
    }
}

impl Contender {
    /// The proxy's own last resort alone: the least loaded replica.
    pub fn fallback() -> Contender {
        Contender { name: dispatch::FALLBACK_NAME.to_owned(), policies: Vec::new() }
    }

    /// One proxy's chain.
    pub(crate) fn chain(&self, host: &Arc<VirtualHost>, seed: u64) -> Result<Chain, LoadError> {
        let runtime = cached_runtime(virtual_limits(), Arc::clone(host) as Arc<_>, seed)?;
        let links = self.policies.iter().enumerate();
        let links = links.map(|(number, source)| source.link(&runtime, &format!("slot{number}")));
        Ok(Chain::new(links.collect::<Result<Vec<Link>, LoadError>>()?, Arc::new(Fallback::default())))
    }
}

impl Source {
    fn link(&self, runtime: &Runtime, slot: &str) -> Result<Link, LoadError> {
        let (policy, digest): (Arc<dyn Policy>, String) = match self {
            Source::Native(make) => (make(), String::new()),
            Source::Component { bytes, config_json } => {
                let component = runtime.load(slot, bytes, config_json, None)?;
                let digest = component.digest().to_owned();
                (Arc::new(component), digest)
            }
        };
        let described = policy.describe();
        let (name, version) = (described.name.clone(), described.version.clone());
        Ok(Link::new(Author { slot: slot.to_owned(), number: 1, name, version, digest }, policy))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Component { bytes, config_json } => {
                write!(f, "Component({} bytes, {config_json})", bytes.len())
            }
            Source::Native(_) => f.write_str("Native"),
        }
    }
}
