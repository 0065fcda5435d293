//! A named place in the chain: its versions, which of them is asked, and what was done with them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dispatch::{Author, Canary, Link, OnError, Stage, Tally, Trial};
use policy_api::{Hook, Policy};
use policy_runtime::Component;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::SlotRules;
use crate::policies::history::{Act, Entry};
use crate::policies::{Fetched, Origin};

/// A named place in the chain.
#[derive(Clone)]
pub(crate) struct Slot {
    pub name: String,
    /// The configuration names it: it is there after every start.
    pub(super) is_configured: bool,
    /// What the configuration put into it last.
    pub(super) configured: Option<Configured>,
    pub rules: Arc<SlotRules>,
    /// What the first version is given; later ones get what is active then.
    config_json: String,
    /// Oldest first.
    pub versions: Vec<Version>,
    pub trial: Option<SlotTrial>,
    /// What was active before and was not rolled back from, oldest first; all are in `versions`.
    before: Vec<u32>,
    /// Newest first.
    pub history: VecDeque<Entry>,
    pub(super) next_number: u32,
}

/// What the configuration says of a slot, as far as a version follows from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Configured {
    /// Of the component, `sha256:…`.
    pub digest: String,
    pub config_json: String,
}

/// A slot's canary at work.
#[derive(Clone)]
pub(crate) struct SlotTrial {
    pub version: u32,
    pub percent: u8,
    pub since_unix_ms: u64,
    pub(super) trial: Arc<Mutex<Trial>>,
}

/// What a version is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Active,
    /// A share of the requests is its own.
    Canary,
    /// It was active, and may be again.
    Previous,
    /// It was rolled back from.
    Rejected,
    /// It failed too often and is not to be asked again.
    Quarantined,
}

/// One version of a slot.
#[derive(Clone)]
pub(crate) struct Version {
    pub number: u32,
    pub standing: Standing,
    pub origin: Origin,
    /// Who put it.
    pub by: String,
    /// The component as it was uploaded.
    pub bytes: Bytes,
    pub config: Arc<RawValue>,
    pub config_schema: Option<Arc<RawValue>>,
    pub loaded_unix_ms: u64,
    pub activated_unix_ms: u64,
    pub component: Arc<Component>,
    pub tally: Arc<Tally>,
    link: Link,
}

/// A version that is ready to stand in its slot.
pub(super) struct Arrival {
    pub component: Arc<Component>,
    pub fetched: Fetched,
    pub by: String,
    pub now_unix_ms: u64,
}

impl Standing {
    pub fn word(self) -> &'static str {
        match self {
            Standing::Active => "active",
            Standing::Canary => "canary",
            Standing::Previous => "previous",
            Standing::Rejected => "rejected",
            Standing::Quarantined => "quarantined",
        }
    }
}

impl Slot {
    pub(super) fn empty(name: &str, rules: Arc<SlotRules>) -> Slot {
        Slot {
            name: name.to_owned(),
            is_configured: false,
            configured: None,
            rules,
            config_json: String::new(),
            versions: Vec::new(),
            trial: None,
            before: Vec::new(),
            history: VecDeque::new(),
            next_number: 1,
        }
    }

    /// A slot of the configuration.
    pub(super) fn configured(name: &str, rules: Arc<SlotRules>, config_json: &str) -> Slot {
        Slot { is_configured: true, config_json: config_json.to_owned(), ..Slot::empty(name, rules) }
    }

    /// None while the slot is being made, and when its last good version was quarantined.
    pub fn active_version(&self) -> Option<&Version> {
        self.versions.iter().find(|version| version.standing == Standing::Active)
    }

    /// The version on trial.
    pub fn canary_version(&self) -> Option<&Version> {
        let number = self.trial.as_ref()?.version;
        self.version(number)
    }

    pub fn version(&self, number: u32) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The configuration that a component gets which comes without one.
    pub(super) fn config_json(&self) -> &str {
        self.active_version().map_or(&self.config_json, |version| version.component.config_json())
    }

    /// The number of the version that a rollback leads to.
    pub(super) fn last_before(&self) -> Option<u32> {
        self.before.last().copied()
    }

    /// Its place in the chain. Where its last version was quarantined, what its faults mean still holds.
    pub(super) fn stage(&self) -> Option<Stage> {
        let scope = self.rules.scope.clone();
        if let Some(active) = self.active_version() {
            let canary = self.trial.as_ref().zip(self.canary_version());
            let canary = canary.map(|(trial, version)| Canary { link: version.link.clone(), percent: trial.percent });
            return Some(Stage { scope, stable: active.link.clone(), canary });
        }
        let last = self.versions.iter().rev().find(|version| version.standing == Standing::Quarantined)?;
        Some(Stage { scope, stable: Link { is_quarantined: true, ..last.link.clone() }, canary: None })
    }

    /// Makes a new version active; its number.
    pub(super) fn add_active(&mut self, arrival: Arrival, versions_max: usize) -> u32 {
        let number = self.add(arrival, Standing::Active);
        self.make_room(versions_max);
        number
    }

    /// Puts a new version on trial; its number.
    pub(super) fn add_canary(&mut self, arrival: Arrival, percent: u8, versions_max: usize) -> u32 {
        let since_unix_ms = arrival.now_unix_ms;
        let number = self.add(arrival, Standing::Canary);
        let first = self.version(number).map(|version| version.tally.reading()).unwrap_or_default();
        let trial = Arc::new(Mutex::new(Trial::new(self.rules.budget, first)));
        self.trial = Some(SlotTrial { version: number, percent, since_unix_ms, trial });
        self.make_room(versions_max);
        number
    }

