//! Changes of a slot: what is put, tried, promoted, configured, activated, rolled back and taken out.
//!
//! Each is one step for those who ask the chain. Blocking: components are compiled and states handed over in here. The
//! caller has its [`Turn`].

use std::sync::Arc;

use policy_runtime::{Beginning, Component, Handover, Prepared};
use sha2::{Digest, Sha256};

use crate::config::is_slot_name;
use crate::policies::gently::gently;
use crate::policies::history::{Act, BY_BUDGET, What};
use crate::policies::slot::{Arrival, Slot, Standing};
use crate::policies::{Fetched, Policies, SwapError, Turn};

/// A component for a slot.
pub(crate) struct Upload {
    pub slot: String,
    pub fetched: Fetched,
    pub share: Share,
    pub by: String,
}

/// How many of the slot's requests a new version is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    All,
    /// A canary's share, 1 to 99.
    Percent(u8),
}

impl Policies {
    /// Loads a component and makes it a slot's active version, or its canary. What was active stays until the new one is
    /// ready, and stays for good if it never is.
    pub(crate) fn put(&self, turn: &Turn, upload: Upload) -> Result<Slot, SwapError> {
        self.put_with(turn, upload, None)
    }

    /// The same with another configuration than the slot's.
    pub(super) fn put_with(&self, _turn: &Turn, upload: Upload, config: Option<&str>) -> Result<Slot, SwapError> {
        let Upload { slot: name, fetched, share, by } = upload;
        if !is_slot_name(&name) {
            return Err(SwapError::BadName(name));
        }
        let config_json = match self.slot(&name) {
            Some(slot) => slot.config_json().to_owned(),
            None if share != Share::All => return Err(SwapError::UnknownSlot(name)),
            None if self.slots().len() >= self.bounds.slots_max => {
                return Err(SwapError::TooManySlots { slots_max: self.bounds.slots_max });
            }
            None => String::new(),
        };
        let config_json = config.map_or(config_json, str::to_owned);
        let what = if share == Share::All { What::Activated } else { What::Canary };
        let new = New { what, fetched, by };
        let loaded = gently(|| self.runtime.prepare(&name, &new.fetched.bytes, &config_json)).map_err(SwapError::from);
        let placed = loaded.and_then(|prepared| self.place(&name, share, prepared, &new));
        placed.inspect_err(|refused| {
            self.refused(&name, &new.by, Some(digest_of(&new.fetched.bytes)), refused);
            // A slot that never came to be keeps nothing in the runtime.
            if self.slot(&name).is_none() {
                self.runtime.forget(&name);
            }
        })?;
        Ok(self.kept(&name))
    }

    /// Gives a slot's active component another configuration, as a new version.
    pub(crate) fn configure(
        &self,
        _turn: &Turn,
        name: &str,
        config_json: &str,
        share: Share,
        by: &str,
    ) -> Result<Slot, SwapError> {
        let slot = self.known(name)?;
        let active = slot.active_version().ok_or_else(|| SwapError::NothingToConfigure(name.to_owned()))?;
        let fetched = Fetched { bytes: active.bytes.clone(), origin: active.origin.clone() };
        let new = New { what: What::Configured, fetched, by: by.to_owned() };
        let prepared = gently(|| active.component.again(Some(config_json))).map_err(SwapError::from);
        let placed = prepared.and_then(|prepared| self.place(name, share, prepared, &new));
        placed.inspect_err(|refused| self.refused(name, by, Some(digest_of(&new.fetched.bytes)), refused))?;
        Ok(self.kept(name))
    }

    /// Makes the canary active.
    pub(crate) fn promote(&self, _turn: &Turn, name: &str, by: &str) -> Result<Slot, SwapError> {
        let slot = self.known(name)?;
        let canary = slot.trial.as_ref().ok_or_else(|| SwapError::NoCanary(name.to_owned()))?.version;
        let change = Change { what: What::Promoted, by, why: None, left_as: Standing::Previous };
        self.make_active(&slot, canary, change)
    }

    /// Makes a kept version active again.
    pub(crate) fn activate(&self, _turn: &Turn, name: &str, number: u32, by: &str) -> Result<Slot, SwapError> {
        let slot = self.known(name)?;
        let version = slot.version(number);
        let version = version.ok_or_else(|| SwapError::UnknownVersion { slot: name.to_owned(), number })?;
        let what = match version.standing {
            Standing::Active => return Ok(slot),
            Standing::Quarantined => return Err(SwapError::Quarantined { slot: name.to_owned(), number }),
            Standing::Canary => What::Promoted,
            Standing::Previous | Standing::Rejected => What::Activated,
        };
        self.make_active(&slot, number, Change { what, by, why: None, left_as: Standing::Previous })
    }

