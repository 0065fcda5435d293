//! One request's output as its client sees it: text cut at stop strings, with the log probabilities that belong to it.

use std::collections::VecDeque;
use std::sync::Arc;

use openai_api::{ChatTokenLogprob, TokenLogprob};

use crate::Error;
use crate::detokenizer::Detokenizer;
use crate::sampler::TopLogprobs;
use crate::stop::{Passed, StopStrings};
use crate::vocabulary::Vocabulary;

/// The output so far, and what is not shown yet.
pub(crate) struct Output {
    vocabulary: Arc<Vocabulary>,
    detokenizer: Detokenizer,
    stop: StopStrings,
    /// Characters decoded, held ones included.
    chars_decoded: u32,
    /// Characters shown.
    chars_shown: u32,
    unshown: VecDeque<Logprob>,
}

/// What is new to show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Piece {
    pub text: String,
    pub logprobs: Vec<Logprob>,
}

/// One token's log probabilities, and where its text begins in the output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Logprob {
    pub text_offset: u32,
    pub token: ChatTokenLogprob,
}

/// A piece, and whether the output goes on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shown {
    More(Piece),
    Stopped(Piece),
}

impl Output {
    pub fn new(vocabulary: Arc<Vocabulary>, stop: Vec<String>) -> Output {
        Output {
            vocabulary,
            detokenizer: Detokenizer::default(),
            stop: StopStrings::new(stop),
            chars_decoded: 0,
            chars_shown: 0,
            unshown: VecDeque::new(),
        }
    }

    /// Takes a token.
    pub fn push(&mut self, token: u32, logprobs: Option<TopLogprobs>) -> Result<Shown, Error> {
        if let Some(logprobs) = logprobs {
            let token = self.spell_out(token, logprobs);
            self.unshown.push_back(Logprob { text_offset: self.chars_decoded, token });
        }
        let text = self.detokenizer.push(token, &self.vocabulary)?;
        self.chars_decoded += chars_in(&text);
        Ok(match self.stop.push(&text) {
            Passed::Text(text) => Shown::More(self.show(text)),
            Passed::Stopped(text) => Shown::Stopped(self.show_last(text)),
        })
    }

    /// Takes tokens whose text the client has; false when a stop string ends the output in them.
    pub fn replay(&mut self, tokens: &[u32]) -> Result<bool, Error> {
        for token in tokens {
            if let Shown::Stopped(_) = self.push(*token, None)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The output ended: the rest of it, which may still turn out to stop.
    pub fn finish(&mut self) -> Result<Shown, Error> {
        let tail = self.detokenizer.finish(&self.vocabulary)?;
        self.chars_decoded += chars_in(&tail);
        Ok(match self.stop.push(&tail) {
            Passed::Text(text) => {
                let held = self.stop.finish();
                let mut piece = self.show(text + &held);
                // Tokens that no character came from: the special ones.
                piece.logprobs.extend(self.unshown.drain(..));
                Shown::More(piece)
            }
            Passed::Stopped(text) => Shown::Stopped(self.show_last(text)),
        })
    }

    /// The text before a stop string; what is held belongs to nothing shown.
    fn show_last(&mut self, text: String) -> Piece {
        let piece = self.show(text);
        self.unshown.clear();
        piece
    }

    /// The text, with the log probabilities of the tokens that begin in it.
    fn show(&mut self, text: String) -> Piece {
        self.chars_shown += chars_in(&text);
        let shown = self.unshown.iter().take_while(|logprob| logprob.text_offset < self.chars_shown).count();
        Piece { text, logprobs: self.unshown.drain(..shown).collect() }
    }

    fn spell_out(&self, token: u32, logprobs: TopLogprobs) -> ChatTokenLogprob {
        let spelt = |token, logprob| {
            let bytes = self.vocabulary.bytes_of(token);
            let text = String::from_utf8_lossy(bytes.as_deref().unwrap_or_default()).into_owned();
            TokenLogprob { token: text, logprob, bytes }
        };
        ChatTokenLogprob {
            chosen: spelt(token, logprobs.chosen),
            top_logprobs: logprobs.top.into_iter().map(|(token, logprob)| spelt(token, logprob)).collect(),
        }
    }
}

impl Piece {
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.logprobs.is_empty()
    }

    /// Adds what comes after.
    pub fn extend(&mut self, later: Piece) {
        self.text += &later.text;
        self.logprobs.extend(later.logprobs);
    }
}

fn chars_in(text: &str) -> u32 {
    u32::try_from(text.chars().count()).unwrap_or(u32::MAX)
}
