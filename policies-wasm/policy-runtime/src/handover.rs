//! Puts a component in its predecessor's place so that nothing which a `single` policy knows is lost on the way.
//!
//! Such a policy's knowledge is in its one instance. From the moment that it tells what it knows until the successor is
//! published, the instance is out of service and calls wait for it; what still calls the predecessor after that, because
//! it began with the chain of before, is answered by the successor. So each call is counted once, by one of the two.

use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use policy_api::{Description, Hook, Mode};

use crate::{
    Component, Level, LoadError,
    blueprint::Blueprint,
    component::Parts,
    instance::Instance,
    load::{checked_config, checked_json},
    pool::{Loan, Pool, PoolBounds},
    recording::Who,
    runtime::Core,
    schema, self_check,
    slot::lock,
};

/// A component that was compiled, checked and tried out; it needs only its instances, and its predecessor's state.
pub struct Prepared {
    pub(crate) core: Arc<Core>,
    pub(crate) slot: String,
    /// With the real host, and a slot of its own that nobody sees.
    pub(crate) blueprint: Blueprint,
    pub(crate) description: Description,
    pub(crate) digest: String,
    pub(crate) bytes: usize,
}

/// How a component began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Beginning {
    /// There was nothing to know.
    Fresh,
    /// With what its predecessor knew: a snapshot of so many bytes.
    Informed {
        /// The snapshot's size.
        bytes: usize,
    },
    /// With nothing, though its predecessor knew something.
    Cold {
        /// Why.
        why: String,
    },
}

/// A successor is ready, its predecessor still there. Dropped unfinished, the predecessor goes on.
#[must_use = "the predecessor's calls wait until this is finished or dropped"]
pub struct Handover<'a> {
    beginning: Beginning,
    /// The predecessor and its one instance, where it told its state.
    from: Option<(&'a Component, Loan<'a>)>,
}

/// A `single` policy and its successors: who of them answers now.
#[derive(Default)]
pub(crate) struct Lineage(Mutex<Weak<Component>>);

impl Lineage {
    pub(crate) fn heir(&self) -> Option<Arc<Component>> {
        lock(&self.0).upgrade()
    }
}

impl Prepared {
    /// Who it is.
    pub fn describe(&self) -> &Description {
        &self.description
    }

    /// `sha256:` and the digest of the component's bytes.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Makes it ready for its first call, with its predecessor's state where both are versions of one `single` policy.
    /// Publish it, then finish the handover: the predecessor's calls wait for that, no longer than
    /// [`crate::Limits::single_wait_ms`] each.
    pub fn take_over(self, predecessor: Option<&Component>) -> Result<(Component, Handover<'_>), LoadError> {
        let Some(predecessor) = predecessor else { return self.begin(None, Lineage::default().into(), None) };
        match self.what_it_knows(predecessor) {
            Told::Nothing => self.begin(None, Lineage::default().into(), None),
            Told::NotToUs(why) => self.begin(Some(Err(why)), Lineage::default().into(), None),
            Told::State { bytes, loan } => {
                self.begin(Some(Ok(bytes)), predecessor.lineage().clone(), Some((predecessor, loan)))
            }
        }
    }

    /// The same beside a predecessor that goes on: with a copy of its state, for a canary.
    pub fn beside(self, predecessor: &Component) -> Result<(Component, Beginning), LoadError> {
        let told = match self.what_it_knows(predecessor) {
            Told::Nothing => None,
            Told::NotToUs(why) => Some(Err(why)),
            Told::State { bytes, loan } => {
                loan.give_back();
                Some(Ok(bytes))
            }
        };
        let (component, handover) = self.begin(told, Lineage::default().into(), None)?;
        Ok((component, handover.beginning.clone()))
    }

