//! What must be true of a verdict before anybody follows it.

use policy_api::{Admission, Denial, Placement, PolicyFault};

use crate::{Limits, self_check::check_denial, state::bounded};

/// A verdict that may turn a request away.
pub(crate) trait Verdict {
    fn denial(&mut self) -> Option<&mut Denial>;

    /// Refuses a denial that no client can be sent, and cuts its message.
    fn check(&mut self, limits: &Limits) -> Result<(), PolicyFault> {
        let Some(denial) = self.denial() else { return Ok(()) };
        check_denial(denial).map_err(|message| PolicyFault::BadAnswer { message })?;
        let bytes = bounded(&denial.message, limits.message_bytes_max).len();
        denial.message.truncate(bytes);
        Ok(())
    }
}

impl Verdict for Admission {
    fn denial(&mut self) -> Option<&mut Denial> {
        match self {
            Admission::Deny(denial) => Some(denial),
            Admission::Allow | Admission::Pass => None,
        }
    }
}

impl Verdict for Placement {
    fn denial(&mut self) -> Option<&mut Denial> {
        match self {
            Placement::Reject(denial) => Some(denial),
            Placement::Replica(_) | Placement::Region(_) | Placement::Hold | Placement::Pass => None,
        }
    }
}
