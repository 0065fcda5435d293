//! Walks a JSON text once: values are skipped, or looked at where they stand; nothing is built of them.
//!
//! Takes what RFC 8259 allows, and no more: what passes here, passes in the replica's reader too. One exception is the
//! client's and the replica's to settle between them: half a surrogate pair in a string.

use std::borrow::Cow;

/// Arrays and objects within each other; the bound of serde_json too.
const DEPTH_MAX: u32 = 128;
/// Bytes of a string that are looked at a word at a time. Most strings are short, and most lines of code: a search in
/// vectors pays for itself later.
const NEAR: usize = 64;
const WORD: usize = size_of::<u64>();
/// A word of bytes that are 1, and one of their high bits.
const ONES: u64 = u64::MAX / 255;
const HIGHS: u64 = ONES * 0x80;

/// A place in a text.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
    depth: u32,
}

/// Where a text is not JSON, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotJson {
    pub at: usize,
    pub why: &'static str,
}

/// What begins here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    Text,
    Number,
    /// `true`, `false`, `null`.
    Word,
}

/// A string as it is written, between its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Raw<'a> {
    written: &'a str,
    has_escapes: bool,
}

/// A value of which only a scalar is of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar<'a> {
    Null,
    Bool(bool),
    /// As it is written.
    Number(&'a str),
    Text(Raw<'a>),
    /// An array or object.
    Other,
}

type Walked<T = ()> = Result<T, NotJson>;

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0, depth: 0 }
    }

    /// What the next value is.
    pub fn kind(&mut self) -> Walked<Kind> {
        match self.next_byte() {
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'"') => Ok(Kind::Text),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f' | b'n') => Ok(Kind::Word),
            Some(_) => self.wrong("a value was expected"),
            None => self.wrong("it ends where a value was expected"),
        }
    }

    /// Walks an object: `each` is called with every key and must walk its value.
    pub fn object(&mut self, mut each: impl FnMut(&mut Scanner<'a>, Raw<'a>) -> Walked) -> Walked {
        self.enter()?;
        let mut is_first = true;
        loop {
            match (self.next_byte(), is_first) {
                (Some(b'}'), true) => break,
                (Some(b'"'), true) => {}
                (Some(b','), false) => {
                    self.at += 1;
                    if self.next_byte() != Some(b'"') {
                        return self.wrong("a key was expected");
                    }
                }
                (Some(b'}'), false) => break,
                (_, true) => return self.wrong("a key or `}` was expected"),
                (_, false) => return self.wrong("`,` or `}` was expected"),
            }
            is_first = false;
            let key = self.string()?;
            if self.next_byte() != Some(b':') {
                return self.wrong("`:` was expected");
            }
            self.at += 1;
            each(self, key)?;
        }
        self.leave();
        Ok(())
    }

    /// Walks an array: `each` is called for every value and must walk it.
    pub fn array(&mut self, mut each: impl FnMut(&mut Scanner<'a>) -> Walked) -> Walked {
        self.enter()?;
        let mut is_first = true;
        loop {
            match (self.next_byte(), is_first) {
                (Some(b']'), _) => break,
                (Some(b','), false) => self.at += 1,
                (_, true) => {}
                (_, false) => return self.wrong("`,` or `]` was expected"),
            }
            is_first = false;
            each(self)?;
        }
        self.leave();
        Ok(())
    }

    /// Walks a value and keeps it if it is a scalar.
    pub fn scalar(&mut self) -> Walked<Scalar<'a>> {
        match self.kind()? {
            Kind::Text => self.string().map(Scalar::Text),
            Kind::Number => self.number().map(Scalar::Number),
            Kind::Word => self.word(),
            Kind::Object | Kind::Array => self.skip().map(|()| Scalar::Other),
        }
    }

    /// Walks a value that is of no interest.
    pub fn skip(&mut self) -> Walked {
        match self.kind()? {
            Kind::Object => self.object(|scanner, _key| scanner.skip()),
            Kind::Array => self.array(Scanner::skip),
            Kind::Text => self.string().map(drop),
            Kind::Number => self.number().map(drop),
            Kind::Word => self.word().map(drop),
        }
    }

    /// Nothing but blanks may follow.
    pub fn end(&mut self) -> Walked {
        match self.next_byte() {
            None => Ok(()),
            Some(_) => self.wrong("something follows the value"),
        }
    }

    /// Walks a string.
    pub fn string(&mut self) -> Walked<Raw<'a>> {
        let start = self.at + 1;
        let (bytes, mut has_escapes) = (self.text.as_bytes(), false);
        self.at = start;
        loop {
            self.at = special(bytes, self.at);
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    has_escapes = true;
                    self.escape()?;
                }
                Some(_) => return self.wrong("a control character must be escaped"),
                None => return self.wrong("it ends within a string"),
            }
        }
        let written = &self.text[start..self.at];
        self.at += 1;
        Ok(Raw { written, has_escapes })
    }

    fn escape(&mut self) -> Walked {
        let bytes = self.text.as_bytes();
        let length = match bytes.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if hex4(bytes, self.at + 2).is_some() => 6,
            _ => return self.wrong("an escape is none that JSON has"),
        };
        self.at += length;
        Ok(())
    }

    fn number(&mut self) -> Walked<&'a str> {
        let (bytes, start) = (self.text.as_bytes(), self.at);
        if bytes[self.at] == b'-' {
            self.at += 1;
        }
        match bytes.get(self.at) {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = bytes.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = bytes.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(&self.text[start..self.at])
    }

    /// One digit or more.
    fn digits(&mut self) -> Walked {
        let count = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return self.wrong("a digit was expected");
        }
        self.at += count;
        Ok(())
    }

    fn word(&mut self) -> Walked<Scalar<'a>> {
        let rest = &self.text.as_bytes()[self.at..];
        let words: [(&[u8], _); 3] =
            [(b"true", Scalar::Bool(true)), (b"false", Scalar::Bool(false)), (b"null", Scalar::Null)];
        for (word, scalar) in words {
            if rest.starts_with(word) {
                self.at += word.len();
                return Ok(scalar);
            }
        }
        self.wrong("a value was expected")
    }

    fn enter(&mut self) -> Walked {
        self.at += 1;
        self.depth += 1;
        match self.depth < DEPTH_MAX {
            true => Ok(()),
            false => self.wrong("it is nested too deeply"),
        }
    }

    fn leave(&mut self) {
        self.at += 1;
        self.depth -= 1;
    }

    /// The next byte that is not blank, which stays the next.
    fn next_byte(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                other => return other.copied(),
            }
        }
    }

    fn wrong<T>(&self, why: &'static str) -> Walked<T> {
        Err(NotJson { at: self.at, why })
    }
}

