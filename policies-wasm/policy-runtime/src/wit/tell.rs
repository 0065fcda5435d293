//! The contract's answers in the form in which they are recorded.

use super::bindings::headworks::policy::{buckets, prefix_index, store};
use crate::{
    recording::{Entry, Told},
    tape::Tell,
};

impl Tell for prefix_index::ReplicaMatches {
    fn told(&self) -> Told {
        Told::Matches(self.replica.iter().copied().zip(self.blocks.iter().copied()).collect())
    }

    fn of(told: Told) -> Option<Self> {
        let Told::Matches(matches) = told else { return None };
        let (replica, blocks) = matches.into_iter().unzip();
        Some(prefix_index::ReplicaMatches { replica, blocks })
    }
}

impl Tell for prefix_index::RegionMatches {
    fn told(&self) -> Told {
        Told::Matches(self.region.iter().copied().zip(self.blocks.iter().copied()).collect())
    }

    fn of(told: Told) -> Option<Self> {
        let Told::Matches(matches) = told else { return None };
        let (region, blocks) = matches.into_iter().unzip();
        Some(prefix_index::RegionMatches { region, blocks })
    }
}

impl Tell for prefix_index::IndexSizes {
    fn told(&self) -> Told {
        let prefix_index::IndexSizes { blocks, blocks_max, evicted } = *self;
        Told::Sizes { blocks, blocks_max, evicted }
    }

    fn of(told: Told) -> Option<Self> {
        let Told::Sizes { blocks, blocks_max, evicted } = told else { return None };
        Some(prefix_index::IndexSizes { blocks, blocks_max, evicted })
    }
}

fn told_of(refusal: buckets::Refusal) -> Told {
    match refusal {
        buckets::Refusal::Full => Told::Full,
        buckets::Refusal::NameTooLong => Told::TooLong,
    }
}

fn refusal_of(told: &Told) -> Option<buckets::Refusal> {
    match told {
        Told::Full => Some(buckets::Refusal::Full),
        Told::TooLong => Some(buckets::Refusal::NameTooLong),
        _ => None,
    }
}

impl Tell for Result<buckets::Taking, buckets::Refusal> {
    fn told(&self) -> Told {
        match self {
            Ok(buckets::Taking::Taken(left)) => Told::Taken(*left),
            Ok(buckets::Taking::WaitMs(ms)) => Told::WaitMs(*ms),
            Ok(buckets::Taking::Never) => Told::Never,
            Err(refusal) => told_of(*refusal),
        }
    }

    fn of(told: Told) -> Option<Self> {
        match told {
            Told::Taken(left) => Some(Ok(buckets::Taking::Taken(left))),
            Told::WaitMs(ms) => Some(Ok(buckets::Taking::WaitMs(ms))),
            Told::Never => Some(Ok(buckets::Taking::Never)),
            other => refusal_of(&other).map(Err),
        }
    }
}

impl Tell for Result<bool, buckets::Refusal> {
    fn told(&self) -> Told {
        self.map_or_else(told_of, Told::Is)
    }

    fn of(told: Told) -> Option<Self> {
        match told {
            Told::Is(yes) => Some(Ok(yes)),
            other => refusal_of(&other).map(Err),
        }
    }
}

impl Tell for Result<u64, buckets::Refusal> {
    fn told(&self) -> Told {
        self.map_or_else(told_of, Told::Number)
    }

    fn of(told: Told) -> Option<Self> {
        match told {
            Told::Number(number) => Some(Ok(number)),
            other => refusal_of(&other).map(Err),
        }
    }
}

impl Tell for Option<store::Entry> {
    fn told(&self) -> Told {
        Told::Entry(self.as_ref().map(|entry| Entry { value: entry.value.clone(), version: entry.version }))
    }

    fn of(told: Told) -> Option<Self> {
        let Told::Entry(entry) = told else { return None };
        Some(entry.map(|Entry { value, version }| store::Entry { value, version }))
    }
}

impl Tell for Result<u64, store::Refusal> {
    fn told(&self) -> Told {
        match self {
            Ok(version) => Told::Version(*version),
            Err(store::Refusal::Conflict(version)) => Told::Conflict(*version),
            Err(store::Refusal::Full) => Told::Full,
            Err(store::Refusal::TooLong) => Told::TooLong,
        }
    }

    fn of(told: Told) -> Option<Self> {
        match told {
            Told::Version(version) => Some(Ok(version)),
            Told::Conflict(version) => Some(Err(store::Refusal::Conflict(version))),
            Told::Full => Some(Err(store::Refusal::Full)),
            Told::TooLong => Some(Err(store::Refusal::TooLong)),
            _ => None,
        }
    }
}
