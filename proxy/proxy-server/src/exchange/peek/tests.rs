//! The same is counted however a stream is cut, and never a byte is held.

use proptest::prelude::*;

use super::*;

const BYTES_MAX: usize = 1 << 16;

/// What is seen of a stream cut at these places.
fn seen(stream: &str, cuts: &[usize], bytes_max: usize) -> (Seen, Option<&'static str>) {
    let mut peek = Peek::events(bytes_max);
    let now = Instant::now();
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    for cut in cuts.windows(2) {
        peek.see(&Bytes::copy_from_slice(&stream.as_bytes()[cut[0]..cut[1]]), now);
    }
    let before = peek.before_own_event();
    let seen = Seen { first_output: None, last_output: None, ..peek.end() };
    (seen, before)
}

fn event(text: &str) -> String {
    format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n")
}

#[test]
fn outputs_are_counted_and_usage_beats_the_count() {
    let stream = [event(""), event("a"), event("b")].concat();
    let (without, _) = seen(&stream, &[], BYTES_MAX);
    assert_eq!(without.output_tokens(), Some(2));
    let stream = stream + "data: {\"choices\":[],\"usage\":{\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";
    let (with, _) = seen(&stream, &[], BYTES_MAX);
    assert_eq!((with.output_tokens(), with.done), (Some(5), true));
}

#[test]
fn each_output_is_told() {
    let mut peek = Peek::events(BYTES_MAX);
    let mut told = |text: &str| peek.see(&Bytes::from(event(text)), Instant::now());
    assert_eq!([told(""), told("a"), told("b")], [false, true, true]);
}

#[test]
fn an_event_of_our_own_begins_where_the_last_one_ended() {
    let before = |stream: &str| seen(stream, &[], BYTES_MAX).1;
    assert_eq!(before(""), Some(""));
    assert_eq!(before("data: {}\n\n"), Some(""));
    assert_eq!(before("data: {}\r\n\r\n"), Some(""));
    assert_eq!(before("data: {}\n"), Some("\n"));
    assert_eq!(before("data: {}\n\ndata: {\"cho"), Some("\n\n"));
    assert_eq!(Peek::document(BYTES_MAX).before_own_event(), None);
}

#[test]
fn a_line_beyond_the_bound_is_passed_over_and_the_next_is_read() {
    let stream = [event(&"x".repeat(500)), event("y")].concat();
    let (seen, _) = seen(&stream, &[100, 200, 300], 150);
    assert_eq!(seen.outputs, 1);
}

#[test]
fn a_documents_usage_is_read_at_its_end() {
    let mut peek = Peek::document(BYTES_MAX);
    for part in ["{\"usage\":{\"prompt_tok", "ens\":3,\"completion_tokens\":4}}"] {
        assert!(!peek.see(&Bytes::from(part), Instant::now()));
    }
    assert_eq!(peek.end().output_tokens(), Some(4));
}

#[test]
fn a_document_beyond_the_bound_is_not_kept() {
    let mut peek = Peek::document(10);
    peek.see(&Bytes::from("{\"usage\":{\"completion_tokens\":4}}"), Instant::now());
    assert_eq!(peek.end(), Seen::default());
}

fn streams() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-zé☃ ]{0,12}".prop_map(|text| event(&text)),
        Just(": keep-alive\n\n".to_owned()),
        Just("event: x\r\ndata: {\"choices\":[{\"text\":\"y\"}]}\r\n\r\n".to_owned()),
        Just("data:{\"id\":\"a\",\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":8}}\n\n".to_owned()),
        Just("data: {\"error\":{\"message\":\"m\"}}\n\n".to_owned()),
        Just("data: not json\n\n".to_owned()),
        Just("data: [DONE]\n\n".to_owned()),
        "[ -~]{0,20}",
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_cut_of_the_bytes_gives_the_same_counts(
        stream in streams(), cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        prop_assert_eq!(seen(&stream, &[], BYTES_MAX), seen(&stream, &cuts, BYTES_MAX));
    }
}
