//! One place in the chain: the policy that stands there, and perhaps a newer one on trial for a share of the requests.

use std::sync::Arc;

use policy_api::RequestFacts;

use crate::{Link, Scope};

/// One place in the chain.
#[derive(Clone)]
pub struct Stage {
    /// Which requests it is about; the others pass it by.
    pub scope: Arc<Scope>,
    /// Who is asked.
    pub stable: Link,
    /// Who is asked instead about a share of the requests.
    pub canary: Option<Canary>,
}

/// A version on trial.
#[derive(Clone)]
pub struct Canary {
    /// What is asked.
    pub link: Link,
    /// Its share of the requests, 1 to 99.
    pub percent: u8,
}

/// Who is asked about one request.
#[derive(Clone, Copy)]
pub(crate) struct Pick<'a> {
    pub link: &'a Link,
    pub is_canary: bool,
}

/// What a request without a tenant's name has as one.
const ANONYMOUS: &str = "anonymous";

impl From<Link> for Stage {
    /// The link alone, for every request.
    fn from(stable: Link) -> Stage {
        Stage { scope: Arc::default(), stable, canary: None }
    }
}

impl Stage {
    /// Both versions.
    pub fn links(&self) -> impl Iterator<Item = &Link> {
        std::iter::once(&self.stable).chain(self.canary.iter().map(|canary| &canary.link))
    }

    /// Which version is asked about this request: the same in all its hooks, and in all requests of its [`share`].
    pub(crate) fn pick(&self, facts: &RequestFacts) -> Pick<'_> {
        match &self.canary {
            Some(Canary { link, percent }) if share(&link.author.slot, facts) < u64::from(*percent) => {
                Pick { link, is_canary: true }
            }
            _ => Pick { link: &self.stable, is_canary: false },
        }
    }
}

/// Where a request stands among the hundred, for one slot. It follows from its tenant, so that a tenant meets one
/// version only; requests of no tenant's from the session, and those without one from their ids. A canary with a larger
/// share has all those that it had with a smaller one.
fn share(slot: &str, facts: &RequestFacts) -> u64 {
    let named = !facts.tenant.is_empty() && facts.tenant != ANONYMOUS;
    let hash = match (&facts.session, named) {
        (_, true) => hash([b"tenant", slot.as_bytes(), facts.tenant.as_bytes()]),
        (Some(session), false) => hash([b"session", slot.as_bytes(), session.as_bytes()]),
        (None, false) => hash([b"request", slot.as_bytes(), &facts.id.to_le_bytes()]),
    };
    hash % 100
}

/// FNV-1a over the parts and their ends, then SplitMix64's finaliser: FNV alone leaves the low digits of neighbouring
/// ids related.
fn hash(parts: [&[u8]; 3]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests;
