//! Asks the policies, in order, whether a request may enter.

use policy_api::{Admission, Call, Hook};

use crate::decision::{Gathered, checked, denial_for_fault};
use crate::{Chain, Decision, Entry, FaultKind, OnError};

impl Chain {
    /// The first policy that does not pass decides; when all pass, the request may enter.
    pub fn admit(&self, call: &Call<'_>) -> Decision<Entry> {
        let mut gathered = Gathered::default();
        for pick in self.picks(Hook::Admit, call.facts) {
            let link = pick.link;
            match self.ask(pick, Hook::Admit, &mut gathered, |policy| policy.admit(call), judge) {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    link.tally.count_decision();
                    return gathered.decided(&link.author, entry);
                }
                // It is gone; the operator knows.
                Err(FaultKind::Quarantined) if link.on_admit_error == OnError::Fallback => {}
                Err(kind) => {
                    gathered.faults.push(link.fault(kind));
                    if link.on_admit_error == OnError::Reject {
                        return gathered.decided(&link.author, Entry::Denied(denial_for_fault()));
                    }
                }
            }
        }
        gathered.left(Entry::Allowed, None)
    }
}

/// The verdict's word, and the verdict, checked; `None` for a pass.
fn judge(admission: Admission) -> (&'static str, Result<Option<Entry>, FaultKind>) {
    match admission {
        Admission::Pass => ("pass", Ok(None)),
        Admission::Allow => ("allow", Ok(Some(Entry::Allowed))),
        Admission::Deny(denial) => ("deny", checked(denial).map(|denial| Some(Entry::Denied(denial)))),
    }
}

#[cfg(test)]
mod tests;
