//! Changes tenants and their keys on the operator's word: written to the tenants' file first, then true.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::config::{Allowance, TenantFile, hex, key_id};
use crate::tenants::Register;
use crate::tenants::ledger::write_whole;
use crate::tenants::register::{List, Lists, stamp_of};

/// What a tenant may, as the operator says it.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rules {
    pub priority: u32,
    pub models: Vec<String>,
    pub budget: Allowance,
}

/// A key that nobody has seen yet. Shown once; only its digest is kept.
pub struct NewKey {
    /// The key itself.
    pub key: String,
    /// SHA-256 of it, in hex.
    pub sha256: String,
}

/// Why tenants stay as they are.
#[derive(Debug, Error)]
pub(crate) enum ChangeError {
    #[error("there is no file that tenants could be written to; set `[tenants] file` in the configuration")]
    NoFile,
    #[error("the tenant {0:?} is in the configuration itself; change it there")]
    Configured(String),
    #[error("there is no tenant {0:?}")]
    UnknownTenant(String),
    #[error("the tenant {tenant:?} has no key {id:?}")]
    UnknownKey { tenant: String, id: String },
    #[error("{0}")]
    Refused(String),
    #[error("the tenants' file could not be written: {0}")]
    Write(std::io::Error),
}

impl NewKey {
    /// 256 bits of the system's chance.
    pub fn make() -> NewKey {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("the system gives chance, or nothing here could be kept secret");
        let key = format!("hw-{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let sha256 = hex(&Sha256::digest(&key));
        NewKey { key, sha256 }
    }

    /// What names the key without telling it.
    pub fn id(&self) -> String {
        key_id(&self.sha256)
    }
}

impl Register {
    /// Sets what a tenant may; makes it where there is none. Blocking, as all of these.
    pub fn put(&self, name: &str, rules: Rules) -> Result<(), ChangeError> {
        let Rules { priority, models, budget } = rules;
        self.change(name, |listed| {
            let at = listed.iter().position(|tenant| tenant.name == name);
            let key_sha256 = at.map(|at| listed.remove(at).key_sha256).unwrap_or_default();
            listed.push(TenantFile { name: name.to_owned(), key_sha256, priority, models, budget });
            Ok(())
        })
    }

    /// Removes a tenant and its keys.
    pub fn remove(&self, name: &str) -> Result<(), ChangeError> {
        self.change(name, |listed| {
            let at = listed.iter().position(|tenant| tenant.name == name);
            listed.remove(at.ok_or_else(|| ChangeError::UnknownTenant(name.to_owned()))?);
            Ok(())
        })
    }

    /// Gives a tenant one more key.
    pub fn add_key(&self, name: &str) -> Result<NewKey, ChangeError> {
        let made = NewKey::make();
        self.change(name, |listed| {
            one(listed, name)?.key_sha256.push(made.sha256.clone());
            Ok(())
        })?;
        Ok(made)
    }

    /// Takes a key from a tenant.
    pub fn revoke(&self, name: &str, id: &str) -> Result<(), ChangeError> {
        self.change(name, |listed| {
            let tenant = one(listed, name)?;
            let keys = tenant.key_sha256.len();
            tenant.key_sha256.retain(|key| key_id(key) != id);
            match tenant.key_sha256.len() < keys {
                true => Ok(()),
                false => Err(ChangeError::UnknownKey { tenant: name.to_owned(), id: id.to_owned() }),
            }
        })
    }

    fn change(
        &self,
        name: &str,
        change: impl FnOnce(&mut Vec<TenantFile>) -> Result<(), ChangeError>,
    ) -> Result<(), ChangeError> {
        let path = self.file.as_ref().ok_or(ChangeError::NoFile)?;
        let mut lists = self.lists();
        if lists.own.iter().any(|tenant| tenant.name == name) {
            return Err(ChangeError::Configured(name.to_owned()));
        }
        let mut listed = lists.listed.clone();
        change(&mut listed)?;
        listed.sort_by(|one, other| one.name.cmp(&other.name));
        let mut changed = Lists { own: lists.own.clone(), listed, stamp: None };
        changed.tenants(&self.ledger).map_err(ChangeError::Refused)?;
        let text = toml::to_string(&List { tenant: changed.listed.clone() });
        let text = text.map_err(|error| ChangeError::Refused(error.to_string()))?;
        write_whole(path, text.as_bytes()).map_err(ChangeError::Write)?;
        changed.stamp = stamp_of(path);
        self.publish(&mut lists, changed).map_err(ChangeError::Refused)
    }
}

fn one<'a>(listed: &'a mut [TenantFile], name: &str) -> Result<&'a mut TenantFile, ChangeError> {
    let found = listed.iter_mut().find(|tenant| tenant.name == name);
    found.ok_or_else(|| ChangeError::UnknownTenant(name.to_owned()))
}
