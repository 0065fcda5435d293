//! Stands between a replica's stream and the client: lets whole events pass, keeps what another replica needs to go on
//! from them, and joins what that one says.
//!
//! The output's last event and what follows wait for `[DONE]`, which comes at the same time: a replica that dies between
//! them is as one that died before, and no stream must go on from its own end.

use bytes::Bytes;
use dispatch::{Continues, Resumed};
use openai_api::{Continuation, Produced};

use crate::exchange::resume::events::{Events, TooLarge};
use crate::exchange::resume::graft::{Named, graft};
use crate::wire::read_stream_event;

/// One client's stream, over all the replicas that it comes from.
pub(crate) struct Seam {
    events: Events,
    kept: Kept,
    kept_bytes_max: usize,
    event_bytes_max: usize,
    /// The replica has told of an error, which ends what it has to say.
    has_failed: bool,
    /// Why it cannot go on, once that is so.
    trouble: Option<Resumed>,
    /// Events from the output's last on.
    held: Vec<Bytes>,
    held_bytes: usize,
    /// Bytes pass as they come: an event was too large.
    is_open: bool,
    /// An event has passed to the client.
    has_passed: bool,
    /// What comes now continues what has passed.
    continues: bool,
}

/// What the next replica is given.
pub(super) enum Kept {
    Tokens(KeptTokens),
    Text(KeptText),
}

pub(super) struct KeptTokens {
    pub begun: Continuation,
    /// Events that may come before the first tokens.
    openings_left: u32,
}

#[derive(Default)]
pub(super) struct KeptText {
    pub text: String,
    /// Events with output: the tokens, as nearly as can be known.
    pub outputs: u32,
    /// Of these, the ones that the replica that speaks now was given in its prompt.
    given: u32,
    named: Named,
}

/// The forms of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Its first event opens it, without output.
    Chat,
    Completion,
}

/// Bounds of what is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Of tokens or text.
    pub kept_bytes_max: usize,
    /// Of one event, and of those that wait for the stream's end.
    pub event_bytes_max: usize,
}

/// What may pass to the client now.
#[derive(Default)]
struct Passing {
    first: Bytes,
    more: Vec<u8>,
}

impl Seam {
    pub fn new(continues: Continues, form: Form, bounds: Bounds) -> Seam {
        let Bounds { kept_bytes_max, event_bytes_max } = bounds;
        let kept = match continues {
            Continues::Text => Kept::Text(KeptText::default()),
            Continues::Tokens | Continues::Nothing => {
                let openings_left = if form == Form::Chat { 1 } else { 0 };
                Kept::Tokens(KeptTokens { begun: Continuation::default(), openings_left })
            }
        };
        Seam {
            events: Events::new(event_bytes_max),
            kept,
            kept_bytes_max,
            event_bytes_max,
            has_failed: false,
            trouble: None,
            held: Vec::new(),
            held_bytes: 0,
            is_open: false,
            has_passed: false,
            continues: false,
        }
    }

    /// Takes bytes of a replica; gives what may pass to the client now.
    pub fn pass(&mut self, data: Bytes) -> Bytes {
        if self.is_open {
            return data;
        }
        let mut whole = Vec::new();
        let pushed = self.events.push(data, |event| whole.push(event));
        let mut passing = Passing::default();
        whole.into_iter().for_each(|event| self.event(event, &mut passing));
        if let Err(TooLarge) = pushed {
            self.open(&mut passing);
        }
        passing.bytes()
    }

    /// The stream has ended in order: what has not passed yet.
    pub fn end(&mut self) -> Bytes {
        let mut passing = Passing::default();
        self.open(&mut passing);
        passing.bytes()
    }

    /// The replica died: what it had not said whole is forgotten. Says why the stream cannot go on.
    pub fn cut(&mut self) -> Result<(), Resumed> {
        self.events.rest();
        self.has_failed = false;
        self.held.clear();
        self.held_bytes = 0;
        self.continues = self.has_passed;
        if let Kept::Text(kept) = &mut self.kept {
            kept.given = kept.outputs;
        }
        self.trouble.map_or(Ok(()), Err)
    }

    /// The replica has told of an error, and the stream may go on without it.
    pub fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// What the next replica is given; `None` where the client has nothing yet, and the request is sent as it was.
    pub(super) fn kept(&self) -> Option<&Kept> {
        self.has_passed.then_some(&self.kept)
    }

    /// Some event has passed to the client.
    fn event(&mut self, event: Bytes, passing: &mut Passing) {
        if self.is_open {
            return passing.push(event);
        }
        if self.has_failed {
            return;
        }
        let (produced, event) = told(event);
        let data = data_of(&event);
        if data == b"[DONE]" {
            self.held.drain(..).for_each(|held| passing.push(held));
            self.held_bytes = 0;
            return passing.push(event);
        }
        if !self.held.is_empty() {
            let event = self.kept.joined(event, self.continues);
            return self.hold(event, passing);
        }
        // An error of its own is the replica's end. Where the stream cannot go on the client gets the replica's words.
        if data.starts_with(b"{\"error\"") && self.trouble.is_none() {
            self.has_failed = true;
            return;
        }
        // Comments keep a connection alive, and say nothing.
        if data.is_empty() {
            return passing.push(event);
        }
        let (is_last, event) = match &mut self.kept {
            Kept::Tokens(kept) => (kept.take(produced, data, &mut self.trouble), Some(event)),
            Kept::Text(kept) => kept.take(&event, self.continues, &mut self.trouble),
        };
        if self.kept.bytes() > self.kept_bytes_max {
            self.kept.clear();
            self.trouble = Some(Resumed::TooLarge);
        }
        let Some(event) = event else { return };
        match is_last {
            Place::Last => self.hold(event, passing),
            Place::Amid => {
                self.has_passed = true;
                passing.push(event);
            }
        }
    }

