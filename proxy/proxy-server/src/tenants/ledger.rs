//! What tenants have used of their budgets, kept over restarts.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use crate::config::Allowance;

/// Budgets of a day begin anew at midnight UTC.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Bytes of the file; more than the most tenants with the longest names need.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// All accounts by their tenants' names.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: Mutex<BTreeMap<String, Arc<Account>>>,
}

/// One tenant's account.
#[derive(Debug, Default)]
pub(crate) struct Account {
    used: Mutex<Use>,
    /// It has been used since it was written last.
    is_changed: AtomicBool,
}

/// What has been used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub(crate) struct Use {
    /// Days since 1970 to the one that the next two are of.
    day: u64,
    pub requests_today: u64,
    pub tokens_today: u64,
    pub tokens_total: u64,
}

/// Which bound of a budget is used up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spent {
    pub bound: &'static str,
    pub max: u64,
    /// Milliseconds until there is more; `None` where only the operator can give more.
    pub resets_in_ms: Option<u64>,
    /// When that is.
    pub resets_at_unix_ms: Option<u64>,
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Spent { bound, max, resets_at_unix_ms, .. } = self;
        write!(f, "the budget of this key's tenant is used up: {bound} is {max}")?;
        match resets_at_unix_ms {
            Some(at) => write!(f, "; there is more from Unix second {} on (midnight UTC)", at / 1000),
            None => f.write_str("; ask the operator for more"),
        }
    }
}

impl Use {
    /// As it stands now: what was used on another day counts no more.
    fn on(self, now_unix_ms: u64) -> Use {
        let day = now_unix_ms / DAY_MS;
        match self.day == day {
            true => self,
            false => Use { day, requests_today: 0, tokens_today: 0, ..self },
        }
    }
}

impl Account {
    /// Counts a request, if the budget has room for it. Tokens are known only at the end: requests that are in flight
    /// together may use more than there was.
    pub fn begin(&self, budget: &Allowance, now_unix_ms: u64) -> Result<(), Spent> {
        let Allowance { requests_per_day, tokens_per_day, tokens_total } = *budget;
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.on(now_unix_ms);
        let next_day_ms = (used.day + 1) * DAY_MS;
        let bounds = [
            ("tokens_total", tokens_total, used.tokens_total, None),
            ("requests_per_day", requests_per_day, used.requests_today, Some(next_day_ms)),
            ("tokens_per_day", tokens_per_day, used.tokens_today, Some(next_day_ms)),
        ];
        for (bound, max, now, resets_at_unix_ms) in bounds {
            if let Some(max) = max.filter(|max| now >= *max) {
                let resets_in_ms = resets_at_unix_ms.map(|at| at.saturating_sub(now_unix_ms));
                return Err(Spent { bound, max, resets_in_ms, resets_at_unix_ms });
            }
        }
        used.requests_today += 1;
        self.is_changed.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Counts the tokens of a request that has ended.
    pub fn end(&self, tokens: u64, now_unix_ms: u64) {
        if tokens == 0 {
            return;
        }
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        *used = used.on(now_unix_ms);
        used.tokens_today = used.tokens_today.saturating_add(tokens);
        used.tokens_total = used.tokens_total.saturating_add(tokens);
        self.is_changed.store(true, Ordering::Relaxed);
    }

    pub fn used(&self, now_unix_ms: u64) -> Use {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).on(now_unix_ms)
    }
}

impl Ledger {
    /// Reads what was used before; a file that is not there is an empty one.
    pub fn read(path: &Path) -> Result<Ledger, String> {
        let wrong = |error: String| format!("cannot read what tenants have used from {}: {error}", path.display());
        let mut text = Vec::new();
        match fs::File::open(path) {
            Ok(file) => {
                file.take(FILE_BYTES_MAX).read_to_end(&mut text).map_err(|error| wrong(error.to_string()))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Ledger::default()),
            Err(error) => return Err(wrong(error.to_string())),
        }
        let used: BTreeMap<String, Use> = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        let account = |used| Arc::new(Account { used: Mutex::new(used), is_changed: AtomicBool::new(false) });
        Ok(Ledger { accounts: Mutex::new(used.into_iter().map(|(name, used)| (name, account(used))).collect()) })
    }