    fn what_it_knows<'a>(&self, predecessor: &'a Component) -> Told<'a> {
        let before = predecessor.description();
        if before.mode != Mode::Single || !before.has(Hook::Snapshot) {
            return Told::Nothing;
        }
        if before.name != self.description.name {
            return Told::NotToUs(format!(
                "its predecessor is {:?}, and what that knows is only for a policy of the same name",
                before.name
            ));
        }
        if self.description.mode != Mode::Single || !self.description.has(Hook::Snapshot) {
            let why = "it is no `single` policy with the snapshot hook, as its predecessor is";
            return Told::NotToUs(why.to_owned());
        }
        match predecessor.withdraw() {
            Ok((loan, bytes)) => Told::State { bytes, loan },
            Err(fault) => Told::NotToUs(format!("its predecessor could not tell what it knows: {fault}")),
        }
    }

    fn begin<'a>(
        self,
        told: Option<Result<Vec<u8>, String>>,
        lineage: Arc<Lineage>,
        from: Option<(&'a Component, Loan<'a>)>,
    ) -> Result<(Component, Handover<'a>), LoadError> {
        let Prepared { core, slot, blueprint, description, digest, bytes } = self;
        // Until it is here, dropping this gives the predecessor its instance back.
        let mut handover = Handover { beginning: Beginning::Fresh, from };
        let who = Arc::new(Who {
            slot: slot.clone(),
            name: description.name.clone(),
            version: description.version.clone(),
            digest,
            config_json: blueprint.config_json.clone(),
            mode: description.mode,
            component: Arc::clone(&blueprint.who.component),
        });
        let mut blueprint = Blueprint { slot: core.slot(&slot)?, who, ..blueprint };
        let pool = Pool::new(pool_bounds(&core, description.mode));
        let made = || Instance::configured(&core, &blueprint, core.load_budget()).map_err(|e| e.into_load_error());
        let mut first = made()?;
        handover.beginning = match told {
            None => Beginning::Fresh,
            Some(Err(why)) => Beginning::Cold { why },
            Some(Ok(state)) => match blueprint.restore(&core, &mut first, &state, core.load_budget()) {
                Ok(()) => {
                    let bytes = state.len();
                    blueprint.inherited = Some(state);
                    Beginning::Informed { bytes }
                }
                // What refused may have taken half of it.
                Err(why) => {
                    first = Instance::configured(&core, &blueprint, core.load_budget())
                        .map_err(|error| error.into_load_error())?;
                    Beginning::Cold { why }
                }
            },
        };
        if let Beginning::Cold { why } = &handover.beginning {
            blueprint.host.log(&slot, Level::Warn, &format!("the policy starts empty: {why}"));
        }
        pool.stock(blueprint.started(first));
        for _ in 1..instances_ready(&core, description.mode) {
            let more = Instance::configured(&core, &blueprint, core.load_budget());
            pool.stock(blueprint.started(more.map_err(|error| error.into_load_error())?));
        }
        let parts = Parts { core, blueprint, pool, description, bytes, lineage };
        Ok((Component::new(parts), handover))
    }
}

/// What a predecessor tells its successor.
enum Told<'a> {
    /// It keeps nothing.
    Nothing,
    /// It keeps something, which this successor does not get.
    NotToUs(String),
    State {
        bytes: Vec<u8>,
        loan: Loan<'a>,
    },
}

impl Handover<'_> {
    /// How the successor began.
    pub fn beginning(&self) -> &Beginning {
        &self.beginning
    }

    /// The successor is published: whoever still calls the predecessor is answered by it.
    pub fn finish(mut self, successor: &Arc<Component>) {
        if let Some((predecessor, loan)) = self.from.take() {
            *lock(&predecessor.lineage().0) = Arc::downgrade(successor);
            // Before the instance is free: who gets it next must see that it is no longer for them.
            predecessor.retire();
            loan.give_back();
        }
    }
}

impl Drop for Handover<'_> {
    fn drop(&mut self) {
        if let Some((_, loan)) = self.from.take() {
            loan.give_back();
        }
    }
}

impl Component {
    /// The same component once more, without compiling it again: with another configuration, or to take over from a
    /// successor of its own. `None` keeps the configuration that it has.
    pub fn again(&self, config_json: Option<&str>) -> Result<Prepared, LoadError> {
        let (core, description) = (self.core(), self.description().clone());
        let mut blueprint = self.blueprint().unborn(core);
        if let Some(json) = config_json {
            blueprint.config_json = checked_json(json)?;
            checked_config(&blueprint)?;
            schema::check(&description.config_schema, &blueprint.config_json)?;
            self_check::run(core, &blueprint.quiet(), &description)?;
        }
        Ok(Prepared {
            core: Arc::clone(core),
            slot: self.blueprint().slot.name().to_owned(),
            blueprint,
            description,
            digest: self.digest().to_owned(),
            bytes: self.bytes(),
        })
    }

    /// Whether a successor's state must be taken over before this one may serve again.
    pub fn inherits_from(&self, other: &Component) -> bool {
        let [one, other] = [self.description(), other.description()];
        let keeps = |it: &Description| it.mode == Mode::Single && it.has(Hook::Snapshot);
        keeps(one) && keeps(other) && one.name == other.name
    }
}

fn pool_bounds(core: &Core, mode: Mode) -> PoolBounds {
    let limits = &core.limits;
    let (instances_max, wait_ms) = match mode {
        Mode::Pooled => (limits.instances_max, limits.instance_wait_ms),
        Mode::Single => (1, limits.single_wait_ms),
    };
    PoolBounds {
        instances_max,
        waiters_max: limits.instance_waiters_max,
        wait: Duration::from_millis(u64::from(wait_ms)),
    }
}

fn instances_ready(core: &Core, mode: Mode) -> usize {
    match mode {
        Mode::Pooled => core.limits.instances_ready.clamp(1, core.limits.instances_max.max(1)),
        Mode::Single => 1,
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared").field("description", &self.description).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handover<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handover").field("beginning", &self.beginning).finish_non_exhaustive()
    }
}