    fn hold(&mut self, event: Bytes, passing: &mut Passing) {
        self.held_bytes += event.len();
        self.held.push(event);
        if self.held_bytes > self.event_bytes_max {
            self.open(passing);
        }
    }

    /// Lets everything pass, now and from now on.
    fn open(&mut self, passing: &mut Passing) {
        self.is_open = true;
        self.trouble.get_or_insert(Resumed::TooLarge);
        self.held.drain(..).for_each(|held| passing.push(held));
        passing.push(self.events.rest());
    }
}

/// Where an event stands in the output.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Amid,
    Last,
}

impl Kept {
    fn bytes(&self) -> usize {
        match self {
            Kept::Tokens(kept) => size_of_val(&kept.begun.tokens[..]),
            Kept::Text(kept) => kept.text.len(),
        }
    }

    /// An event that follows the output's last as the client gets it.
    fn joined(&self, event: Bytes, continues: bool) -> Bytes {
        match self {
            Kept::Text(kept) if continues => kept.joined(&event),
            Kept::Tokens(_) | Kept::Text(_) => event,
        }
    }

    fn clear(&mut self) {
        match self {
            Kept::Tokens(kept) => kept.begun.tokens = Vec::new(),
            Kept::Text(kept) => kept.text = String::new(),
        }
    }
}

impl KeptTokens {
    fn take(&mut self, produced: Option<Produced>, data: &[u8], trouble: &mut Option<Resumed>) -> Place {
        let Some(produced) = produced else {
            let has_text = read_stream_event(data).is_none_or(|event| !event.text().is_empty());
            match self.openings_left.checked_sub(1) {
                Some(left) if !has_text => self.openings_left = left,
                // A replica that does not tell its tokens, though it was asked to.
                _ => *trouble = trouble.or(Some(Resumed::Shape)),
            }
            self.named(data);
            return Place::Amid;
        };
        self.openings_left = 0;
        if produced.last {
            return Place::Last;
        }
        self.named(data);
        let Produced { tokens, last: _, seed, cached_tokens } = produced;
        // After a death the kept ones may have been given up.
        if trouble.is_none() {
            self.begun.tokens.extend(tokens);
        }
        self.begun.seed = self.begun.seed.or(seed);
        self.begun.cached_tokens = cached_tokens.unwrap_or(self.begun.cached_tokens);
        Place::Amid
    }

    fn named(&mut self, data: &[u8]) {
        if !std::mem::replace(&mut self.begun.opened, true) {
            let named = read_stream_event(data).map(|event| Named::of(&event)).unwrap_or_default();
            self.begun.id = serde_json::from_str(&named.id).unwrap_or_default();
            self.begun.created = named.created.parse().unwrap_or_default();
        }
    }
}

impl KeptText {
    fn joined(&self, event: &Bytes) -> Bytes {
        let data = data_of(event);
        match read_stream_event(data) {
            Some(read) => graft(event, data, &read, &self.named, self.given),
            None => event.clone(),
        }
    }

    /// Where the event stands, and how the client gets it, if it does.
    fn take(&mut self, event: &Bytes, continues: bool, trouble: &mut Option<Resumed>) -> (Place, Option<Bytes>) {
        let data = data_of(event);
        let Some(read) = read_stream_event(data) else {
            *trouble = trouble.or(Some(Resumed::Shape));
            return (Place::Amid, Some(event.clone()));
        };
        if !read.is_plain() {
            *trouble = trouble.or(Some(Resumed::Shape));
        }
        let place = if read.finishes() { Place::Last } else { Place::Amid };
        let has_text = !read.text().is_empty();
        let passed = match continues {
            false => Some(event.clone()),
            // The opening has passed.
            true if !has_text && place == Place::Amid && read.usage.is_none() => None,
            true => Some(graft(event, data, &read, &self.named, self.given)),
        };
        if !continues && self.named.id.is_empty() {
            self.named = Named::of(&read);
        }
        if has_text && place == Place::Amid && trouble.is_none() {
            self.text.push_str(read.text());
            self.outputs += 1;
        }
        (place, passed)
    }
}

impl Passing {
    fn push(&mut self, bytes: Bytes) {
        if self.first.is_empty() {
            self.first = bytes;
        } else {
            self.more.extend_from_slice(&bytes);
        }
    }

    fn bytes(self) -> Bytes {
        match self.more.is_empty() {
            true => self.first,
            false => [&self.first[..], &self.more].concat().into(),
        }
    }
}

/// What an event tells of its tokens, and the event without it: a first line that clients are not to see.
fn told(mut event: Bytes) -> (Option<Produced>, Bytes) {
    let Some(end) = event.iter().position(|byte| *byte == b'\n') else { return (None, event) };
    let produced = Produced::from_line(&event[..end]);
    if produced.is_some() {
        event = event.slice(end + 1..);
    }
    (produced, event)
}

/// An event's data: OpenAI's events have one `data:` line each.
fn data_of(event: &[u8]) -> &[u8] {
    let lines = event.split(|byte| *byte == b'\n');
    lines.filter_map(|line| line.strip_prefix(b"data:")).next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests;
