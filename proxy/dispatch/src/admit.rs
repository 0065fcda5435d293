//! Asks the policies, in order, whether a request may enter.

use policy_api::{Admission, Call, Hook};

use crate::decision::{Gathered, checked, denial_for_fault};
use crate::{Chain, Decision, Entry, FaultKind, Link, OnError};

impl Chain {
    /// The first policy that does not pass decides; when all pass, the request may enter.
    pub fn admit(&self, call: &Call<'_>) -> Decision<Entry> {
        let mut gathered = Gathered::default();
        for link in self.links().iter().filter(|link| link.has(Hook::Admit)) {
            match ask(link, call, &mut gathered) {
                Ok(None) => {}
                Ok(Some(entry)) => {
                    link.tally.count_decision();
                    return gathered.decided(&link.author, entry);
                }
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

/// The policy's verdict, checked; `None` for a pass.
fn ask(link: &Link, call: &Call<'_>, gathered: &mut Gathered) -> Result<Option<Entry>, FaultKind> {
    let answer = link.policy.admit(call).map_err(FaultKind::NoVerdict)?;
    Ok(match gathered.hear(&link.author, answer) {
        Admission::Pass => None,
        Admission::Allow => Some(Entry::Allowed),
        Admission::Deny(denial) => Some(Entry::Denied(checked(denial)?)),
    })
}

#[cfg(test)]
mod tests;
