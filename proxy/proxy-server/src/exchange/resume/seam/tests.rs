//! However often and wherever a stream is cut, the client gets the bytes of one that was not.

use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { kept_bytes_max: 1 << 16, event_bytes_max: 1 << 16 };

fn event(form: Form, id: &str, text: &str, finish: &str) -> String {
    let choice = match form {
        Form::Chat => format!("{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":{finish}}}"),
        Form::Completion => format!("{{\"index\":0,\"text\":\"{text}\",\"finish_reason\":{finish}}}"),
    };
    format!("data: {{\"id\":\"{id}\",\"created\":12,\"choices\":[{choice}]}}\n\n")
}

fn opening(id: &str) -> String {
    format!(
        "data: {{\"id\":\"{id}\",\"created\":12,\"choices\":[{{\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}}}}]}}\n\n"
    )
}

fn usage(id: &str, prompt: usize, output: usize) -> String {
    format!(
        "data: {{\"id\":\"{id}\",\"created\":12,\"choices\":[],\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{output}}}}}\n\n"
    )
}

const DONE: &str = "data: [DONE]\n\n";

/// A replica of ours that says these texts, of so many tokens each, from where the client's tokens end.
fn ours(form: Form, texts: &[(String, usize)], begun: Option<&Continuation>) -> String {
    let fresh = Continuation { id: "x1".to_owned(), created: 12, ..Continuation::default() };
    let begun = begun.unwrap_or(&fresh);
    assert_eq!((begun.id.as_str(), begun.created), ("x1", 12));
    let mut stream = String::new();
    if form == Form::Chat && !begun.opened {
        stream += &opening("x1");
    }
    let mut told = 0;
    for (at, (text, tokens)) in texts.iter().enumerate() {
        let is_last = at + 1 == texts.len();
        told += tokens;
        if told <= begun.tokens.len() {
            continue;
        }
        let tokens = (told - tokens..told).map(|token| token as u32).collect();
        let produced = Produced { tokens, last: is_last, seed: Some(9), cached_tokens: Some(1) };
        stream += &String::from_utf8(produced.to_line()).unwrap();
        stream += &event(form, "x1", text, "null");
        if is_last {
            stream += &event(form, "x1", "", "\"stop\"");
        }
    }
    stream + &usage("x1", 5, told) + DONE
}

/// Another server, that says these texts from where the client's text ends, under a name of its own.
fn theirs(form: Form, texts: &[(String, usize)], kept: Option<&KeptText>, id: &str) -> String {
    let (text, given) = kept.map_or(("", 0), |kept| (kept.text.as_str(), kept.outputs as usize));
    let said: String = texts[..given].iter().map(|(text, _)| text.as_str()).collect();
    assert_eq!(said, text);
    let mut stream = String::new();
    if form == Form::Chat {
        stream += &opening(id);
    }
    for (at, (text, _)) in texts.iter().enumerate().skip(given) {
        let finish = if at + 1 == texts.len() { "\"length\"" } else { "null" };
        stream += &event(form, id, text, finish);
    }
    stream + &usage(id, 5 + given, texts.len() - given) + DONE
}

/// Feeds streams, each up to its cut, in pieces of this size; the last one whole.
fn through(seam: &mut Seam, cuts: &[usize], piece: usize, mut stream: impl FnMut(&Seam, usize) -> String) -> String {
    let mut out = Vec::new();
    let mut feed = |seam: &mut Seam, bytes: &[u8]| {
        bytes.chunks(piece).for_each(|bytes| out.extend_from_slice(&seam.pass(Bytes::copy_from_slice(bytes))));
    };
    for (number, cut) in cuts.iter().enumerate() {
        let text = stream(seam, number);
        // A death after [DONE] is none.
        let cut = cut % (text.len() - 1);
        feed(seam, &text.as_bytes()[..cut]);
        seam.cut().expect("it can go on");
    }
    let text = stream(seam, cuts.len());
    feed(seam, text.as_bytes());
    out.extend_from_slice(&seam.end());
    String::from_utf8(out).unwrap()
}

