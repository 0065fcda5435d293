//! Loads components that are wrong in one or some places: sections gone, doubled or swapped, names and bytes changed.

use std::ops::Range;

use policy_runtime::{LoadError, Runtime};

use super::bytes::Bytes;
use super::stage::{SLOT, ask, check_sentence, check_slot, runtime};

/// Mutations of one input.
const MUTATIONS_MAX: usize = 6;
/// A component's magic number, version and layer.
const HEADER: [u8; 8] = [0, b'a', b's', b'm', 0x0d, 0, 1, 0];
/// Words of the same length, so that what is around them stays sound.
const WORDS: [(&str, &str); 8] = [
    ("@0.1.0", "@9.9.9"),
    ("policy/place", "policy/admit"),
    ("describe", "descrybe"),
    ("policy/fleet", "policy/elves"),
    ("headworks", "headwerks"),
    ("memory", "mymory"),
    ("cabi_realloc", "cabi_reallok"),
    ("[method]request", "[static]request"),
];

/// A runtime, and sound components to spoil.
pub struct Loader {
    runtime: Runtime,
    bases: Vec<Vec<u8>>,
}

impl Loader {
    pub fn new(bases: Vec<Vec<u8>>) -> Loader {
        Loader { runtime: runtime(), bases }
    }

    /// Why the component that the input describes was not loaded; none where it was, and then its hooks were asked.
    pub fn load(&self, input: &[u8]) -> Option<LoadError> {
        let mut input = Bytes(input);
        let choice = input.below(self.bases.len() + 1);
        let component = match self.bases.get(choice) {
            Some(base) => mutated(base.clone(), &mut input),
            None => [&HEADER[..], input.rest()].concat(),
        };
        self.load_whole(&component)
    }

    /// The same for a component as it is.
    pub fn load_whole(&self, component: &[u8]) -> Option<LoadError> {
        let refused = match self.runtime.load(SLOT, component, "", None) {
            Ok(loaded) => {
                ask(&loaded, 1, b"a prompt");
                None
            }
            Err(refused) => {
                check_sentence(&refused.to_string());
                assert!(!matches!(refused, LoadError::Internal { .. }), "the runtime is to blame: {refused}");
                Some(refused)
            }
        };
        check_slot(&self.runtime);
        self.runtime.forget(SLOT);
        refused
    }
}

fn mutated(mut component: Vec<u8>, input: &mut Bytes<'_>) -> Vec<u8> {
    for _ in 0..MUTATIONS_MAX {
        if input.is_empty() || component.is_empty() {
            break;
        }
        mutate(&mut component, input);
    }
    component
}

fn mutate(component: &mut Vec<u8>, input: &mut Bytes<'_>) {
    let choice = input.byte() % 8;
    let at = input.below(component.len());
    match choice {
        0 => component[at] ^= 1 << (input.byte() % 8),
        1 => component[at] = input.byte(),
        2 => component.truncate(at),
        3 => replace(component, WORDS[usize::from(input.byte()) % WORDS.len()], input.byte()),
        4 => component.insert(at, input.byte()),
        _ => mutate_sections(component, choice, input),
    }
}

fn mutate_sections(component: &mut Vec<u8>, choice: u8, input: &mut Bytes<'_>) {
    let mut sections: Vec<Vec<u8>> = sections(component).into_iter().map(|range| component[range].to_vec()).collect();
    if sections.is_empty() {
        return;
    }
    let (one, other) = (input.below(sections.len()), input.below(sections.len()));
    match choice {
        5 => drop(sections.remove(one)),
        6 => sections.swap(one, other),
        _ => sections.insert(other, sections[one].clone()),
    }
    *component = [HEADER.to_vec(), sections.concat()].concat();
}

/// The n-th place where the word stands gets the other one.
fn replace(component: &mut [u8], (from, to): (&str, &str), turn: u8) {
    let places: Vec<usize> = component
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from.as_bytes())
        .map(|(at, _)| at)
        .collect();
    if let Some(at) = places.get(usize::from(turn) % places.len().max(1)) {
        component[*at..*at + to.len()].copy_from_slice(to.as_bytes());
    }
}

/// The outermost sections, as far as they can be told apart.
fn sections(component: &[u8]) -> Vec<Range<usize>> {
    let (mut sections, mut at) = (Vec::new(), HEADER.len());
    while at < component.len() {
        let Some((bytes, length)) = leb128(&component[at + 1..]) else { break };
        let Some(end) = (at + 1 + length).checked_add(bytes).filter(|end| *end <= component.len()) else { break };
        sections.push(at..end);
        at = end;
    }
    sections
}

/// A number and the bytes it took.
fn leb128(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut number = 0;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        number |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((number, index + 1));
        }
    }
    None
}
