//! What is measured: a prompt, or a step of some sequences that have a context already.

use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// One load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    /// A prompt of so many tokens in one step.
    Prefill {
        /// Its tokens.
        tokens: usize,
    },
    /// A token of each sequence.
    Decode {
        /// Sequences.
        batch: usize,
        /// Tokens that each has before it.
        context: usize,
    },
}

impl Case {
    /// What is measured unless something else is asked for.
    pub fn ordinary() -> Vec<Case> {
        let decode = |batch, context| Case::Decode { batch, context };
        let decodes = [(1, 128), (8, 128), (32, 128), (1, 1024), (8, 1024), (1, 8192)];
        let decodes = decodes.into_iter().map(|(batch, context)| decode(batch, context));
        std::iter::once(Case::Prefill { tokens: 512 }).chain(decodes).collect()
    }

    /// Tokens of a step.
    pub(crate) fn tokens(self) -> usize {
        match self {
            Case::Prefill { tokens } => tokens,
            Case::Decode { batch, .. } => batch,
        }
    }

    /// Sequences, and the tokens that each comes to.
    pub(crate) fn sequences(self) -> (usize, usize) {
        match self {
            Case::Prefill { tokens } => (1, tokens),
            Case::Decode { batch, context } => (batch, context + STEPS),
        }
    }

    /// Steps of one sample.
    pub(crate) fn steps(self) -> usize {
        match self {
            Case::Prefill { .. } => 1,
            Case::Decode { .. } => STEPS,
        }
    }
}

/// Steps of a decode's sample.
const STEPS: usize = 8;

impl Display for Case {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Case::Prefill { tokens } => write!(f, "prefill:{tokens}"),
            Case::Decode { batch, context } => write!(f, "decode:{batch}:{context}"),
        }
    }
}

impl FromStr for Case {
    type Err = String;

    fn from_str(text: &str) -> Result<Case, String> {
        let number = |text: &str| text.parse::<usize>().ok().filter(|number| *number > 0);
        let parts: Vec<&str> = text.split(':').collect();
        let case = match parts.as_slice() {
            ["prefill", tokens] => number(tokens).map(|tokens| Case::Prefill { tokens }),
            ["decode", batch, context] => {
                number(batch).zip(number(context)).map(|(batch, context)| Case::Decode { batch, context })
            }
            _ => None,
        };
        case.ok_or_else(|| format!("{text:?} is not a case: write prefill:512 or decode:8:128"))
    }
}

/// Seconds that a step took.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    /// On the clock: the least of the sample's steps.
    pub(crate) wall_s: f64,
    /// Of processors, all threads together: the mean of the sample's steps.
    pub(crate) cpu_s: f64,
}

impl Sample {
    /// The least of each: what disturbed a sample only ever adds.
    pub(crate) fn best(samples: &[Sample]) -> Sample {
        let least = |of: fn(&Sample) -> f64| samples.iter().map(of).fold(f64::INFINITY, f64::min);
        Sample { wall_s: least(|sample| sample.wall_s), cpu_s: least(|sample| sample.cpu_s) }
    }
}

#[cfg(test)]
mod tests {
    use super::Case;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = text.parse::<Case>().map_or_else(|error| error, |case| format!("{case:?}"));
        assert_eq!(found, expected);
    }

    #[test]
    fn cases_are_read_and_what_is_none_is_told() {
        check("prefill:512", "Prefill { tokens: 512 }");
        check("decode:8:128", "Decode { batch: 8, context: 128 }");
        check("decode:8", "\"decode:8\" is not a case: write prefill:512 or decode:8:128");
        check("prefill:0", "\"prefill:0\" is not a case: write prefill:512 or decode:8:128");
        for case in Case::ordinary() {
            assert_eq!(case.to_string().parse::<Case>(), Ok(case));
        }
    }
}
