//! Bounds that another configuration may change while requests read them.

use std::ops::Deref;

use arc_swap::ArcSwap;

use crate::config::Limits;

/// The bounds of this moment.
///
/// Read on every request, so reading costs no more than a pointer: each set of bounds lives for ever. That is a few
/// hundred bytes for each reload that changes one.
pub(crate) struct LiveLimits(ArcSwap<&'static Limits>);

impl LiveLimits {
    pub fn new(limits: Limits) -> LiveLimits {
        LiveLimits(ArcSwap::from_pointee(Box::leak(Box::new(limits))))
    }

    pub fn set(&self, limits: Limits) {
        if **self != limits {
            self.0.store(std::sync::Arc::new(Box::leak(Box::new(limits))));
        }
    }
}

impl Deref for LiveLimits {
    type Target = Limits;

    fn deref(&self) -> &Limits {
        let now: &'static Limits = **self.0.load();
        now
    }
}
