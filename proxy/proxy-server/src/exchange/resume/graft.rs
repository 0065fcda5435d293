//! Makes an event of a continuation look like one of the stream that it continues.

use bytes::Bytes;

use crate::wire::{StreamEvent, edited, span_of};

/// What all events of a stream have in common, as JSON texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Named {
    pub id: String,
    pub created: String,
}

impl Named {
    pub fn of(event: &StreamEvent<'_>) -> Named {
        let text = |value: Option<&serde_json::value::RawValue>| value.map_or("", |value| value.get()).to_owned();
        Named { id: text(event.id), created: text(event.created) }
    }
}

/// The event with the stream's own id and time, and with a usage in which the `outputs` tokens that the replica was
/// given as a part of its prompt are output.
pub(super) fn graft(event: &Bytes, data: &[u8], read: &StreamEvent<'_>, named: &Named, outputs: u32) -> Bytes {
    let mut edits = Vec::new();
    for (value, ours) in [(read.id, &named.id), (read.created, &named.created)] {
        if let Some(value) = value.filter(|_| !ours.is_empty()) {
            edits.push((span_of(data, value.get()), ours.clone()));
        }
    }
    if let Some(usage) = &read.usage {
        let count = |text: &str| text.parse::<u32>().unwrap_or(0);
        let (prompt, output) = (usage.prompt_tokens.get(), usage.completion_tokens.get());
        edits.push((span_of(data, prompt), count(prompt).saturating_sub(outputs).to_string()));
        edits.push((span_of(data, output), count(output).saturating_add(outputs).to_string()));
    }
    let start = data.as_ptr() as usize - event.as_ptr() as usize;
    let end = start + data.len();
    [&event[..start], &edited(data, edits), &event[end..]].concat().into()
}
