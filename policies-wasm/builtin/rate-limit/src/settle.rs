//! Puts right, when a request has ended, what was taken for it by an estimate.

use headworks_policy::{Ended, Outcome};

/// The note's form.
const FORM: u8 = 1;

/// What is kept with a request. It names the bucket itself: the rules may be others by the time the request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// Taken of the bucket.
    pub taken: u32,
    /// The prompt's part of it.
    pub prompt_tokens: u32,
    /// The bucket.
    pub bucket: &'a str,
}

/// What is owed to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Nothing.
    Even,
    /// So many to the bucket.
    GiveBack(u32),
    /// So many by the tenant.
    Charge(u32),
}

impl<'a> Note<'a> {
    /// As bytes.
    pub fn write(&self) -> Vec<u8> {
        let Note { taken, prompt_tokens, bucket } = self;
        [&[FORM][..], &taken.to_le_bytes(), &prompt_tokens.to_le_bytes(), bucket.as_bytes()].concat()
    }

    /// From bytes; none where there are none, or of another form.
    pub fn read(bytes: &'a [u8]) -> Option<Note<'a>> {
        let (form, rest) = bytes.split_first()?;
        let (taken, rest) = rest.split_first_chunk()?;
        let (prompt_tokens, bucket) = rest.split_first_chunk()?;
        let (taken, prompt_tokens) = (u32::from_le_bytes(*taken), u32::from_le_bytes(*prompt_tokens));
        (*form == FORM).then_some(Note { taken, prompt_tokens, bucket: str::from_utf8(bucket).ok()? })
    }
}

/// What the request cost against what was taken. A prompt that ran, though nobody said how long it was, costs its
/// estimate; one that never ran costs nothing.
pub fn settle(note: &Note<'_>, ended: &Ended) -> Settlement {
    let usage = ended.usage;
    let ran = match ended.outcome {
        Outcome::Finished | Outcome::Cancelled => ended.replica.is_some(),
        Outcome::Failed | Outcome::Refused => usage.output_tokens > 0,
    };
    let prompt_tokens = match usage.prompt_tokens {
        0 if ran => note.prompt_tokens,
        told => told,
    };
    let cost = prompt_tokens.saturating_add(usage.output_tokens);
    match cost.cmp(&note.taken) {
        std::cmp::Ordering::Equal => Settlement::Even,
        std::cmp::Ordering::Less => Settlement::GiveBack(note.taken - cost),
        std::cmp::Ordering::Greater => Settlement::Charge(cost - note.taken),
    }
}

#[cfg(test)]
mod tests {
    use headworks_policy::{Subject, Usage};
    use proptest::prelude::*;

    use super::*;

    /// 100 were taken, 60 of them for the prompt.
    #[track_caller]
    fn check(outcome: Outcome, replica: Option<u32>, prompt: u32, output: u32, expected: Settlement) {
        let note = Note { taken: 100, prompt_tokens: 60, bucket: "b" };
        let usage = Usage { prompt_tokens: prompt, cached_tokens: 0, output_tokens: output };
        let subject = Subject { request: 1, tenant: String::new(), model: String::new(), note: vec![] };
        assert_eq!(settle(&note, &Ended { subject, replica, outcome, usage }), expected);
    }

    #[test]
    fn the_difference_is_given_back_or_charged() {
        check(Outcome::Finished, Some(1), 50, 20, Settlement::GiveBack(30));
        check(Outcome::Finished, Some(1), 80, 20, Settlement::Even);
        check(Outcome::Finished, Some(1), 80, 90, Settlement::Charge(70));
    }

    #[test]
    fn a_prompt_of_untold_length_costs_its_estimate() {
        check(Outcome::Finished, Some(1), 0, 20, Settlement::GiveBack(20));
        check(Outcome::Cancelled, Some(1), 0, 0, Settlement::GiveBack(40));
        check(Outcome::Failed, Some(1), 0, 5, Settlement::GiveBack(35));
    }

    #[test]
    fn what_never_ran_costs_nothing() {
        check(Outcome::Refused, None, 0, 0, Settlement::GiveBack(100));
        check(Outcome::Refused, Some(1), 0, 0, Settlement::GiveBack(100));
        check(Outcome::Cancelled, None, 0, 0, Settlement::GiveBack(100));
        check(Outcome::Failed, Some(1), 0, 0, Settlement::GiveBack(100));
    }

    #[test]
    fn a_note_of_another_form_is_no_note() {
        assert_eq!(Note::read(&[]), None);
        assert_eq!(Note::read(&[FORM, 0, 0]), None);
        assert_eq!(Note::read(&[9, 0, 0, 0, 0, 0, 0, 0, 0, b'x']), None);
        assert_eq!(Note::read(&[FORM, 0, 0, 0, 0, 0, 0, 0, 0, 0xff]), None);
    }

    proptest! {
        #[test]
        fn a_note_is_read_as_it_was_written(taken in any::<u32>(), prompt_tokens in any::<u32>(), bucket in ".{0,40}") {
            let note = Note { taken, prompt_tokens, bucket: &bucket };
            let written = note.write();
            prop_assert_eq!(Note::read(&written), Some(note));
        }
    }
}
