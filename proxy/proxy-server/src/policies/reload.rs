//! Brings the slots to what another configuration says, slot by slot; what cannot be had leaves a slot as it was.

use std::sync::Arc;

use crate::config::PolicySlot;
use crate::policies::slot::{Configured, Slot};
use crate::policies::{Policies, Share, Sources, Turn, Upload};

const BY: &str = "reload";

impl Policies {
    /// Says for each slot that could not be brought there why. Blocking.
    pub(crate) fn reload(&self, turn: &Turn, old: &[PolicySlot], new: &[PolicySlot], sources: &Sources) -> Vec<String> {
        let mut wrongs = Vec::new();
        for gone in old.iter().filter(|old| !new.iter().any(|new| new.slot == old.slot)) {
            self.unconfigure(&gone.slot);
            // A slot that was removed before is no trouble.
            let _ = self.remove(turn, &gone.slot);
        }
        for wanted in new {
            let before = old.iter().find(|old| old.slot == wanted.slot);
            if let Err(wrong) = self.bring(turn, before, wanted, sources) {
                wrongs.push(format!("policy slot {:?}: {wrong}", wanted.slot));
            }
        }
        self.order(new);
        self.keep();
        wrongs
    }

    fn bring(
        &self,
        turn: &Turn,
        before: Option<&PolicySlot>,
        wanted: &PolicySlot,
        sources: &Sources,
    ) -> Result<(), String> {
        let PolicySlot { slot: name, component, config_json, rules } = wanted;
        let fetched = sources.get(component).map_err(|error| error.to_string())?;
        let known = self.slot(name);
        let same_config = before.is_some_and(|before| before.config_json == *config_json);
        // What somebody put or activated since stays, unless the configuration says another thing than before.
        let configured = Configured::of(&fetched.bytes, config_json);
        let is_kept = known.as_ref().is_some_and(|slot| slot.versions.iter().any(|kept| kept.bytes == fetched.bytes));
        let is_new = known.is_none();
        if is_new {
            self.slots().push(Slot::configured(name, Arc::new(rules.clone()), config_json));
        } else {
            self.rule(name, rules);
        }
        if is_kept && same_config {
            self.say_configured(name, configured);
            return Ok(());
        }
        let upload = Upload { slot: name.clone(), fetched, share: Share::All, by: BY.to_owned() };
        let put = self.put_with(turn, upload, (!same_config).then_some(config_json));
        put.map(|_| self.say_configured(name, configured)).map_err(|refused| {
            if is_new {
                self.unconfigure(name);
                // It was never asked.
                let _ = self.remove(turn, name);
            }
            refused.to_string()
        })
    }

    /// Takes note of what the configuration says of a slot.
    pub(super) fn say_configured(&self, name: &str, configured: Configured) {
        if let Some(slot) = self.slots().iter_mut().find(|slot| slot.name == name) {
            slot.configured = Some(configured);
        }
    }

    fn rule(&self, name: &str, rules: &crate::config::SlotRules) {
        let mut slots = self.slots();
        if let Some(slot) = slots.iter_mut().find(|slot| slot.name == name) {
            slot.is_configured = true;
            if *slot.rules != *rules {
                slot.rules = Arc::new(rules.clone());
            }
        }
        self.publish(&slots);
    }

    fn unconfigure(&self, name: &str) {
        if let Some(slot) = self.slots().iter_mut().find(|slot| slot.name == name) {
            slot.is_configured = false;
            slot.configured = None;
        }
    }

    /// The configuration's slots in its order, before those that were uploaded.
    fn order(&self, new: &[PolicySlot]) {
        let mut slots = self.slots();
        let place = |slot: &Slot| new.iter().position(|new| new.slot == slot.name).unwrap_or(new.len());
        slots.sort_by_key(place);
        self.publish(&slots);
    }
}
