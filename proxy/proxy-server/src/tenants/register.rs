//! The tenants of now: those of the configuration and those of the tenants' file, which is read again when it changes.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::config::{Tenancy, TenantFile, Tenants};
use crate::stamp::{Stamp, stamp};
use crate::tenants::{Ledger, Tokens};

/// Between two looks at the file.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// Looks between two writings of what tenants have used: what a crash may forget.
const LOOKS_PER_WRITE: u32 = 8;
/// Bytes of the tenants' file.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Everything about tenants.
pub(crate) struct Register {
    now: ArcSwap<Tenants>,
    /// One change at a time.
    pub(super) lists: Mutex<Lists>,
    pub(super) file: Option<PathBuf>,
    used_file: Option<PathBuf>,
    pub(super) ledger: Ledger,
    /// Whether the configuration names tenants.
    has_own: AtomicBool,
    pub tokens: Option<Tokens>,
}

/// The tenants as they are written.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// In the configuration; changed by whoever changes that.
    pub own: Vec<TenantFile>,
    /// In the tenants' file.
    pub listed: Vec<TenantFile>,
    pub stamp: Option<Stamp>,
}

/// The tenants' file.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    #[serde(default)]
    pub tenant: Vec<TenantFile>,
}

impl Register {
    /// Reads the tenants' file, and what was used before. Blocking.
    pub fn open(tenancy: Tenancy) -> Result<Register, String> {
        let Tenancy { own, file, used_file, tokens, is_meant_open: _ } = tenancy;
        let ledger = used_file.as_deref().map(Ledger::read).transpose()?.unwrap_or_default();
        let (stamp, listed) = match &file {
            None => (None, Vec::new()),
            Some(path) => (stamp_of(path), read_list(path)?),
        };
        let register = Register {
            now: ArcSwap::default(),
            lists: Mutex::new(Lists { own: Vec::new(), listed, stamp }),
            file,
            used_file,
            ledger,
            has_own: AtomicBool::new(false),
            tokens: tokens.map(Tokens::open).transpose()?,
        };
        register.replace_own(own)?;
        Ok(register)
    }

    /// Whether clients need a key or a token.
    pub fn are_configured(&self) -> bool {
        self.has_own.load(Ordering::Relaxed) || self.file.is_some() || self.tokens.is_some()
    }

    pub fn now(&self) -> Guard<Arc<Tenants>> {
        self.now.load()
    }

    /// Takes the tenants of another configuration. Where it has none any more, the port stays closed unless that is meant:
    /// a slip of the hand, or a file that was cut off, must not open it.
    pub fn renew(&self, new: &Tenancy) -> Result<(), String> {
        if new.own == self.lists().own {
            return Ok(());
        }
        let would_open = new.own.is_empty() && self.file.is_none() && self.tokens.is_none();
        if would_open && !new.is_meant_open {
            return Err(
                "without any [[tenant]] everybody could ask without a key; the tenants stay as they were. Set \
                        `open = true` in [tenants] if that is meant, or restart"
                    .to_owned(),
            );
        }
        self.replace_own(new.own.clone())
    }

    /// Puts these in the place of the configuration's own; those of the file stay. Nothing changes if they do not go
    /// together.
    fn replace_own(&self, own: Vec<TenantFile>) -> Result<(), String> {
        let mut lists = self.lists();
        let changed = Lists { own, listed: lists.listed.clone(), stamp: lists.stamp };
        let has_own = !changed.own.is_empty();
        self.publish(&mut lists, changed)?;
        self.has_own.store(has_own, Ordering::Relaxed);
        Ok(())
    }

    /// Makes these the tenants of now.
    pub(super) fn publish(&self, lists: &mut Lists, changed: Lists) -> Result<(), String> {
        self.now.store(Arc::new(changed.tenants(&self.ledger)?));
        *lists = changed;
        Ok(())
    }

    /// The tenants as they are written: in the configuration, and in the file.
    pub fn written(&self) -> (Vec<TenantFile>, Vec<TenantFile>) {
        let lists = self.lists();
        (lists.own.clone(), lists.listed.clone())
    }

    pub(super) fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the file again if it is another than it was. What cannot be used is logged, and the tenants stay.
    fn look(&self) {
        let Some(path) = &self.file else { return };
        let mut lists = self.lists();
        let seen = stamp_of(path);
        if seen == lists.stamp {
            return;
        }
        lists.stamp = seen;
        let read = read_list(path).and_then(|listed| {
            let changed = Lists { own: lists.own.clone(), listed, stamp: seen };
            self.publish(&mut lists, changed)
        });
        match read {
            Ok(()) => tracing::info!(file = %path.display(), tenants = self.now().all().count(), "tenants read anew"),
            Err(error) => tracing::warn!(error, "the tenants stay as they were"),
        }
    }

    /// Writes what has been used. Blocking.
    pub fn write_used(&self) {
        let Some(path) = &self.used_file else { return };
        let now = self.now();
        self.ledger.keep_only(|name| now.named(name).is_some());
        if let Err(error) = self.ledger.write(path) {
            tracing::warn!(file = %path.display(), %error, "what tenants have used could not be written");
        }
    }
}

impl Lists {
    pub fn tenants(&self, ledger: &Ledger) -> Result<Tenants, String> {
        Tenants::of(self.own.iter().chain(&self.listed), ledger).map_err(|wrong| wrong.to_string())
    }
}

/// Looks at the tokens' keys, until the proxy stops. Apart from the tenants' file: a server that gives the keys slowly must
/// not put off the revocation of one.
pub(crate) async fn keep_token_keys(register: Arc<Register>, clock: Clock) {
    if register.tokens.is_none() {
        return;
    }
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    loop {
        looks.tick().await;
        let register = register.clone();
        let look = move || register.tokens.iter().for_each(|tokens| tokens.look(clock.now_ms()));
        if let Err(error) = tokio::task::spawn_blocking(look).await {
            tracing::error!(%error, "looking after the tokens' keys broke");
        }
    }
}

/// Looks at the file and writes what was used, until the proxy stops.
pub(crate) async fn keep(register: Arc<Register>) {
    let mut looks = tokio::time::interval(LOOK_INTERVAL);
    for count in 1_u32.. {
        looks.tick().await;
        let register = register.clone();
        let looked = tokio::task::spawn_blocking(move || {
            register.look();
            if count.is_multiple_of(LOOKS_PER_WRITE) {
                register.write_used();
            }
        });
        if let Err(error) = looked.await {
            tracing::error!(%error, "looking after the tenants broke");
        }
    }
}

/// `None` of a file that is not there.
pub(super) fn stamp_of(path: &Path) -> Option<Stamp> {
    path.metadata().ok().map(|file| stamp(&file))
}

/// A file that is not there has no tenants yet.
fn read_list(path: &Path) -> Result<Vec<TenantFile>, String> {
    let wrong = |error: String| format!("the tenants' file {} cannot be used: {error}", path.display());
    let mut text = String::new();
    match fs::File::open(path) {
        Ok(file) => {
            file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(wrong(error.to_string())),
    }
    toml::from_str(&text).map(|List { tenant }| tenant).map_err(|error| wrong(error.to_string()))
}
