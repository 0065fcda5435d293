//! Turns text into tokens and tokens into text, as the checkpoint's tokenizer.json says.

mod longest;

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use tokenizers::Tokenizer;

use crate::Error;
use crate::quoted::Specials;

/// A checkpoint's tokenizer.
pub(crate) struct Vocabulary {
    tokenizer: Tokenizer,
    spelling: Spelling,
    specials: Specials,
    /// Most bytes of text that one token stands for; none: there is no such bound.
    token_bytes_max: Option<usize>,
}

/// How a token of the vocabulary spells its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spelling {
    /// One printable character a byte (GPT-2 and its heirs).
    ByteLevel,
    /// Text with `▁` for a space and `<0xNN>` for a lone byte (sentencepiece and its heirs).
    Pieces,
}

impl Vocabulary {
    pub fn load(dir: &Path) -> Result<Vocabulary, Error> {
        let path = dir.join("tokenizer.json");
        Tokenizer::from_file(&path)
            .map(Vocabulary::over)
            .map_err(|error| Error::Checkpoint { path, reason: error.to_string() })
    }

    pub fn over(mut tokenizer: Tokenizer) -> Vocabulary {
        // A tokenizer.json may ask to cut or pad what it encodes; a prompt is taken whole.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).expect("no truncation is always possible");
        let decoder = tokenizer.get_decoder().map(|decoder| serde_json::to_string(decoder).unwrap_or_default());
        let spelling = match decoder {
            Some(decoder) if decoder.contains("ByteLevel") => Spelling::ByteLevel,
            _ => Spelling::Pieces,
        };
        let token_bytes_max = longest::token_bytes_max(&tokenizer, spelling);
        let added = tokenizer.get_added_vocabulary().get_added_tokens_decoder().values();
        let specials = Specials::new(added.filter(|token| token.special).map(|token| token.content.clone()));
        Vocabulary { tokenizer, spelling, specials, token_bytes_max }
    }

    /// Encodes a plain prompt, with what the tokenizer puts around it (a BOS, for many).
    pub fn encode_prompt(&self, text: &str) -> Result<Vec<u32>, Error> {
        self.encode(text, true)
    }

    /// Encodes the pieces of a rendered chat, which already spells out its special tokens; none spans two pieces.
    pub fn encode_chat(&self, pieces: &[&str]) -> Result<Vec<u32>, Error> {
        let tokens = pieces.iter().map(|piece| self.encode(piece, false));
        Ok(tokens.collect::<Result<Vec<_>, _>>()?.concat())
    }

    /// A text of so many bytes has at least this many tokens.
    pub fn tokens_least(&self, bytes: usize) -> usize {
        self.token_bytes_max.map_or(0, |bytes_max| bytes.div_ceil(bytes_max))
    }

    /// How the special tokens are spelt.
    pub fn specials(&self) -> &Specials {
        &self.specials
    }

    fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>, Error> {
        let encoding = self.tokenizer.encode_fast(text, add_special_tokens);
        encoding.map(|encoding| encoding.get_ids().to_vec()).map_err(|error| Error::Tokenizer(error.to_string()))
    }

    /// The text of tokens, without special ones; bytes that are no character become U+FFFD.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, Error> {
        self.tokenizer.decode(tokens, true).map_err(|error| Error::Tokenizer(error.to_string()))
    }

    /// The highest id that text can become; none if there are no tokens.
    pub fn highest_id(&self) -> Option<u32> {
        self.tokenizer.get_vocab(false).into_values().max()
    }

    /// The id of a token by its spelling.
    pub fn id_of(&self, token: &str) -> Option<u32> {
        self.tokenizer.token_to_id(token)
    }

    /// The bytes one token stands for; none for an id that names no token.
    pub fn bytes_of(&self, token: u32) -> Option<Vec<u8>> {
        let spelt = self.tokenizer.id_to_token(token)?;
        if self.tokenizer.get_added_tokens_decoder().contains_key(&token) {
            return Some(spelt.into_bytes());
        }
        Some(match self.spelling {
            Spelling::ByteLevel => spelt
                .chars()
                .map(|char| BYTE_OF_CHAR.get(&char).copied())
                .collect::<Option<Vec<u8>>>()
                .unwrap_or_else(|| spelt.into_bytes()),
            Spelling::Pieces => match lone_byte(&spelt) {
                Some(byte) => vec![byte],
                None => spelt.replace('▁', " ").into_bytes(),
            },
        })
    }
}

fn lone_byte(spelt: &str) -> Option<u8> {
    u8::from_str_radix(spelt.strip_prefix("<0x")?.strip_suffix('>')?, 16).ok()
}

/// GPT-2's table: printable Latin-1 characters stand for themselves, the other bytes for U+0100 and up, in order.
static BYTE_OF_CHAR: LazyLock<HashMap<char, u8>> = LazyLock::new(|| {
    let stands_for_itself = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let (plain, shifted): (Vec<u8>, Vec<u8>) = (0..=u8::MAX).partition(|byte| stands_for_itself(*byte));
    let shifted = ('\u{100}'..).zip(shifted);
    plain.into_iter().map(|byte| (char::from(byte), byte)).chain(shifted).collect()
});

#[cfg(test)]
pub(crate) mod tests;
