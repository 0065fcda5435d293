//! Takes versions out that fail too often, and canaries that are over their budget; off the data path.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use dispatch::{Decision, Judgement};

use crate::policies::slot::{Slot, Standing};
use crate::policies::{Policies, Turn};

/// Between two looks: what fails, fails often meanwhile, and one look is enough.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// What must be done about a slot.
enum Trouble {
    Canary { standing: Standing, why: String },
    Active { number: u32, why: String },
}

/// Looks at the versions whenever the data path has reason to.
pub(crate) async fn watch(policies: Arc<Policies>) {
    loop {
        policies.reasons.notified().await;
        if !policies.troubles().is_empty() {
            let turn = policies.turn().await;
            let looked = policies.clone().change_blocking(move |policies| policies.end_troubles(&turn)).await;
            if let Err(error) = looked {
                tracing::error!(%error, "taking a failing policy out broke");
            }
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

impl Policies {
    /// Takes note of a decision: a canary is looked at when it was asked, others when they failed.
    pub(crate) fn seen<V>(&self, decision: &Decision<V>) {
        if !decision.faults.is_empty() || decision.calls.iter().any(|call| call.is_canary) {
            self.look_soon();
        }
    }

    /// There is reason to look at the versions.
    pub(crate) fn look_soon(&self) {
        self.reasons.notify_one();
    }

    fn end_troubles(&self, _turn: &Turn) {
        for (slot, trouble) in self.troubles() {
            match trouble {
                Trouble::Canary { standing, why } => self.give_up_canary(&slot.name, standing, why),
                Trouble::Active { number, why } => self.quarantine(&slot, number, why),
            }
        }
    }

    /// The slots about which something must be done; one thing at a time.
    fn troubles(&self) -> Vec<(Slot, Trouble)> {
        self.slots().iter().filter_map(|slot| Some((slot.clone(), trouble_of(slot)?))).collect()
    }
}

fn trouble_of(slot: &Slot) -> Option<Trouble> {
    canary_trouble(slot).or_else(|| {
        let active = slot.active_version()?;
        Some(Trouble::Active { number: active.number, why: active.tally.over()? })
    })
}

fn canary_trouble(slot: &Slot) -> Option<Trouble> {
    let (trial, canary) = slot.trial.as_ref().zip(slot.canary_version())?;
    if let Some(why) = canary.tally.over() {
        return Some(Trouble::Canary { standing: Standing::Quarantined, why });
    }
    let mut trial = trial.trial.lock().unwrap_or_else(PoisonError::into_inner);
    match trial.judge(&canary.tally.reading()) {
        Judgement::Keep => None,
        Judgement::RollBack(why) => Some(Trouble::Canary { standing: Standing::Rejected, why }),
    }
}
