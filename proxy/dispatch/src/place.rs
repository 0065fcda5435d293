//! Asks the policies, in order, where a request goes.

use policy_api::{Answer, Call, Hook, Placement, RegionId, ReplicaId};

use crate::decision::{Gathered, checked, denial_for_fault};
use crate::{Chain, Decision, FaultKind, Link, OnError, Target, Tried};

impl Chain {
    /// The first policy that names a target that can be had decides; when none does, the fallback.
    pub fn place(&self, call: &Call<'_>, tried: &Tried) -> Decision<Target> {
        let mut gathered = Gathered::default();
        for link in self.links().iter().filter(|link| link.has(Hook::Place)) {
            match ask(link, call, tried, &mut gathered) {
                Ok(None) => {}
                Ok(Some(target)) => {
                    link.tally.count_decision();
                    return gathered.decided(&link.author, target);
                }
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

/// The policy's verdict, checked; `None` for a pass.
fn ask(link: &Link, call: &Call<'_>, tried: &Tried, gathered: &mut Gathered) -> Result<Option<Target>, FaultKind> {
    let answer = link.policy.place(call).map_err(FaultKind::NoVerdict)?;
    Ok(Some(match gathered.hear(&link.author, answer) {
        Placement::Pass => return Ok(None),
        Placement::Hold => Target::Hold,
        Placement::Reject(denial) => Target::Rejected(checked(denial)?),
        Placement::Replica(replica) => replica_that_can_be_had(replica, call, tried)?,
        Placement::Region(region) => region_that_can_be_had(region, call, tried)?,
    }))
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