/// The next byte that plain text within quotes does not have: a quote, a backslash, a control character; or the end.
fn special(bytes: &[u8], from: usize) -> usize {
    let rest = &bytes[from..];
    let (near, far) = rest.split_at(rest.len().min(NEAR));
    let (words, tail) = near.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let marks = (word.wrapping_sub(ONES * 0x20) & !word & HIGHS) | marks_of(word, b'"') | marks_of(word, b'\\');
        if marks != 0 {
            return from + index * WORD + marks.trailing_zeros() as usize / 8;
        }
    }
    if let Some(at) = tail.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..b' ')) {
        return from + words.len() * WORD + at;
    }
    // A long text: a search in vectors, twice, for the end and for what may not be in it.
    let run = &far[..memchr::memchr2(b'"', b'\\', far).unwrap_or(far.len())];
    let has_control = run.iter().fold(u8::MAX, |least, byte| least.min(*byte)) < b' ';
    let length = match has_control {
        true => run.iter().position(|byte| *byte < b' ').unwrap_or(run.len()),
        false => run.len(),
    };
    from + near.len() + length
}

/// The high bit of each byte of `word` that is `wanted`; of those above the lowest such byte, perhaps others' too.
fn marks_of(word: u64, wanted: u8) -> u64 {
    let zeros = word ^ (ONES * u64::from(wanted));
    zeros.wrapping_sub(ONES) & !zeros & HIGHS
}

/// The next backslash.
fn backslash(bytes: &[u8]) -> Option<usize> {
    let (near, far) = bytes.split_at(bytes.len().min(NEAR));
    let (words, tail) = near.as_chunks();
    for (index, word) in words.iter().enumerate() {
        let marks = marks_of(u64::from_le_bytes(*word), b'\\');
        if marks != 0 {
            return Some(index * WORD + marks.trailing_zeros() as usize / 8);
        }
    }
    let in_tail = tail.iter().position(|byte| *byte == b'\\').map(|at| words.len() * WORD + at);
    in_tail.or_else(|| memchr::memchr(b'\\', far).map(|at| near.len() + at))
}

fn hex4(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 4)?;
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)? as u16))
}

impl<'a> Raw<'a> {
    /// Whether this is what it spells.
    pub fn is(self, text: &str) -> bool {
        match self.has_escapes {
            false => self.written == text,
            true => self.text() == text,
        }
    }

    /// What it spells; borrowed where it has no escapes. Half a surrogate pair is spelled U+FFFD.
    pub fn text(self) -> Cow<'a, str> {
        match self.has_escapes {
            false => Cow::Borrowed(self.written),
            true => Cow::Owned(unescaped(self.written)),
        }
    }
}

/// `written` is one that [`Scanner::string`] has walked.
fn unescaped(written: &str) -> String {
    let mut text = String::with_capacity(written.len());
    let mut rest = written;
    while let Some(at) = backslash(rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let (spelled, length) = spelled(&rest.as_bytes()[at..]);
        text.push(spelled);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    text
}

/// What the escape at the beginning spells, and its bytes.
fn spelled(escape: &[u8]) -> (char, usize) {
    match escape[1] {
        b'b' => ('\u{8}', 2),
        b'f' => ('\u{c}', 2),
        b'n' => ('\n', 2),
        b'r' => ('\r', 2),
        b't' => ('\t', 2),
        b'u' => spelled_unit(escape),
        itself => (char::from(itself), 2),
    }
}

fn spelled_unit(escape: &[u8]) -> (char, usize) {
    let first = hex4(escape, 2).unwrap_or(0xfffd);
    let second = (escape.get(6..8) == Some(b"\\u")).then(|| hex4(escape, 8)).flatten();
    match (char::from_u32(first.into()), first, second) {
        (Some(whole), ..) => (whole, 6),
        (None, 0xd800..=0xdbff, Some(low @ 0xdc00..=0xdfff)) => {
            let code = 0x10000 + (u32::from(first - 0xd800) << 10) + u32::from(low - 0xdc00);
            (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
        }
        _ => (char::REPLACEMENT_CHARACTER, 6),
    }
}

impl<'a> Scalar<'a> {
    pub fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Text(text) => Some(text.text()),
            _ => None,
        }
    }

    /// A whole number, at least 0; more than fits is the most that does.
    pub fn count(self) -> Option<u32> {
        match self {
            Scalar::Number(written) => written.parse::<u64>().ok().map(|count| count.try_into().unwrap_or(u32::MAX)),
            _ => None,
        }
    }

    pub fn number(self) -> Option<f64> {
        match self {
            Scalar::Number(written) => written.parse().ok().filter(|number: &f64| number.is_finite()),
            _ => None,
        }
    }

    pub fn is_true(self) -> bool {
        matches!(self, Scalar::Bool(true))
    }
}