    /// The account of this tenant; a new one where there is none.
    pub fn account(&self, name: &str) -> Arc<Account> {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.entry(name.to_owned()).or_default().clone()
    }

    /// Forgets the accounts of tenants that are no more.
    pub fn keep_only(&self, is_there: impl Fn(&str) -> bool) {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner).retain(|name, _| is_there(name));
    }

    /// Writes the accounts if any has been used since. Whoever reads the file meanwhile reads the old or the new one.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Not `any`: all of them are written, and none is changed any more.
        let changed = accounts.values().filter(|account| account.is_changed.swap(false, Ordering::Relaxed)).count();
        if changed == 0 {
            return Ok(());
        }
        let used: BTreeMap<&String, Use> = accounts
            .iter()
            .map(|(name, account)| (name, *account.used.lock().unwrap_or_else(PoisonError::into_inner)))
            .collect();
        let written = write_whole(path, &serde_json::to_vec(&used)?);
        if written.is_err() {
            accounts.values().for_each(|account| account.is_changed.store(true, Ordering::Relaxed));
        }
        written
    }
}

/// Writes a file of its own beside `path` and moves it into its place; nobody but the owner may read it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;

    fn budget(requests_per_day: Option<u64>, tokens_per_day: Option<u64>, tokens_total: Option<u64>) -> Allowance {
        Allowance { requests_per_day, tokens_per_day, tokens_total }
    }

    #[test]
    fn a_days_requests_are_bounded_and_begin_anew_at_midnight() {
        let (account, budget) = (Account::default(), budget(Some(2), None, None));
        assert_eq!(account.begin(&budget, NOON), Ok(()));
        assert_eq!(account.begin(&budget, NOON), Ok(()));
        let spent = Spent {
            bound: "requests_per_day",
            max: 2,
            resets_in_ms: Some(DAY_MS / 2),
            resets_at_unix_ms: Some(20_001 * DAY_MS),
        };
        assert_eq!(account.begin(&budget, NOON), Err(spent));
        assert_eq!(account.begin(&budget, NOON + DAY_MS / 2), Ok(()));
        assert_eq!(account.used(NOON + DAY_MS / 2).requests_today, 1);
    }

    #[test]
    fn tokens_are_counted_at_the_end_and_bound_those_that_follow() {
        let (account, budget) = (Account::default(), budget(None, Some(100), Some(150)));
        assert_eq!(account.begin(&budget, NOON), Ok(()));
        account.end(120, NOON);
        assert_eq!(account.begin(&budget, NOON).unwrap_err().bound, "tokens_per_day");
        assert_eq!(account.begin(&budget, NOON + DAY_MS), Ok(()));
        account.end(30, NOON + DAY_MS);
        let spent = account.begin(&budget, NOON + 9 * DAY_MS).unwrap_err();
        assert_eq!((spent.bound, spent.resets_in_ms), ("tokens_total", None));
    }

    #[test]
    fn what_was_used_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("used.json");
        let ledger = Ledger::read(&path).unwrap();
        ledger.account("acme").begin(&Allowance::default(), NOON).unwrap();
        ledger.account("acme").end(7, NOON);
        ledger.account("gone").end(7, NOON);
        ledger.keep_only(|name| name == "acme");
        ledger.write(&path).unwrap();
        let read = Ledger::read(&path).unwrap();
        assert_eq!(read.account("acme").used(NOON), ledger.account("acme").used(NOON));
        assert_eq!(read.account("acme").used(NOON).tokens_total, 7);
        assert_eq!(read.account("gone").used(NOON), Use { day: 20_000, ..Use::default() });
        std::fs::write(&path, "{").unwrap();
        assert!(Ledger::read(&path).unwrap_err().contains("used.json"));
    }
}
