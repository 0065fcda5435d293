//! Small values by name with versions, bounded in bytes.

use std::collections::HashMap;

/// What an entry costs besides its key and value, so that many empty ones are bounded too.
const ENTRY_BYTES: usize = 64;

/// One slot's values.
#[derive(Debug)]
pub(crate) struct Store {
    entries: HashMap<String, Entry>,
    bytes_now: usize,
    bytes_max: usize,
    /// Never goes back, so that a key removed and written again does not repeat a version.
    version_last: u64,
}

/// A value and which write it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub value: Vec<u8>,
    pub version: u64,
}

/// Why nothing was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WriteRefusal {
    /// The key has this version now, 0 when it is not there.
    Conflict(u64),
    /// No room.
    Full,
}

impl Store {
    pub(crate) fn new(bytes_max: usize) -> Store {
        Store { entries: HashMap::new(), bytes_now: 0, bytes_max, version_last: 0 }
    }

    /// Bytes of keys and values, with what each entry costs besides.
    pub(crate) fn bytes_now(&self) -> usize {
        self.bytes_now
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    /// Writes whatever is there.
    pub(crate) fn set(&mut self, key: &str, value: Vec<u8>) -> Result<u64, WriteRefusal> {
        let old = self.entries.get(key).map_or(0, |entry| cost(key, &entry.value));
        let bytes = self.bytes_now - old + cost(key, &value);
        if bytes > self.bytes_max {
            return Err(WriteRefusal::Full);
        }
        self.bytes_now = bytes;
        self.version_last += 1;
        let entry = Entry { value, version: self.version_last };
        match self.entries.get_mut(key) {
            Some(place) => *place = entry,
            None => drop(self.entries.insert(key.to_owned(), entry)),
        }
        Ok(self.version_last)
    }

    /// Writes only over version `expected`; 0 for a key that must not be there.
    pub(crate) fn compare_and_set(&mut self, key: &str, expected: u64, value: Vec<u8>) -> Result<u64, WriteRefusal> {
        let found = self.entries.get(key).map_or(0, |entry| entry.version);
        if found == expected { self.set(key, value) } else { Err(WriteRefusal::Conflict(found)) }
    }

    pub(crate) fn remove(&mut self, key: &str) -> bool {
        let Some(entry) = self.entries.remove(key) else { return false };
        self.bytes_now -= cost(key, &entry.value);
        true
    }
}

fn cost(key: &str, value: &[u8]) -> usize {
    key.len() + value.len() + ENTRY_BYTES
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_expected_version_is_overwritten() {
        let mut store = Store::new(1000);
        let first = store.compare_and_set("k", 0, vec![1]).unwrap();
        assert_eq!(store.compare_and_set("k", 0, vec![2]), Err(WriteRefusal::Conflict(first)));
        let second = store.compare_and_set("k", first, vec![3]).unwrap();
        assert_eq!(store.get("k"), Some(Entry { value: vec![3], version: second }));
    }

    #[test]
    fn a_key_written_again_after_its_removal_has_a_new_version() {
        let mut store = Store::new(1000);
        let first = store.set("k", vec![]).unwrap();
        assert!(store.remove("k"));
        assert!(!store.remove("k"));
        assert_eq!(store.compare_and_set("k", first, vec![]), Err(WriteRefusal::Conflict(0)));
        assert!(store.set("k", vec![]).unwrap() > first);
    }

    proptest! {
        #[test]
        fn its_bytes_are_counted_exactly_and_bounded(
            writes in proptest::collection::vec(("[a-c]{1,2}", 0_usize..200, any::<bool>()), 0..60),
        ) {
            let mut store = Store::new(500);
            for (key, bytes, remove) in writes {
                if remove {
                    store.remove(&key);
                } else {
                    let _ = store.set(&key, vec![0; bytes]); // a refusal is one of the cases
                }
                let counted: usize = store.entries.iter().map(|(key, entry)| cost(key, &entry.value)).sum();
                prop_assert_eq!(counted, store.bytes_now);
                prop_assert!(store.bytes_now <= 500);
            }
        }
    }
}
