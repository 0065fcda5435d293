//! Puts a sentence together without the formatting machinery, which costs a decision more than the decision.

use std::ops::Deref;

/// A sentence for [`crate::telemetry::explain`]: `Reason::of("load ").number(4).text(" of ").number(16)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

/// Room for most sentences; longer ones grow.
const BYTES: usize = 96;

impl Reason {
    /// A sentence that begins so.
    pub fn of(text: &str) -> Reason {
        Reason(String::with_capacity(BYTES)).text(text)
    }

    /// Goes on with a text.
    pub fn text(mut self, text: &str) -> Reason {
        self.0.push_str(text);
        self
    }

    /// Goes on with a number.
    pub fn number(mut self, number: impl Into<u64>) -> Reason {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = number.into();
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                break;
            }
        }
        for digit in &digits[at..] {
            self.0.push(char::from(*digit));
        }
        self
    }
}

impl Deref for Reason {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> String {
        reason.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_numbers_follow_each_other() {
        let reason = Reason::of("load ").number(0_u32).text(" of ").number(10_u32).text("‰, ").number(u64::MAX);
        assert_eq!(&*reason, "load 0 of 10‰, 18446744073709551615");
    }
}
