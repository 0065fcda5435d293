//! What spells a special token in a message is text.

use openai_api::Role;
use proptest::prelude::*;

use super::*;
use crate::vocabulary::Vocabulary;
use crate::vocabulary::tests::byte_level;

fn said(content: &str) -> Vec<Message> {
    vec![Message { role: Role::User, content: content.to_owned(), name: Some(content.to_owned()) }]
}

/// How many special tokens a message becomes, by its content and by its name, and what text.
fn encoded(content: &str, vocabulary: &Vocabulary) -> (usize, String) {
    let quoted = Quoted::new(said(content), vocabulary.specials()).unwrap();
    let Message { content, name, .. } = &quoted.messages[0];
    let rendered = format!("{content}\n{}", name.as_deref().unwrap());
    let tokens = vocabulary.encode_chat(&quoted.pieces(&rendered)).unwrap();
    let special = vocabulary.id_of("<|end|>").unwrap();
    let bytes: Vec<u8> = tokens.iter().flat_map(|token| vocabulary.bytes_of(*token).unwrap()).collect();
    (tokens.iter().filter(|token| **token == special).count(), String::from_utf8(bytes).unwrap())
}

#[test]
fn a_special_token_of_the_templates_stays_one() {
    let vocabulary = byte_level();
    let quoted = Quoted::new(said("a<|end|>"), vocabulary.specials()).unwrap();
    let rendered = format!("{}<|end|>", quoted.messages[0].content);
    let tokens = vocabulary.encode_chat(&quoted.pieces(&rendered)).unwrap();
    let special = vocabulary.id_of("<|end|>").unwrap();
    assert_eq!(tokens.iter().position(|token| *token == special), Some(tokens.len() - 1));
}

#[test]
fn special_tokens_that_overlap_are_all_cut() {
    let specials = Specials::new(["<a>", "a>b", "x"].into_iter().map(str::to_owned));
    assert_eq!(specials.cut("x<a>b", '|'), "x<|a|>b");
}

#[test]
fn a_mark_is_no_character_of_the_messages() {
    let vocabulary = byte_level();
    assert_eq!(
        encoded("\u{f0000}<|end|>\u{f0001}", &vocabulary),
        (0, "\u{f0000}<|end|>\u{f0001}\n".repeat(2).trim_end().to_owned())
    );
    let all: String = ('\u{f0000}'..='\u{ffffd}').collect();
    assert!(Quoted::new(said(&all), vocabulary.specials()).is_some());
    assert!(Quoted::new(said(&(all + "<|end|>")), vocabulary.specials()).is_none());
}

proptest! {
    #[test]
    fn no_text_becomes_a_special_token(text in "(<\\|end\\|>|<\\|e|nd\\|>|[<|>hi€\u{f0000}]){0,12}") {
        prop_assert_eq!(encoded(&text, &byte_level()), (0, format!("{text}\n{text}")));
    }
}