    /// Drops the canary; where there is none, makes the version active again that was active before.
    pub(crate) fn roll_back(&self, _turn: &Turn, name: &str, by: &str) -> Result<Slot, SwapError> {
        let slot = self.known(name)?;
        if slot.trial.is_some() {
            return Ok(self.end_trial(name, Standing::Rejected, What::RolledBack, by, None));
        }
        let before = slot.last_before().ok_or_else(|| SwapError::NothingBefore(name.to_owned()))?;
        let change = Change { what: What::RolledBack, by, why: None, left_as: Standing::Rejected };
        self.make_active(&slot, before, change)
    }

    /// Takes a slot out of the chain, and forgets what it kept.
    pub(crate) fn remove(&self, _turn: &Turn, name: &str) -> Result<(), SwapError> {
        let mut slots = self.slots();
        let at = slots.iter().position(|slot| slot.name == name);
        let at = at.ok_or_else(|| SwapError::UnknownSlot(name.to_owned()))?;
        if slots[at].is_configured {
            return Err(SwapError::Configured(name.to_owned()));
        }
        slots.remove(at);
        self.publish(&slots);
        drop(slots);
        self.runtime.forget(name);
        self.keep();
        Ok(())
    }

    /// Ends a canary's trial because it is over its budget.
    pub(super) fn give_up_canary(&self, name: &str, standing: Standing, why: String) {
        let what = if standing == Standing::Quarantined { What::Quarantined } else { What::RolledBack };
        self.end_trial(name, standing, what, BY_BUDGET, Some(why));
    }

    /// Takes an active version out that fails too often. The one before it is active again; where there is none, the
    /// slot is left empty, and what its faults mean goes on.
    pub(super) fn quarantine(&self, slot: &Slot, number: u32, why: String) {
        let (name, before) = (slot.name.as_str(), slot.last_before());
        let change = |why| Change { what: What::Quarantined, by: BY_BUDGET, why, left_as: Standing::Quarantined };
        if let Some(before) = before {
            match self.make_active(slot, before, change(Some(why.clone()))) {
                Ok(_) => return,
                Err(error) => tracing::error!(slot = name, version = before, %error, "cannot restore a version"),
            }
        }
        self.end_trial(name, Standing::Rejected, What::RolledBack, BY_BUDGET, Some(ALONE.to_owned()));
        self.change(name, |slot| {
            slot.leave(Standing::Quarantined);
            let why = Some(format!("{why}; no earlier version is left: {}", slot.what_now()));
            Act { what: What::Quarantined, by: BY_BUDGET.to_owned(), from: Some(number), to: None, why }
        });
        self.keep();
    }

    /// A version that is new to its slot.
    fn place(&self, name: &str, share: Share, prepared: Prepared, new: &New) -> Result<Slot, SwapError> {
        let slot = self.slot(name).unwrap_or_else(|| Slot::empty(name, self.rules_of_uploads.clone()));
        let active = slot.active_version();
        let predecessor = active.map(|version| &*version.component);
        let arrival = |component| Arrival {
            component,
            fetched: new.fetched.clone(),
            by: new.by.clone(),
            now_unix_ms: self.clock.now_unix_ms(),
        };
        let (versions_max, from) = (self.bounds.versions_max, slot.active());
        let act = |to, why| Act { what: new.what, by: new.by.clone(), from, to: Some(to), why };
        match share {
            Share::Percent(percent) => {
                let beside = predecessor.ok_or_else(|| SwapError::NothingBeside(name.to_owned()))?;
                let (component, beginning) = prepared.beside(beside)?;
                self.end_trial(name, Standing::Rejected, What::RolledBack, &new.by, Some(ANOTHER.to_owned()));
                Ok(self.change(name, |slot| {
                    let number = slot.add_canary(arrival(Arc::new(component)), percent, versions_max);
                    act(number, in_words(&beginning))
                }))
            }
            Share::All => {
                let (component, handover) = prepared.take_over(predecessor)?;
                let component = Arc::new(component);
                self.end_trial(name, Standing::Rejected, What::RolledBack, &new.by, Some(REPLACED.to_owned()));
                if self.slot(name).is_none() {
                    self.slots().push(slot.clone());
                }
                let changed = self.change(name, |slot| {
                    let number = slot.add_active(arrival(component.clone()), versions_max);
                    act(number, in_words(handover.beginning()))
                });
                handover.finish(&component);
                Ok(changed)
            }
        }
    }

