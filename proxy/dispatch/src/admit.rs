//! Asks the policies, in order, whether a request may enter.

use policy_api::{Admission, Answer, Call, Hook};

use crate::decision::{checked, denial_for_fault};
use crate::{By, Chain, Decision, Entry, Fault, FaultKind, Link, OnError};

impl Chain {
    /// The first policy that does not pass decides; when all pass, the request may enter.
    pub fn admit(&self, call: &Call<'_>) -> Decision<Entry> {
        let mut faults = Vec::new();
        for link in self.links().iter().filter(|link| link.has(Hook::Admit)) {
            match ask(link, call) {
                Ok(None) => {}
                Ok(Some(answer)) => {
                    link.tally.count_decision();
                    return decided(link, answer, faults);
                }
                Err(kind) => {
                    faults.push(link.fault(kind));
                    if link.on_admit_error == OnError::Reject {
                        return decided(link, Answer::bare(Entry::Denied(denial_for_fault())), faults);
                    }
                }
            }
        }
        Decision { by: By::Fallback, verdict: Entry::Allowed, reason: None, attributes: Vec::new(), faults }
    }
}

/// The policy's verdict, checked; `None` for a pass.
fn ask(link: &Link, call: &Call<'_>) -> Result<Option<Answer<Entry>>, FaultKind> {
    let Answer { verdict, reason, attributes } = link.policy.admit(call).map_err(FaultKind::NoVerdict)?;
    let verdict = match verdict {
        Admission::Pass => return Ok(None),
        Admission::Allow => Entry::Allowed,
        Admission::Deny(denial) => Entry::Denied(checked(denial)?),
    };
    Ok(Some(Answer { verdict, reason, attributes }))
}

fn decided(link: &Link, answer: Answer<Entry>, faults: Vec<Fault>) -> Decision<Entry> {
    let Answer { verdict, reason, attributes } = answer;
    Decision { by: By::Policy(link.author.clone()), verdict, reason, attributes, faults }
}

#[cfg(test)]
mod tests;
