//! A byte-level BPE trained on our own text, with a chat template in the ChatML shape.

use serde_json::json;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, Tokenizer, TokenizerBuilder};

use super::SynthError;
use super::files::File;

const CORPUS: &str = include_str!("corpus.txt");
const CHAT_TEMPLATE: &str = include_str!("chat_template.jinja");

/// A token that text cannot contain.
pub(super) struct Special {
    pub(super) text: &'static str,
    pub(super) id: u32,
}

/// Ends a document; also pads.
pub(super) const END_OF_TEXT: Special = Special { text: "<|endoftext|>", id: 0 };
/// Begins a chat message.
pub(super) const BEGIN_TURN: Special = Special { text: "<|im_start|>", id: 1 };
/// Ends a chat message.
pub(super) const END_OF_TURN: Special = Special { text: "<|im_end|>", id: 2 };

const SPECIALS: [Special; 3] = [END_OF_TEXT, BEGIN_TURN, END_OF_TURN];

pub(super) struct Trained {
    /// Tokens, special ones included.
    pub(super) vocab: usize,
    json: String,
}

/// Trains on the corpus until there are `vocab_max` tokens.
pub(super) fn train(vocab_max: usize) -> Result<Trained, SynthError> {
    let failed = |error: tokenizers::Error| SynthError::Make { what: "tokenizer.json", reason: error.to_string() };
    let byte_level = ByteLevel::new(false, true, true);
    let mut tokenizer = TokenizerBuilder::<BPE, tokenizers::NormalizerWrapper, _, _, _>::new()
        .with_model(BPE::default())
        .with_pre_tokenizer(Some(byte_level))
        .with_post_processor(Some(byte_level))
        .with_decoder(Some(byte_level))
        .build()
        .map_err(failed)?;
    let specials = SPECIALS.iter().map(|special| AddedToken::from(special.text, true));
    let mut trainer = BpeTrainer::builder()
        .vocab_size(vocab_max)
        .special_tokens(specials.collect())
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build();
    tokenizer.train(&mut trainer, CORPUS.split_inclusive('\n')).map_err(failed)?;
    let tokenizer: Tokenizer = tokenizer.into();
    for special in SPECIALS {
        debug_assert_eq!(tokenizer.token_to_id(special.text), Some(special.id), "specials come first");
    }
    let json = tokenizer.to_string(true).map_err(failed)?;
    Ok(Trained { vocab: tokenizer.get_vocab_size(true), json })
}

impl Trained {
    pub(super) fn files(&self) -> [File; 2] {
        let added = SPECIALS.iter().map(|special| {
            let token = json!({
                "content": special.text,
                "lstrip": false,
                "normalized": false,
                "rstrip": false,
                "single_word": false,
                "special": true,
            });
            (special.id.to_string(), token)
        });
        let config = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "added_tokens_decoder": added.collect::<serde_json::Map<_, _>>(),
            "bos_token": null,
            "eos_token": END_OF_TURN.text,
            "pad_token": END_OF_TEXT.text,
            "clean_up_tokenization_spaces": false,
            "chat_template": CHAT_TEMPLATE,
        });
        let tokenizer = File { name: "tokenizer.json".to_owned(), bytes: self.json.clone().into_bytes() };
        [tokenizer, File::json("tokenizer_config.json", &config)]
    }
}