    /// A version that the slot keeps becomes active, with the state of the one before where they are two of a kind.
    fn make_active(&self, slot: &Slot, number: u32, change: Change<'_>) -> Result<Slot, SwapError> {
        let Change { what, by, why, left_as } = change;
        let name = slot.name.as_str();
        let version = slot.version(number);
        let version = version.ok_or_else(|| SwapError::UnknownVersion { slot: name.to_owned(), number })?;
        if what != What::Promoted && what != What::Quarantined {
            self.end_trial(name, Standing::Rejected, What::RolledBack, by, Some(REPLACED.to_owned()));
        }
        let renewed = match slot.active_version() {
            Some(active) if version.component.inherits_from(&active.component) => {
                let (component, handover) = version.component.again(None)?.take_over(Some(&active.component))?;
                Some((Arc::new(component), handover))
            }
            _ => None,
        };
        let (component, handover): (Option<Arc<Component>>, Option<Handover<'_>>) = renewed.unzip();
        let beginning = handover.as_ref().and_then(|handover| in_words(handover.beginning()));
        let from = slot.active();
        self.change(name, |slot| {
            slot.activate(number, component.clone(), left_as, self.clock.now_unix_ms());
            let why: Vec<String> = why.into_iter().chain(beginning).collect();
            let why = Some(why.join("; ")).filter(|why| !why.is_empty());
            Act { what, by: by.to_owned(), from, to: Some(number), why }
        });
        if let (Some(component), Some(handover)) = (component, handover) {
            handover.finish(&component);
        }
        Ok(self.kept(name))
    }

    /// Ends the trial there is, if there is one.
    fn end_trial(&self, name: &str, standing: Standing, what: What, by: &str, why: Option<String>) -> Slot {
        let has_trial = self.slot(name).is_some_and(|slot| slot.trial.is_some());
        if !has_trial {
            return self.slot(name).unwrap_or_else(|| Slot::empty(name, self.rules_of_uploads.clone()));
        }
        self.change(name, |slot| {
            let from = slot.drop_canary(standing);
            Act { what, by: by.to_owned(), from, to: slot.active(), why: why.clone() }
        })
    }

    /// Changes a slot that is there and publishes the chain: one step for those who ask it.
    fn change(&self, name: &str, change: impl FnOnce(&mut Slot) -> Act) -> Slot {
        let mut slots = self.slots();
        let slot = slots.iter_mut().find(|slot| slot.name == name).expect("its caller has the turn and saw the slot");
        let act = change(slot);
        self.tell(name, &act);
        slot.note(act, self.clock.now_unix_ms(), self.bounds.history_max);
        let slot = slot.clone();
        self.publish(&slots);
        slot
    }

    /// Writes a refusal down, where there is a slot to write it to.
    pub(crate) fn refused(&self, name: &str, by: &str, digest: Option<String>, refused: &SwapError) {
        let mut slots = self.slots();
        let Some(slot) = slots.iter_mut().find(|slot| slot.name == name) else {
            // Not counted: there is no end to names of slots that never came to be.
            tracing::warn!(slot = name, by, error = %refused, "policy refused");
            return;
        };
        let why = Some(refused.to_string());
        let act = Act { what: What::Refused, by: by.to_owned(), from: slot.active(), to: None, why };
        self.tell(name, &act);
        slot.note(act, self.clock.now_unix_ms(), self.bounds.history_max);
        if let Some(entry) = slot.history.front_mut() {
            entry.digest = digest;
        }
    }

    fn tell(&self, slot: &str, act: &Act) {
        let Act { what, by, from, to, why } = act;
        self.swaps.with_label_values(&[slot, what.word()]).inc();
        let (what, why) = (what.word(), why.as_deref().unwrap_or(""));
        match act.what {
            What::Quarantined | What::Refused => tracing::warn!(slot, what, by, from, to, why, "policy slot"),
            _ => tracing::info!(slot, what, by, from, to, why, "policy slot"),
        }
    }

    fn known(&self, name: &str) -> Result<Slot, SwapError> {
        self.slot(name).ok_or_else(|| SwapError::UnknownSlot(name.to_owned()))
    }
}

/// A version that is to be added.
struct New {
    what: What,
    fetched: Fetched,
    by: String,
}

/// How a kept version becomes active.
struct Change<'a> {
    what: What,
    by: &'a str,
    why: Option<String>,
    left_as: Standing,
}

/// Why a canary's trial ended.
const ANOTHER: &str = "another version is tried";
const ALONE: &str = "nothing is left beside it";
const REPLACED: &str = "the version that it stood beside was replaced";

/// What a history says of how a version began.
fn in_words(beginning: &Beginning) -> Option<String> {
    match beginning {
        Beginning::Fresh => None,
        Beginning::Informed { bytes } => Some(format!("took over its predecessor's state, {bytes} bytes")),
        Beginning::Cold { why } => Some(format!("starts empty: {why}")),
    }
}

/// As the runtime names a component.
pub(super) fn digest_of(bytes: &[u8]) -> String {
    let hex = Sha256::digest(bytes).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    format!("sha256:{hex}")
}
