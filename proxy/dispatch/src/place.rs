//! Asks the policies, in order, where a request goes.

use policy_api::{Answer, Call, Hook, Placement, RegionId, ReplicaId};

use crate::decision::{Gathered, checked, denial_for_fault};
use crate::{Chain, Decision, FaultKind, OnError, Target, Tried};

impl Chain {
    /// The first policy that names a target that can be had decides; when none does, the fallback.
    pub fn place(&self, call: &Call<'_>, tried: &Tried) -> Decision<Target> {
        let mut gathered = Gathered::default();
        for pick in self.picks(Hook::Place, call.facts) {
            let link = pick.link;
            let judge = |placement| judge(placement, call, tried);
            match self.ask(pick, Hook::Place, &mut gathered, |policy| policy.place(call), judge) {
                Ok(None) => {}
                Ok(Some(target)) => {
                    link.tally.count_decision();
                    return gathered.decided(&link.author, target);
                }
                // It is gone; the operator knows.
                Err(FaultKind::Quarantined) if link.on_place_error == OnError::Fallback => {}
                Err(kind) => {
                    gathered.faults.push(link.fault(kind));
                    if link.on_place_error == OnError::Reject {
                        return gathered.decided(&link.author, Target::Rejected(denial_for_fault()));
                    }
                }
            }
        }
        let Answer { verdict, words } = self.fallback().place(call.fleet, tried);
        gathered.left(verdict, words.reason)
    }
}

/// The verdict's word, and the verdict, checked; `None` for a pass.
fn judge(placement: Placement, call: &Call<'_>, tried: &Tried) -> (&'static str, Result<Option<Target>, FaultKind>) {
    match placement {
        Placement::Pass => ("pass", Ok(None)),
        Placement::Hold => ("hold", Ok(Some(Target::Hold))),
        Placement::Reject(denial) => ("reject", checked(denial).map(|denial| Some(Target::Rejected(denial)))),
        Placement::Replica(replica) => ("replica", replica_that_can_be_had(replica, call, tried).map(Some)),
        Placement::Region(region) => ("region", region_that_can_be_had(region, call, tried).map(Some)),
    }
}

fn replica_that_can_be_had(replica: ReplicaId, call: &Call<'_>, tried: &Tried) -> Result<Target, FaultKind> {
    // Tried comes first: the one who retries may have taken tried replicas out of the fleet it shows.
    if tried.replicas.contains(&replica) {
        return Err(FaultKind::ReplicaTried(replica));
    }
    let row = call.fleet.row_of(replica).ok_or(FaultKind::UnknownReplica(replica))?;
    match call.fleet.takes_work(row) {
        true => Ok(Target::Replica(replica)),
        false => Err(FaultKind::ReplicaTakesNoWork(replica)),
    }
}

fn region_that_can_be_had(region: RegionId, call: &Call<'_>, tried: &Tried) -> Result<Target, FaultKind> {
    let regions = &call.fleet.regions;
    let row = regions.id.iter().position(|id| *id == region.0).ok_or(FaultKind::UnknownRegion(region))?;
    if regions.local[row] != 0 {
        return Err(FaultKind::OwnRegion(region));
    }
    if call.facts.hop > 0 {
        return Err(FaultKind::ForwardedTwice);
    }
    if tried.regions.contains(&region) {
        return Err(FaultKind::RegionTried(region));
    }
    Ok(Target::Region(region))
}

#[cfg(test)]
mod tests;
