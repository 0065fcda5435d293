//! Says which field of a configuration is at fault, from where a JSON reader stopped.

use std::fmt::Display;

use crate::Refusal;

/// An object or an array that the reader is in.
enum Frame<'a> {
    Object { key: &'a str, wants_key: bool },
    Array { at: usize },
}

impl Refusal {
    /// A refusal of what a JSON reader stopped at, which it counts in lines and columns from 1 as `serde_json` does:
    /// `Refusal::at(json, error.line(), error.column(), &error)`. It names the field that was being read.
    pub fn at(json: &str, line: usize, column: usize, error: impl Display) -> Refusal {
        let message = error.to_string();
        let line_start: usize = json.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
        let mut field = path_at(json, line_start + column);
        if let Some(missing) = missing_field(&message) {
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(missing);
        }
        Refusal { field, message }
    }
}

/// The dotted path of what stands before byte `end`, such as `rules.0.tenant`.
fn path_at(json: &str, end: usize) -> String {
    let bytes = json.as_bytes();
    let end = end.min(bytes.len());
    let mut frames: Vec<Frame<'_>> = Vec::new();
    let mut at = 0;
    while at < end {
        match bytes[at] {
            b'"' => {
                let text_end = string_end(bytes, at + 1);
                if let Some(Frame::Object { key, wants_key: true }) = frames.last_mut() {
                    *key = &json[at + 1..text_end];
                }
                at = text_end;
            }
            b'{' => frames.push(Frame::Object { key: "", wants_key: true }),
            b'[' => frames.push(Frame::Array { at: 0 }),
            b'}' | b']' => drop(frames.pop()),
            b':' => set_wants_key(&mut frames, false),
            b',' => match frames.last_mut() {
                Some(Frame::Array { at }) => *at += 1,
                _ => set_wants_key(&mut frames, true),
            },
            _ => {}
        }
        at += 1;
    }
    let words: Vec<String> = frames
        .iter()
        .map(|frame| match frame {
            Frame::Object { key, .. } => (*key).to_owned(),
            Frame::Array { at } => at.to_string(),
        })
        .filter(|word| !word.is_empty())
        .collect();
    words.join(".")
}

fn set_wants_key(frames: &mut [Frame<'_>], wants: bool) {
    if let Some(Frame::Object { wants_key, .. }) = frames.last_mut() {
        *wants_key = wants;
    }
}

/// Where the string ends that begins at `start`: at its closing quote, or at the text's end.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// The name in a message such as "missing field `tenant`".
fn missing_field(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.split('`').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(read: &str, rest: &str, expected: &str) {
        assert_eq!(path_at(&format!("{read}{rest}"), read.len()), expected);
    }

    #[test]
    fn a_field_is_named_with_those_it_stands_in() {
        check(r#"{"scna""#, r#": 1}"#, "scna");
        check(r#"{"a": {"b": [1, {"c": "x""#, r#"}]}}"#, "a.b.1.c");
        check(r#"{"a": 1, "b": true"#, "}", "b");
        check(r#"{"a": [{"b": 1}, {"b": 2"#, "}]}", "a.1.b");
    }

    #[test]
    fn what_is_closed_is_left() {
        check(r#"{"a": {"b": 1}"#, ", }", "a");
        check("[1, 2]", "", "");
        check("nonsense", "", "");
    }

    #[test]
    fn quotes_commas_and_braces_in_strings_are_text() {
        check(r#"{"a": "},\"{", "b": 1"#, "}", "b");
        check(r#"{"a": "cut shor"#, "", "a");
    }

    #[test]
    fn lines_are_counted() {
        let refusal = Refusal::at("{\n  \"a\": 1,\n  \"b\": x\n}", 3, 8, "no value");
        assert_eq!((refusal.field.as_str(), refusal.message.as_str()), ("b", "no value"));
    }

    #[test]
    fn a_missing_field_is_named_where_it_should_stand() {
        let json = r#"{"rules": [{}]}"#;
        assert_eq!(Refusal::at(json, 1, 13, "missing field `tenant` at line 1").field, "rules.0.tenant");
    }
}
