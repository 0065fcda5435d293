//! What was done with a slot: who, when, what and why.

/// Where a version came from, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub source: Source,
    /// The path or the reference.
    pub detail: Option<String>,
    pub by: String,
    /// The name of the key whose signature was checked.
    pub signed_by: Option<String>,
}

/// By which way a version came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The configuration names its file.
    File,
    /// It was uploaded.
    Admin,
    /// It is in the watched folder.
    Watch,
    /// It was pulled from a registry.
    #[expect(dead_code, reason = "the registry's client makes it")]
    Oci,
}

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

impl Origin {
    /// From a file that the configuration names, or that lies in the watched folder.
    pub fn of_file(source: Source, path: &std::path::Path) -> Origin {
        let by = source.word().to_owned();
        Origin { source, detail: Some(path.display().to_string()), by, signed_by: None }
    }
}

impl Source {
    pub fn word(self) -> &'static str {
        match self {
            Source::File => "file",
            Source::Admin => "admin",
            Source::Watch => "watch",
            Source::Oci => "oci",
        }
    }
}

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