fn without_comments(stream: &str) -> String {
    stream.split_inclusive('\n').filter(|line| !line.starts_with(':')).collect()
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![Just(Form::Chat), Just(Form::Completion)]
}

proptest! {
    #[test]
    fn by_tokens(
        form in form(),
        texts in proptest::collection::vec(("[a-cé]{1,3}", 1..4_usize), 1..8),
        cuts in proptest::collection::vec(any::<usize>(), 0..4),
        piece in 1..200_usize,
    ) {
        let mut seam = Seam::new(Continues::Tokens, form, BOUNDS);
        let joined = through(&mut seam, &cuts, piece, |seam, _| {
            let begun = seam.kept().map(|kept| match kept {
                Kept::Tokens(kept) => &kept.begun,
                Kept::Text(_) => unreachable!("it keeps tokens"),
            });
            ours(form, &texts, begun)
        });
        prop_assert_eq!(joined, without_comments(&ours(form, &texts, None)));
    }

    #[test]
    fn by_text(
        form in form(),
        texts in proptest::collection::vec(("[a-cé]{1,3}", Just(1_usize)), 1..8),
        cuts in proptest::collection::vec(any::<usize>(), 0..4),
        piece in 1..200_usize,
    ) {
        let mut seam = Seam::new(Continues::Text, form, BOUNDS);
        let joined = through(&mut seam, &cuts, piece, |seam, number| {
            let kept = seam.kept().map(|kept| match kept {
                Kept::Text(kept) => kept,
                Kept::Tokens(_) => unreachable!("it keeps text"),
            });
            theirs(form, &texts, kept, &format!("x{number}"))
        });
        let id = &joined["data: {\"id\":\"".len()..][..2];
        prop_assert_eq!(&joined, &theirs(form, &texts, None, id));
    }
}

#[test]
fn a_replica_that_does_not_tell_its_tokens_cannot_be_continued() {
    let mut seam = Seam::new(Continues::Tokens, Form::Chat, BOUNDS);
    let opening = Bytes::from(opening("x"));
    assert_eq!(seam.pass(opening.clone()), opening);
    let text = Bytes::from(event(Form::Chat, "x", "a", "null"));
    assert_eq!(seam.pass(text.clone()), text);
    assert_eq!(seam.cut(), Err(Resumed::Shape));
}

#[test]
fn what_is_too_long_passes_but_is_not_kept() {
    let bounds = Bounds { kept_bytes_max: 8, event_bytes_max: 1 << 16 };
    let mut seam = Seam::new(Continues::Text, Form::Completion, bounds);
    for _ in 0..3 {
        let text = Bytes::from(event(Form::Completion, "x", "abcd", "null"));
        assert_eq!(seam.pass(text.clone()), text);
    }
    assert_eq!(seam.cut(), Err(Resumed::TooLarge));
}

#[test]
fn a_huge_event_passes_as_it_comes() {
    let bounds = Bounds { kept_bytes_max: 1 << 16, event_bytes_max: 8 };
    let mut seam = Seam::new(Continues::Text, Form::Completion, bounds);
    assert_eq!(seam.pass(Bytes::from_static(b"data: 12345")), "data: 12345");
    assert_eq!(seam.pass(Bytes::from_static(b"6")), "6");
    assert_eq!(seam.cut(), Err(Resumed::TooLarge));
}

#[test]
fn a_replica_that_tells_of_an_error_is_as_one_that_died() {
    let mut seam = Seam::new(Continues::Text, Form::Completion, BOUNDS);
    let text = event(Form::Completion, "x", "a", "null");
    let failed = format!("{text}data: {{\"error\":{{\"message\":\"out of memory\"}}}}\n\n{DONE}");
    assert_eq!(seam.pass(Bytes::from(failed)), text);
    assert!(seam.has_failed());
    assert_eq!(seam.cut(), Ok(()));
    assert!(!seam.has_failed());
}

#[test]
fn comments_that_keep_alive_pass() {
    let mut seam = Seam::new(Continues::Tokens, Form::Completion, BOUNDS);
    assert_eq!(seam.pass(Bytes::from_static(b": ping\n\n")), ": ping\n\n");
    assert!(seam.kept().is_none());
    assert_eq!(seam.cut(), Ok(()));
}