    /// Makes a kept version active, with `component` in its place where it had to be made anew. Who was active is
    /// `left_as`.
    pub(super) fn activate(
        &mut self,
        number: u32,
        component: Option<Arc<Component>>,
        left_as: Standing,
        now_unix_ms: u64,
    ) {
        self.leave(left_as);
        self.before.retain(|before| *before != number);
        if self.trial.as_ref().is_some_and(|trial| trial.version == number) {
            self.trial = None;
        }
        if let Some(version) = self.versions.iter_mut().find(|version| version.number == number) {
            version.standing = Standing::Active;
            version.activated_unix_ms = now_unix_ms;
            version.tally.forgive();
            if let Some(component) = component {
                version.link.policy = component.clone();
                version.component = component;
            }
        }
    }

    /// Nothing is active from here on; what was is `left_as`.
    pub(super) fn leave(&mut self, left_as: Standing) {
        let Some(active) = self.versions.iter_mut().find(|version| version.standing == Standing::Active) else {
            return;
        };
        active.standing = left_as;
        if left_as == Standing::Previous {
            self.before.push(active.number);
        }
    }

    /// Ends the trial; the number of the version that was on it.
    pub(super) fn drop_canary(&mut self, left_as: Standing) -> Option<u32> {
        let number = self.trial.take()?.version;
        if let Some(version) = self.versions.iter_mut().find(|version| version.number == number) {
            version.standing = left_as;
        }
        Some(number)
    }

    /// Writes down what was done.
    pub(super) fn note(&mut self, act: Act, time_ms: u64, history_max: usize) {
        let Act { what, by, from, to, why } = act;
        let digest = to.or(from).and_then(|number| self.version(number));
        let digest = digest.map(|version| version.component.digest().to_owned());
        self.history.push_front(Entry { time_ms, what, by, from, to, digest, why });
        self.history.truncate(history_max);
    }

    /// The number of the version that is active now.
    pub fn active(&self) -> Option<u32> {
        self.active_version().map(|version| version.number)
    }

    fn add(&mut self, arrival: Arrival, standing: Standing) -> u32 {
        let number = self.next_number;
        self.next_number += 1;
        if standing == Standing::Active {
            self.leave(Standing::Previous);
        }
        let version = Version::new(self, number, standing, arrival);
        self.versions.push(version);
        number
    }

    fn make_room(&mut self, versions_max: usize) {
        while self.versions.len() > versions_max.max(1) && self.forget_one() {}
    }

    /// Forgets one version: the oldest that no rollback leads to, or else the last that one would. Those that are asked
    /// stay.
    fn forget_one(&mut self) -> bool {
        let is_asked = |version: &Version| matches!(version.standing, Standing::Active | Standing::Canary);
        let is_led_to = |version: &Version| is_asked(version) || self.before.contains(&version.number);
        let at = self.versions.iter().position(|version| !is_led_to(version)).or_else(|| {
            let last = *self.before.first()?;
            self.versions.iter().position(|version| version.number == last)
        });
        let Some(at) = at else { return false };
        let gone = self.versions.remove(at).number;
        self.before.retain(|number| *number != gone);
        true
    }
}

impl Version {
    fn new(slot: &Slot, number: u32, standing: Standing, arrival: Arrival) -> Version {
        let Arrival { component, fetched: Fetched { bytes, origin }, by, now_unix_ms } = arrival;
        let description = component.describe();
        let author = Author {
            slot: slot.name.clone(),
            number,
            name: description.name.clone(),
            version: description.version.clone(),
            digest: component.digest().to_owned(),
        };
        let mut link = Link::new(author, component.clone());
        link.on_admit_error = slot.rules.on_admit_error;
        link.on_place_error = slot.rules.on_place_error;
        link.tally = Arc::new(Tally::new(slot.rules.quarantine));
        let config_schema = Some(&description.config_schema).filter(|schema| !schema.is_empty());
        Version {
            number,
            standing,
            origin,
            by,
            bytes,
            config: compact(component.config_json()),
            config_schema: config_schema.map(|schema| compact(schema)),
            loaded_unix_ms: now_unix_ms,
            activated_unix_ms: now_unix_ms,
            component,
            tally: link.tally.clone(),
            link,
        }
    }
}

/// On one line: the live stream has a line for each document.
fn compact(json: &str) -> Arc<RawValue> {
    let value: Value = serde_json::from_str(json).expect("the runtime takes no other configuration or schema");
    serde_json::value::to_raw_value(&value).expect("a value can be written").into()
}

impl Slot {
    /// What it means that nothing is left to ask here, in the words of the log.
    pub(super) fn what_now(&self) -> &'static str {
        let hooks = self.versions.last().map(|version| version.component.describe());
        let rejects = hooks.is_some_and(|it| {
            (it.has(Hook::Admit) && self.rules.on_admit_error == OnError::Reject)
                || (it.has(Hook::Place) && self.rules.on_place_error == OnError::Reject)
        });
        match rejects {
            true => "requests in its scope are turned away, as its on_error says, until another version is put",
            false => "those after it in the chain decide, in the end the fallback",
        }
    }
}
