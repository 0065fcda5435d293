//! What was done with a slot: who, when, what and why.

/// One thing that was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub time_ms: u64,
    pub what: What,
    pub by: String,
    pub from: Option<u32>,
    pub to: Option<u32>,
    pub digest: Option<String>,
    pub why: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Activated,
    Canary,
    Promoted,
    RolledBack,
    Quarantined,
    Configured,
    Refused,
}

/// An [`Entry`] before its time and its digest are looked up.
pub(super) struct Act {
    pub what: What,
    pub by: String,
    pub from: Option<u32>,
    pub to: Option<u32>,
    pub why: Option<String>,
}

/// Who takes versions out that fail too often.
pub(super) const BY_BUDGET: &str = "budget";

impl What {
    pub fn word(self) -> &'static str {
        match self {
            What::Activated => "activated",
            What::Canary => "canary",
            What::Promoted => "promoted",
            What::RolledBack => "rolled_back",
            What::Quarantined => "quarantined",
            What::Configured => "configured",
            What::Refused => "refused",
        }
    }
}
