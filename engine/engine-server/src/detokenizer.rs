//! Turns a growing list of tokens into a growing text, never emitting part of a character.

use crate::Error;
use crate::vocabulary::Vocabulary;

/// Most tokens held back. A character has four bytes: what is held for longer is broken, not incomplete.
const HELD_TOKENS_MAX: usize = 64;

/// The text of one sequence's output so far.
///
/// Decoding token by token is wrong twice: a token may hold part of a character, and some decoders treat the first
/// token of a text differently. So a window is decoded with the last emitted tokens before it, and what they alone
/// give is cut off. Text that ends in U+FFFD may be a character that is not complete yet, and is held, up to a bound.
#[derive(Debug, Default)]
pub(crate) struct Detokenizer {
    tokens: Vec<u32>,
    /// The window begins here: at the tokens emitted last.
    window_start: usize,
    /// Tokens before this one are emitted.
    emitted: usize,
}

impl Detokenizer {
    /// Takes a token; the text it completes, which may be empty.
    pub fn push(&mut self, token: u32, vocabulary: &Vocabulary) -> Result<String, Error> {
        self.tokens.push(token);
        let text = self.unemitted(vocabulary)?;
        let held = self.tokens.len() - self.emitted;
        let incomplete = text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER);
        if incomplete && held < HELD_TOKENS_MAX {
            return Ok(String::new());
        }
        self.window_start = self.emitted;
        self.emitted = self.tokens.len();
        Ok(text)
    }

    /// The output ended: whatever is held, with U+FFFD for characters that will never be complete.
    pub fn finish(&mut self, vocabulary: &Vocabulary) -> Result<String, Error> {
        let text = self.unemitted(vocabulary)?;
        self.window_start = self.tokens.len();
        self.emitted = self.tokens.len();
        Ok(text)
    }

    fn unemitted(&self, vocabulary: &Vocabulary) -> Result<String, Error> {
        let before = vocabulary.decode(&self.tokens[self.window_start..self.emitted])?;
        let mut text = vocabulary.decode(&self.tokens[self.window_start..])?;
        if text.starts_with(&before) {
            text.drain(..before.len());
            return Ok(text);
        }
        // A byte that joins no character makes ByteFallback break the whole run of bytes before it, shown ones included.
        // What is shown stays; the new tokens begin with a lone byte, so no first space of theirs can be lost.
        vocabulary.decode(&self.tokens[self.emitted..])
    }
}

#[cfg(test)]
mod tests;
