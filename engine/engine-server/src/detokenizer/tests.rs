//! Text that grows token by token is the text that all tokens give at once.

use proptest::prelude::*;

use super::*;
use crate::vocabulary::tests::{byte_level, pieces};

fn deltas(tokens: &[u32], vocabulary: &Vocabulary) -> Vec<String> {
    let mut detokenizer = Detokenizer::default();
    let mut deltas: Vec<String> = tokens.iter().map(|token| detokenizer.push(*token, vocabulary).unwrap()).collect();
    deltas.push(detokenizer.finish(vocabulary).unwrap());
    deltas
}

#[test]
fn a_character_is_held_until_it_is_whole() {
    let vocabulary = byte_level();
    let tokens = vocabulary.encode_prompt("hi€é😀").unwrap();
    let deltas = deltas(&tokens, &vocabulary);
    assert!(tokens.len() > 4, "the merges must end inside characters: {tokens:?}");
    assert!(deltas.iter().all(|delta| !delta.contains('\u{fffd}')), "{deltas:?}");
    assert_eq!(deltas.concat(), "hi€é😀");
}

#[test]
fn the_first_space_is_stripped_and_later_ones_are_not() {
    let vocabulary = pieces();
    let id = |token: &str| vocabulary.id_of(token).unwrap();
    let tokens = [id("▁hi"), id("▁hi"), id("<0xE2>"), id("<0x82>"), id("<0xAC>"), id("▁")];
    assert_eq!(deltas(&tokens, &vocabulary), ["hi", " hi", "", "", "€", " ", ""]);
}

#[test]
fn a_byte_that_breaks_a_shown_character_loses_nothing_after_it() {
    let vocabulary = pieces();
    let id = |token: &str| vocabulary.id_of(token).unwrap();
    let tokens = [id("<0xC3>"), id("<0xA9>"), id("<0x80>"), id("a"), id("▁hi")];
    assert_eq!(deltas(&tokens, &vocabulary), ["", "é", "", "\u{fffd}a", " hi", ""]);
    assert_eq!(deltas(&tokens[..3], &vocabulary), ["", "é", "", "\u{fffd}"]);
}

#[test]
fn what_is_held_is_bounded() {
    // Continuation bytes, which never begin a character: "Ģ" spells one.
    for (vocabulary, broken) in [(byte_level(), "Ģ"), (pieces(), "<0x80>")] {
        let tokens = vec![vocabulary.id_of(broken).unwrap(); 3 * HELD_TOKENS_MAX];
        let deltas = deltas(&tokens, &vocabulary);
        assert!(deltas.chunks_exact(HELD_TOKENS_MAX).all(|deltas| !deltas.concat().is_empty()), "{deltas:?}");
        assert_eq!(deltas.concat(), "\u{fffd}".repeat(tokens.len()));
    }
}

/// What a stream of pieces after the first must show: every lone byte that joins no character as U+FFFD.
fn streamed(tokens: &[u32], vocabulary: &Vocabulary) -> String {
    let shown = |bytes: &[u8]| match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => "\u{fffd}".repeat(bytes.len()),
    };
    let (mut text, mut held) = (String::new(), Vec::new());
    for token in tokens {
        let bytes = vocabulary.bytes_of(*token).unwrap();
        let is_piece = *token > 0xff;
        if is_piece {
            text += &shown(&std::mem::take(&mut held));
        }
        held.extend(bytes);
        if is_piece || str::from_utf8(&held).is_ok_and(|text| !text.ends_with('\u{fffd}')) {
            text += &shown(&std::mem::take(&mut held));
        }
    }
    text + &shown(&held)
}

proptest! {
    /// Any tokens, broken characters included: the deltas are the whole text.
    #[test]
    fn deltas_of_bytes_join_to_the_whole_text(tokens in proptest::collection::vec(0_u32..264, 0..40)) {
        let vocabulary = byte_level();
        prop_assert_eq!(deltas(&tokens, &vocabulary).concat(), vocabulary.decode(&tokens).unwrap());
    }

    #[test]
    fn deltas_of_text_are_never_broken(text in "[a-c é€😀🇩🇪\u{301}\u{fffd}]{0,16}") {
        let vocabulary = byte_level();
        let deltas = deltas(&vocabulary.encode_prompt(&text).unwrap(), &vocabulary);
        prop_assert_eq!(deltas.concat(), text.clone());
        let broken = |text: &str| text.matches('\u{fffd}').count();
        prop_assert_eq!(deltas.iter().map(|delta| broken(delta)).sum::<usize>(), broken(&text));
    }

    #[test]
    fn deltas_of_pieces_join_to_the_whole_text(tokens in proptest::collection::vec(prop_oneof![0x20_u32..0x7f, 256_u32..262], 0..40)) {
        let vocabulary = pieces();
        prop_assert_eq!(deltas(&tokens, &vocabulary).concat(), vocabulary.decode(&tokens).unwrap());
    }

    /// Lone bytes included. A later byte may break a run that was shown already, so the whole text is no oracle here.
    #[test]
    fn deltas_of_pieces_lose_nothing_after_a_broken_byte(tokens in proptest::collection::vec(lone_byte_or_piece(), 0..40)) {
        let vocabulary = pieces();
        let opened = [&[vocabulary.id_of("a").unwrap()], tokens.as_slice()].concat();
        let shown = deltas(&opened, &vocabulary).concat();
        prop_assert_eq!(broken_once(&shown), broken_once(&("a".to_owned() + &streamed(&tokens, &vocabulary))));
    }
}

/// Any byte, those of é and € more often, or a piece.
fn lone_byte_or_piece() -> impl Strategy<Value = u32> {
    prop_oneof![0_u32..256, proptest::sample::select(vec![0xC3_u32, 0xA9, 0xE2, 0x82, 0xAC]), 256_u32..262]
}

/// Each run of U+FFFD as one: a lone space that begins a window is stripped, and counted again if its run breaks.
fn broken_once(text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    chars.dedup_by(|one, other| *one == '\u{fffd}' && one == other);
    chars.into_iter().collect()
}
