//! Says whether a stream whose replica died may go on at another one.

use std::fmt;

/// Which streams go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResumeMode {
    /// None.
    Off,
    /// Those that go on as they would have without the death: all of replicas that tell their tokens and seeds, and
    /// greedy ones of replicas that can be given the text so far.
    #[default]
    Greedy,
    /// Sampled ones too, whose rest is then another draw.
    Always,
}

/// How a replica goes on with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continues {
    /// From token ids and the sampler's seed: what comes is what would have come.
    Tokens,
    /// From the text so far: the same where decoding is greedy.
    Text,
    /// Not at all.
    Nothing,
}

/// How a stream's tokens are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// The likeliest.
    Greedy,
    /// By chance, or by what came before.
    Drawn,
}

/// What became of a stream whose replica died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resumed {
    /// It went on.
    Yes,
    /// Its rest would be another draw.
    Sampled,
    /// Something in it, or in what was asked, cannot be continued: log probabilities, tools, several choices.
    Shape,
    /// More than the bound would have had to be kept.
    TooLarge,
    /// It has gone on too often.
    TooOften,
    /// Nobody took it.
    Nobody,
}

/// One stream's deaths.
#[derive(Clone, Copy, Debug)]
pub struct Resumes {
    mode: ResumeMode,
    left: u32,
}

impl Resumes {
    /// None yet, `resumes_max` in all.
    pub fn new(mode: ResumeMode, resumes_max: u32) -> Resumes {
        Resumes { mode, left: resumes_max }
    }

    /// Whether a stream from a replica of this kind is worth keeping.
    pub fn keeps(mode: ResumeMode, continues: Continues, sampling: Sampling) -> bool {
        match (mode, continues) {
            (ResumeMode::Off, _) | (_, Continues::Nothing) => false,
            (ResumeMode::Always, _) | (_, Continues::Tokens) => true,
            (ResumeMode::Greedy, Continues::Text) => sampling == Sampling::Greedy,
        }
    }

    /// Counts a death; why the stream may not go on.
    pub fn died(&mut self, continues: Continues, sampling: Sampling) -> Result<(), Resumed> {
        if !Resumes::keeps(self.mode, continues, sampling) {
            return Err(Resumed::Sampled);
        }
        self.left = self.left.checked_sub(1).ok_or(Resumed::TooOften)?;
        Ok(())
    }
}

impl Resumed {
    /// As metrics label it.
    pub fn word(self) -> &'static str {
        match self {
            Resumed::Yes => "resumed",
            Resumed::Sampled => "sampled",
            Resumed::Shape => "shape",
            Resumed::TooLarge => "too_large",
            Resumed::TooOften => "too_often",
            Resumed::Nobody => "nobody",
        }
    }
}

impl fmt::Display for Resumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Resumed::Yes => "it went on",
            Resumed::Sampled => "its rest would have been another draw",
            Resumed::Shape => "what it asked for cannot be continued",
            Resumed::TooLarge => "it was too long to be kept",
            Resumed::TooOften => "it had been continued too often",
            Resumed::Nobody => "no other replica took it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mode: ResumeMode, continues: Continues, sampling: Sampling, expected: Result<(), Resumed>) {
        assert_eq!(Resumes::new(mode, 1).died(continues, sampling), expected);
    }

    #[test]
    fn with_tokens_every_stream_goes_on() {
        check(ResumeMode::Greedy, Continues::Tokens, Sampling::Drawn, Ok(()));
        check(ResumeMode::Greedy, Continues::Tokens, Sampling::Greedy, Ok(()));
    }

    #[test]
    fn with_text_only_greedy_ones_do_unless_another_draw_is_wanted() {
        check(ResumeMode::Greedy, Continues::Text, Sampling::Greedy, Ok(()));
        check(ResumeMode::Greedy, Continues::Text, Sampling::Drawn, Err(Resumed::Sampled));
        check(ResumeMode::Always, Continues::Text, Sampling::Drawn, Ok(()));
    }

    #[test]
    fn what_is_off_is_off() {
        check(ResumeMode::Off, Continues::Tokens, Sampling::Greedy, Err(Resumed::Sampled));
        check(ResumeMode::Always, Continues::Nothing, Sampling::Greedy, Err(Resumed::Sampled));
    }

    #[test]
    fn deaths_are_bounded() {
        let mut resumes = Resumes::new(ResumeMode::Greedy, 2);
        let mut die = || resumes.died(Continues::Tokens, Sampling::Drawn);
        assert_eq!((die(), die(), die()), (Ok(()), Ok(()), Err(Resumed::TooOften)));
    }
}
