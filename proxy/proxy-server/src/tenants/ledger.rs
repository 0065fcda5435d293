//! What tenants have used of their budgets, kept over restarts.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
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
        let used = read(path)
            .map_err(|error| format!("cannot read what tenants have used from {}: {error}", path.display()))?;
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

    /// Writes the accounts if any has been used since, on top of what others have written meanwhile: at a hand-over two
    /// processes serve the same tenants. Whoever reads the file reads the old or the new one.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // Not `any`: all of them are written, and none is changed any more.
        let changed = accounts.values().filter(|account| account.take_changed()).count();
        if changed == 0 {
            return Ok(());
        }
        let written = write_on_top(path, &accounts);
        if written.is_err() {
            accounts.values().for_each(|account| account.mark_changed());
        }
        written
    }
}

fn write_on_top(path: &Path, accounts: &BTreeMap<String, Arc<Account>>) -> io::Result<()> {
    let lock = fs::OpenOptions::new().write(true).create(true).truncate(false).open(beside(path, "lock")?)?;
    // Given back when it is closed.
    lock.lock()?;
    let there = read(path)?;
    let join = |(name, account): (&String, &Arc<Account>)| {
        (name.clone(), account.joins(there.get(name).copied().unwrap_or_default()))
    };
    let used: BTreeMap<String, Use> = accounts.iter().map(join).collect();
    write_whole(path, &serde_json::to_vec(&used)?)?;
    for (name, used) in &used {
        accounts[name].is_written(*used);
    }
    Ok(())
}

fn read(path: &Path) -> io::Result<BTreeMap<String, Use>> {
    let mut text = Vec::new();
    match fs::File::open(path) {
        Ok(file) => file.take(FILE_BYTES_MAX).read_to_end(&mut text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_slice(&text)?)
}

/// A hidden file of this name in the same folder.
fn beside(path: &Path, kind: &str) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{kind}")))
}

/// Writes a file of its own beside `path` and moves it into its place; nobody but the owner may read it.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let beside = beside(path, "new")?;
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

    #[test]
    fn two_processes_add_to_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("used.json");
        let old = Ledger::read(&path).unwrap();
        uses(&old, "acme", 7);
        old.write(&path).unwrap();
        // The successor begins with what there is; both go on.
        let new = Ledger::read(&path).unwrap();
        uses(&new, "acme", 10);
        uses(&old, "acme", 100);
        new.write(&path).unwrap();
        old.write(&path).unwrap();
        uses(&new, "acme", 1000);
        new.write(&path).unwrap();
        let used = new.account("acme").used(NOON);
        assert_eq!((used.tokens_total, used.tokens_today, used.requests_today), (1117, 1117, 4));
        assert_eq!(Ledger::read(&path).unwrap().account("acme").used(NOON), used);
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("used.json");
        let ledger = Ledger::default();
        uses(&ledger, "acme", 7);
        assert!(ledger.write(&folder.path().join("no/such/used.json")).is_err());
        uses(&ledger, "acme", 3);
        ledger.write(&path).unwrap();
        assert_eq!(Ledger::read(&path).unwrap().account("acme").used(NOON).tokens_total, 10);
    }
}
