//! Which versions outlast a restart, and how they come back: what operators put into slots, where the configuration does
//! not say it.

use serde::{Deserialize, Serialize};

use crate::policies::slot::{Configured, Slot};
use crate::policies::state_folder::{Found, StateFolder};
use crate::policies::swap::digest_of;
use crate::policies::{Policies, Share, Sources, SwapError, Turn, Upload};

/// A slot's active version, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    pub slot: String,
    /// Of the chain's slots.
    pub place: usize,
    /// Of the component, `sha256:…`.
    pub digest: String,
    pub config_json: String,
    pub by: String,
    pub source: String,
    pub source_detail: Option<String>,
    /// Looked at again before it comes back: other keys may count by then.
    pub signature: Option<String>,
    pub loaded_unix_ms: u64,
    pub activated_unix_ms: u64,
    /// What the configuration said of the slot meanwhile. Where it says another thing at the next start, that counts.
    pub configured: Option<Configured>,
}

/// Why a kept version does not come back.
#[derive(Debug, thiserror::Error)]
enum NotRestored {
    #[error("the configuration has the slot now, or says another thing about it than it did; the configuration counts")]
    Overruled,
    #[error("the configuration does not have the slot any more")]
    Gone,
    #[error("its source {0:?} is none of file, admin, watch, oci")]
    UnknownSource(String),
    #[error("{0}")]
    Refused(#[from] SwapError),
}

impl Policies {
    /// Brings back what a folder keeps, and keeps it up from here on. Blocking.
    pub(super) fn restore(&self, turn: &Turn, state: StateFolder, sources: &Sources) {
        let mut on_disk = Vec::new();
        for found in state.read(self.bounds.component_bytes_max) {
            match found {
                Found::Sound { kept, bytes } => {
                    self.bring_back(turn, &kept, bytes, sources, &mut on_disk);
                }
                Found::Damaged { file, why } => {
                    tracing::error!(file = %file.display(), why, "a kept policy is damaged and is left out");
                }
            }
        }
        state.knows(on_disk);
        // Its place is empty until now.
        let _ = self.state.set(state);
        self.keep();
    }

    fn bring_back(&self, turn: &Turn, kept: &Kept, bytes: bytes::Bytes, sources: &Sources, on_disk: &mut Vec<Kept>) {
        let Kept { slot, digest, by, activated_unix_ms, .. } = kept;
        match self.put_back(turn, kept, bytes, sources) {
            Ok(()) => {
                tracing::info!(slot, digest, by, activated_unix_ms, "policy restored from state_folder");
                on_disk.push(kept.clone());
            }
            Err(why @ (NotRestored::Overruled | NotRestored::Gone)) => {
                tracing::warn!(slot, digest, by, %why, "a kept policy is forgotten");
                on_disk.push(kept.clone());
            }
            // It stays where it is until the slot gets another one: what is wrong may be mended.
            Err(why) => tracing::error!(slot, digest, by, %why, "a kept policy is not restored"),
        }
    }

    fn put_back(&self, turn: &Turn, kept: &Kept, bytes: bytes::Bytes, sources: &Sources) -> Result<(), NotRestored> {
        match (self.slot(&kept.slot), &kept.configured) {
            (Some(slot), configured) if slot.configured == *configured => {}
            (None, None) => {}
            (Some(_), _) => return Err(NotRestored::Overruled),
            (None, Some(_)) => return Err(NotRestored::Gone),
        }
        let known = ["file", "admin", "watch", "oci"].into_iter().find(|known| *known == kept.source);
        let source = known.ok_or_else(|| NotRestored::UnknownSource(kept.source.clone()))?;
        let (detail, signature) = (kept.source_detail.clone(), kept.signature.clone());
        let fetched = sources.take_again(bytes, source, detail, signature).map_err(SwapError::from)?;
        let upload = Upload { slot: kept.slot.clone(), fetched, share: Share::All, by: kept.by.clone() };
        self.put_with(turn, upload, Some(&kept.config_json))?;
        if let Some(slot) = self.slots().iter_mut().find(|slot| slot.name == kept.slot) {
            slot.was_kept(kept);
        }
        Ok(())
    }

    /// Writes down what has changed of what is kept. Blocking; that it cannot be written is told, and costs nothing else.
    pub(super) fn keep(&self) {
        let Some(state) = self.state.get() else { return };
        let slots = self.slots().clone();
        let wanted = slots.iter().enumerate().filter_map(|(place, slot)| slot.to_keep(place)).collect();
        for wrong in state.write(wanted) {
            tracing::error!(error = wrong, "policies put since the last start may not outlast the next one");
        }
    }

    /// The same after a change of a slot, which is answered as it is then.
    pub(super) fn kept(&self, name: &str) -> Slot {
        self.keep();
        self.slot(name).unwrap_or_else(|| Slot::empty(name, self.rules_of_uploads.clone()))
    }
}

impl Slot {
    /// Its active version, where the configuration would not bring it back.
    fn to_keep(&self, place: usize) -> Option<(Kept, bytes::Bytes)> {
        let active = self.active_version()?;
        let now = Configured {
            digest: active.component.digest().to_owned(),
            config_json: active.component.config_json().to_owned(),
        };
        if self.configured.as_ref().is_some_and(|configured| configured.says(&now)) {
            return None;
        }
        let Configured { digest, config_json } = now;
        let kept = Kept {
            slot: self.name.clone(),
            place,
            digest,
            config_json,
            by: active.by.clone(),
            source: active.origin.source.to_owned(),
            source_detail: active.origin.detail.clone(),
            signature: active.origin.signature.clone(),
            loaded_unix_ms: active.loaded_unix_ms,
            activated_unix_ms: active.activated_unix_ms,
            configured: self.configured.clone(),
        };
        Some((kept, active.bytes.clone()))
    }

    /// The newest version is one that was kept: its times are those of then.
    fn was_kept(&mut self, kept: &Kept) {
        if let Some(version) = self.versions.last_mut() {
            version.loaded_unix_ms = kept.loaded_unix_ms;
            version.activated_unix_ms = kept.activated_unix_ms;
        }
        if let Some(entry) = self.history.front_mut() {
            entry.why = Some("kept over a restart".to_owned());
        }
    }
}

impl Configured {
    /// Of a component and the configuration beside it.
    pub(super) fn of(bytes: &[u8], config_json: &str) -> Configured {
        Configured { digest: digest_of(bytes), config_json: config_json.to_owned() }
    }

    /// Whether the same version follows from it.
    fn says(&self, other: &Configured) -> bool {
        let value = |json: &str| match json.trim() {
            "" => Some(serde_json::json!({})),
            json => serde_json::from_str::<serde_json::Value>(json).ok(),
        };
        self.digest == other.digest && value(&self.config_json) == value(&other.config_json)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_what_the_configuration_says_however_it_is_written() {
        let said = |bytes: &[u8], json: &str| Configured::of(bytes, json);
        assert!(said(b"x", "").says(&said(b"x", "{}")));
        assert!(said(b"x", r#"{"a":1,"b":2}"#).says(&said(b"x", r#"{ "b": 2, "a": 1 }"#)));
        assert!(!said(b"x", r#"{"a":1}"#).says(&said(b"x", r#"{"a":2}"#)));
        assert!(!said(b"x", "").says(&said(b"y", "")));
    }
}
