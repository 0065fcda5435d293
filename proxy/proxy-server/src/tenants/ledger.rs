//! What tenants have used of their budgets, kept over restarts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::tenants::account::{Account, Use};

/// Bytes of the file; more than the most tenants with the longest names need.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// All accounts by their tenants' names.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    accounts: Mutex<BTreeMap<String, Arc<Account>>>,
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
        let account = |(name, used)| (name, Arc::new(Account::of(used)));
        Ok(Ledger { accounts: Mutex::new(used.into_iter().map(account).collect()) })
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
        let changed = accounts.values().filter(|account| account.take_changed()).count();
        if changed == 0 {
            return Ok(());
        }
        let used: BTreeMap<&String, Use> = accounts.iter().map(|(name, account)| (name, account.used_last())).collect();
        let written = write_whole(path, &serde_json::to_vec(&used)?);
        if written.is_err() {
            accounts.values().for_each(|account| account.mark_changed());
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
    use crate::config::Allowance;
    use crate::tenants::account::Wants;

    const NOON: u64 = 1_728_043_200_000;

    fn uses(ledger: &Ledger, name: &str, tokens: u64) {
        let wants = Wants { least: 0, most: 0 };
        ledger.account(name).begin(&Allowance::default(), wants, NOON).unwrap().end(tokens, NOON);
    }

    #[test]
    fn what_was_used_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("used.json");
        let ledger = Ledger::read(&path).unwrap();
        uses(&ledger, "acme", 7);
        uses(&ledger, "gone", 7);
        ledger.keep_only(|name| name == "acme");
        ledger.write(&path).unwrap();
        let read = Ledger::read(&path).unwrap();
        assert_eq!(read.account("acme").used(NOON), ledger.account("acme").used(NOON));
        assert_eq!(read.account("acme").used(NOON).tokens_total, 7);
        assert_eq!(read.account("gone").used(NOON).tokens_total, 0);
        std::fs::write(&path, "{").unwrap();
        assert!(Ledger::read(&path).unwrap_err().contains("used.json"));
    }
}
