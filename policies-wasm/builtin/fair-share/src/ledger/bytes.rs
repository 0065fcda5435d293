//! The ledger as bytes, for a successor.

use std::collections::BTreeMap;

use super::{Entry, Ledger, REQUESTS_MAX, State, Tenant};
use crate::config::TENANTS_MAX;

/// The form that this version writes and reads.
const FORM: u8 = 1;
/// Where a tenant's number would stand.
const NOBODY: u32 = u32::MAX;

impl Ledger {
    /// Form, tenants, who was last, requests; all numbers little-endian.
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = vec![FORM];
        bytes.extend((self.tenants.len() as u32).to_le_bytes());
        for tenant in &self.tenants {
            bytes.extend((tenant.name.len() as u32).to_le_bytes());
            bytes.extend(tenant.name.as_bytes());
            bytes.extend(tenant.served.to_le_bytes());
            bytes.extend(tenant.asked_ms.to_le_bytes());
        }
        bytes.extend(self.left_last.unwrap_or(NOBODY).to_le_bytes());
        bytes.extend((self.requests.len() as u32).to_le_bytes());
        for (request, entry) in &self.requests {
            bytes.extend(request.to_le_bytes());
            bytes.extend(entry.tenant.to_le_bytes());
            match entry.state {
                State::Waiting => bytes.push(0),
                State::Running { charged, prompt_tokens } => {
                    bytes.push(1);
                    bytes.extend(charged.to_le_bytes());
                    bytes.extend(prompt_tokens.to_le_bytes());
                }
            }
        }
        bytes
    }

    /// What [`Ledger::write`] wrote, or why it is not that.
    pub fn read(bytes: &[u8]) -> Result<Ledger, String> {
        let mut reader = Reader(bytes);
        match reader.u8() {
            Some(FORM) => {}
            Some(form) => return Err(format!("the snapshot has form {form}; this version reads {FORM}")),
            None => return Err("the snapshot is empty".to_owned()),
        }
        let ledger = reader.ledger().ok_or("the snapshot is cut short or says what cannot be")?;
        match reader.0 {
            [] => Ok(ledger),
            rest => Err(format!("the snapshot has {} bytes too many", rest.len())),
        }
    }
}

/// What is still to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn ledger(&mut self) -> Option<Ledger> {
        let mut ledger = Ledger::default();
        for at in 0..self.count(TENANTS_MAX)? {
            let tenant = self.tenant()?;
            if ledger.by_name.insert(tenant.name.clone(), at).is_some() {
                return None;
            }
            ledger.tenants.push(tenant);
        }
        ledger.left_last = match self.u32()? {
            NOBODY => None,
            last if (last as usize) < ledger.tenants.len() => Some(last),
            _ => return None,
        };
        ledger.requests = self.requests(&mut ledger.tenants)?;
        Some(ledger)
    }

    fn tenant(&mut self) -> Option<Tenant> {
        let name_bytes = self.u32()? as usize;
        let (name, rest) = self.0.split_at_checked(name_bytes)?;
        self.0 = rest;
        let name = str::from_utf8(name).ok()?.to_owned();
        Some(Tenant { name, served: self.u64()?, asked_ms: self.u64()?, waiting: 0, running: 0 })
    }

    fn requests(&mut self, tenants: &mut [Tenant]) -> Option<BTreeMap<u64, Entry>> {
        let mut requests = BTreeMap::new();
        for _ in 0..self.count(REQUESTS_MAX)? {
            let (request, at) = (self.u64()?, self.u32()?);
            let tenant = tenants.get_mut(at as usize)?;
            let state = match self.u8()? {
                0 => State::Waiting,
                1 => State::Running { charged: self.u64()?, prompt_tokens: self.u32()? },
                _ => return None,
            };
            match state {
                State::Waiting => tenant.waiting += 1,
                State::Running { .. } => tenant.running += 1,
            }
            if requests.insert(request, Entry { tenant: at, state }).is_some() {
                return None;
            }
        }
        Some(requests)
    }

    fn count(&mut self, most: usize) -> Option<u32> {
        self.u32().filter(|count| *count as usize <= most)
    }

    fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}
