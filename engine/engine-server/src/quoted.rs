//! Keeps a client's text from being read as special tokens: `<|im_end|>` ends a turn in a template, not in a message.

use openai_api::Message;

/// How a vocabulary's special tokens are spelt.
pub(crate) struct Specials {
    spelt: Vec<String>,
    firsts: Vec<char>,
}

/// Messages whose text a template may render, with a mark inside everything that spells a special token.
///
/// The rendered text is cut at the marks and encoded piece by piece, so no special token of the client's is ever whole.
/// Text that spells none, which is nearly all, has no marks and is encoded as ever. What this cannot see is a token
/// spelt half by one message and half by the next, if a template puts nothing between them.
pub(crate) struct Quoted {
    pub messages: Vec<Message>,
    mark: Option<char>,
}

impl Specials {
    /// One of a single character cannot be cut, so it stays what it is.
    pub fn new(spelt: impl Iterator<Item = String>) -> Specials {
        let spelt: Vec<String> = spelt.filter(|spelt| spelt.chars().nth(1).is_some()).collect();
        let mut firsts: Vec<char> = spelt.iter().filter_map(|spelt| spelt.chars().next()).collect();
        firsts.sort_unstable();
        firsts.dedup();
        Specials { spelt, firsts }
    }

    fn begin_in(&self, text: &str) -> bool {
        text.char_indices().any(|(at, first)| self.begin_at(&text[at..], first))
    }

    fn begin_at(&self, rest: &str, first: char) -> bool {
        self.firsts.contains(&first) && self.spelt.iter().any(|spelt| rest.starts_with(spelt.as_str()))
    }

    /// Each first character of a special token is followed by the mark: those that overlap are cut too.
    fn cut(&self, text: &str, mark: char) -> String {
        let mut cut = String::with_capacity(text.len() + mark.len_utf8());
        for (at, char) in text.char_indices() {
            cut.push(char);
            if self.begin_at(&text[at..], char) {
                cut.push(mark);
            }
        }
        cut
    }
}

impl Quoted {
    /// None: the messages hold special tokens and every character that could mark them.
    pub fn new(mut messages: Vec<Message>, specials: &Specials) -> Option<Quoted> {
        if !messages.iter().flat_map(texts).any(|text| specials.begin_in(text)) {
            return Some(Quoted { messages, mark: None });
        }
        let mark = unused_char(&messages)?;
        for Message { role: _, content, name } in &mut messages {
            *content = specials.cut(content, mark);
            *name = name.take().map(|name| specials.cut(&name, mark));
        }
        Some(Quoted { messages, mark: Some(mark) })
    }

    /// The rendered text in pieces, without the marks.
    pub fn pieces<'a>(&self, rendered: &'a str) -> Vec<&'a str> {
        match self.mark {
            Some(mark) => rendered.split(mark).collect(),
            None => vec![rendered],
        }
    }
}

fn texts(message: &Message) -> impl Iterator<Item = &str> {
    std::iter::once(message.content.as_str()).chain(message.name.as_deref())
}

/// A character for private use, which no template has and these messages do not hold.
fn unused_char(messages: &[Message]) -> Option<char> {
    let private = '\u{f0000}'..='\u{ffffd}';
    let used: std::collections::HashSet<char> =
        messages.iter().flat_map(texts).flat_map(str::chars).filter(|char| private.contains(char)).collect();
    private.into_iter().find(|char| !used.contains(char))
}

#[cfg(test)]
mod tests;
