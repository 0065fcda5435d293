//! Counts tokens in an answer as it passes, without holding up or changing a byte of it.

use std::time::Instant;

use bytes::Bytes;

use crate::wire::{self, AnswerFields, Usage};

/// Watches one answer.
pub(crate) struct Peek {
    form: Form,
    bytes_max: usize,
    seen: Seen,
}

/// What has been seen so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    /// Events with output; the tokens, where no usage says more exactly.
    pub outputs: u32,
    pub first_output: Option<Instant>,
    pub last_output: Option<Instant>,
    pub usage: Option<Usage>,
    pub finish_reason: Option<String>,
    pub id: Option<String>,
    pub model: Option<String>,
    /// `[DONE]`, or an event that says as much, has passed.
    pub done: bool,
    /// The replica told of an error in the stream.
    pub error: bool,
}

/// The form of an answer's body.
enum Form {
    /// Server-sent events.
    Events(Lines),
    /// One JSON document; kept, up to the bound, until its end.
    Document { kept: Vec<Bytes>, bytes: usize },
    /// Something that is not ours to read.
    Opaque,
}

/// Where in the lines of a stream of events we are.
struct Lines {
    /// A line that has begun but not ended.
    partial: Vec<u8>,
    /// Bytes of it so far, kept or not.
    partial_bytes: usize,
    /// The last whole line was empty, or there was none yet: an event has ended here.
    after_blank: bool,
}

impl Peek {
    pub fn events(bytes_max: usize) -> Peek {
        let lines = Lines { partial: Vec::new(), partial_bytes: 0, after_blank: true };
        Peek { form: Form::Events(lines), bytes_max, seen: Seen::default() }
    }

    pub fn document(bytes_max: usize) -> Peek {
        Peek { form: Form::Document { kept: Vec::new(), bytes: 0 }, bytes_max, seen: Seen::default() }
    }

    pub fn opaque() -> Peek {
        Peek { form: Form::Opaque, bytes_max: 0, seen: Seen::default() }
    }

    /// Sees bytes on their way to the client. Says whether output was among them.
    pub fn see(&mut self, data: &Bytes, now: Instant) -> bool {
        let before = self.seen.outputs;
        match &mut self.form {
            Form::Events(lines) => lines.see(data, self.bytes_max, |line| event_line(line, &mut self.seen, now)),
            Form::Document { kept, bytes } => {
                *bytes += data.len();
                match *bytes <= self.bytes_max {
                    true => kept.push(data.clone()),
                    false => kept.clear(),
                }
            }
            Form::Opaque => {}
        }
        self.seen.outputs > before
    }

    /// The answer has ended, and nobody asks again: what there was to see.
    pub fn ended(&mut self) -> Seen {
        self.read_document();
        std::mem::take(&mut self.seen)
    }

    /// What there was to see of an answer that ends here, or goes on elsewhere.
    pub fn end(&mut self) -> Seen {
        self.read_document();
        self.seen.clone()
    }

    fn read_document(&mut self) {
        if let Form::Document { kept, bytes } = &mut self.form
            && *bytes <= self.bytes_max
        {
            let kept = std::mem::take(kept);
            let whole = if let [one] = &kept[..] { one.clone() } else { kept.concat().into() };
            if let Some(fields) = wire::read_answer(&whole) {
                self.seen.take(&fields);
            }
        }
    }

    pub fn is_done(&self) -> bool {
        self.seen.done
    }

    /// The replica told of an error in the stream.
    pub fn has_error(&self) -> bool {
        self.seen.error
    }

    /// What must be sent before an event of our own; `None` where none can be.
    pub fn before_own_event(&self) -> Option<&'static str> {
        match &self.form {
            Form::Events(Lines { partial_bytes: 1.., .. }) => Some("\n\n"),
            Form::Events(Lines { after_blank: false, .. }) => Some("\n"),
            Form::Events(_) => Some(""),
            Form::Document { .. } | Form::Opaque => None,
        }
    }
}

impl Lines {
    fn see(&mut self, mut data: &[u8], bytes_max: usize, mut line_ended: impl FnMut(&[u8])) {
        while let Some(end) = data.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = (&data[..end], &data[end + 1..]);
            self.after_blank = match self.partial_bytes {
                // The line lies whole in these bytes, as most do: no copy.
                0 => {
                    line_ended(trimmed(line));
                    trimmed(line).is_empty()
                }
                _ => {
                    self.keep(line, bytes_max);
                    if self.partial_bytes == self.partial.len() {
                        line_ended(trimmed(&self.partial));
                    }
                    trimmed(&self.partial).is_empty()
                }
            };
            self.partial.clear();
            self.partial_bytes = 0;
            data = rest;
        }
        if !data.is_empty() {
            self.keep(data, bytes_max);
        }
    }

    /// Keeps a part of a line; of a line longer than the bound only its length.
    fn keep(&mut self, part: &[u8], bytes_max: usize) {
        if self.partial_bytes + part.len() <= bytes_max {
            self.partial.extend_from_slice(part);
        }
        self.partial_bytes += part.len();
    }
}

fn trimmed(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// One line of the stream; OpenAI's events have one `data:` line each.
fn event_line(line: &[u8], seen: &mut Seen, now: Instant) {
    let Some(data) = line.strip_prefix(b"data:") else { return };
    let data = data.trim_ascii();
    if data == b"[DONE]" {
        seen.done = true;
        return;
    }
    let Some(fields) = wire::read_event(data) else { return };
    if fields.has_output() {
        seen.outputs += 1;
        seen.first_output.get_or_insert(now);
        seen.last_output = Some(now);
    }
    seen.error |= fields.is_error();
    seen.done |= fields.is_last();
    seen.take(&fields);
}

impl Seen {
    fn take(&mut self, fields: &AnswerFields<'_>) {
        if let Some(usage) = fields.usage() {
            self.usage = Some(usage.or_earlier(self.usage));
        }
        if let (None, Some(reason)) = (&self.finish_reason, fields.finish_reason()) {
            self.finish_reason = Some(reason.to_owned());
        }
        if let (None, Some(id)) = (&self.id, fields.id()) {
            self.id = Some(id.to_owned());
        }
        if let (None, Some(model)) = (&self.model, fields.model()) {
            self.model = Some(model.to_owned());
        }
    }

    /// Output tokens: as the replica counted them, else the events that had output.
    pub fn output_tokens(&self) -> Option<u32> {
        self.usage.map(|usage| usage.completion_tokens).or((self.outputs > 0).then_some(self.outputs))
    }
}

#[cfg(test)]
mod tests;
