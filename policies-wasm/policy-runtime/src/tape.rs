//! A call's tape: off, or recording what the host answers, or playing back what it answered when the call was recorded.

use std::collections::VecDeque;

use crate::{
    recording::{Ask, Heard, Look, Told, Track},
    state::State,
};

/// What happens to a call's questions.
#[derive(Debug, Default)]
pub(crate) enum Tape {
    /// They are answered, and that is all.
    #[default]
    Off,
    /// They are answered and written down.
    Recording(Box<Notepad>),
    /// They are answered as they were.
    Playing(Box<Player>),
}

/// Writes down what a call hears.
#[derive(Debug, Default)]
pub(crate) struct Notepad {
    pub track: Track,
    /// The request's prompt is not the real one.
    pub is_prompt_withheld: bool,
    bytes: usize,
}

/// Answers from a recording.
#[derive(Debug, Default)]
pub(crate) struct Player {
    left: VecDeque<Heard>,
    /// What the call looks at and asks now.
    pub track: Track,
    pub is_prompt_withheld: bool,
    /// The first question that is not the recorded one.
    pub stray: Option<Stray>,
}

/// Where a call left its recording.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stray {
    /// How many questions were as recorded before.
    pub at: usize,
    /// What was asked then; none: nothing more.
    pub recorded: Option<Ask>,
    /// What is asked now; none: nothing more.
    pub asked: Option<Ask>,
}

/// An answer of the contract, and the form in which it is recorded.
pub(crate) trait Tell: Sized {
    fn told(&self) -> Told;
    /// None where it is an answer to another question.
    fn of(told: Told) -> Option<Self>;
}

impl Tape {
    pub fn recording() -> Tape {
        Tape::Recording(Box::default())
    }

    /// The same where the request's prompt may not be the real one.
    pub fn recording_without_prompts(is_prompt_withheld: bool) -> Tape {
        Tape::Recording(Box::new(Notepad { is_prompt_withheld, ..Notepad::default() }))
    }

    pub fn playing(heard: &[Heard], is_prompt_withheld: bool) -> Tape {
        let left = heard.iter().cloned().collect();
        Tape::Playing(Box::new(Player { left, is_prompt_withheld, ..Player::default() }))
    }

    /// A copy of what the policy hands over, where it is written down.
    pub fn copy_of(&self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Tape::Off => Vec::new(),
            Tape::Recording(_) | Tape::Playing(_) => bytes.to_vec(),
        }
    }

    /// What was written down.
    pub fn into_track(self) -> Track {
        match self {
            Tape::Off => Track::default(),
            Tape::Recording(notepad) => notepad.track,
            Tape::Playing(player) => player.track,
        }
    }

    /// Whether the call read a prompt that is not the real one.
    pub fn missed_prompt(&self) -> bool {
        let (track, is_withheld) = match self {
            Tape::Off => return false,
            Tape::Recording(notepad) => (&notepad.track, notepad.is_prompt_withheld),
            Tape::Playing(player) => (&player.track, player.is_prompt_withheld),
        };
        is_withheld && (track.looked.has(Look::Prompt) || track.looked.has(Look::Tokens))
    }
}

impl Player {
    /// The recorded answer to this question, unless the recording has another question here.
    fn answer(&mut self, ask: &Ask) -> Option<Told> {
        if self.stray.is_none() {
            let at = self.track.heard.len();
            match self.left.pop_front() {
                Some(heard) if heard.ask == *ask => return Some(heard.told),
                other => {
                    let recorded = other.map(|heard| heard.ask);
                    self.stray = Some(Stray { at, recorded, asked: Some(ask.clone()) });
                }
            }
        }
        None
    }

    /// Where the call left its recording, now that it is over.
    pub fn stray(&self) -> Option<Stray> {
        let rest = || {
            let heard = self.left.front()?;
            Some(Stray { at: self.track.heard.len(), recorded: Some(heard.ask.clone()), asked: None })
        };
        self.stray.clone().or_else(rest)
    }
}

impl State {
    /// Takes note of what the call looks at.
    pub(crate) fn look(&mut self, look: Look) {
        match &mut self.tape {
            Tape::Off => {}
            Tape::Recording(notepad) => notepad.track.looked.add(look),
            Tape::Playing(player) => player.track.looked.add(look),
        }
    }

    /// Answers a question whose answer others have a part in. `ask` is made only where it is written down.
    #[inline]
    pub(crate) fn hear<T: Tell>(&mut self, ask: impl FnOnce() -> Ask, answer: impl FnOnce(&mut State) -> T) -> T {
        match &self.tape {
            Tape::Off => answer(self),
            Tape::Recording(_) | Tape::Playing(_) => self.hear_on_tape(ask, answer),
        }
    }

    #[cold]
    fn hear_on_tape<T: Tell>(&mut self, ask: impl FnOnce() -> Ask, answer: impl FnOnce(&mut State) -> T) -> T {
        match std::mem::take(&mut self.tape) {
            Tape::Off => answer(self),
            Tape::Recording(mut notepad) => {
                let ask = ask();
                let told = answer(self);
                let (asks_max, bytes_max) = (self.limits.heard_max, self.limits.heard_bytes_max);
                notepad.write(Heard { ask, told: told.told() }, asks_max, bytes_max);
                self.tape = Tape::Recording(notepad);
                told
            }
            Tape::Playing(mut player) => {
                let ask = ask();
                let recorded = player.answer(&ask).and_then(T::of);
                // Past the point where it strays, the call is lost already: it gets what there is.
                let told = recorded.unwrap_or_else(|| answer(self));
                player.track.heard.push(Heard { ask, told: told.told() });
                self.tape = Tape::Playing(player);
                told
            }
        }
    }
}

impl Notepad {
    fn write(&mut self, heard: Heard, asks_max: usize, bytes_max: usize) {
        self.bytes += heard.bytes();
        match self.track.heard.len() < asks_max && self.bytes <= bytes_max {
            true => self.track.heard.push(heard),
            false => self.track.is_cut = true,
        }
    }
}

impl Tell for () {
    fn told(&self) -> Told {
        Told::Nothing
    }

    fn of(told: Told) -> Option<()> {
        (told == Told::Nothing).then_some(())
    }
}

impl Tell for bool {
    fn told(&self) -> Told {
        Told::Is(*self)
    }

    fn of(told: Told) -> Option<bool> {
        match told {
            Told::Is(yes) => Some(yes),
            _ => None,
        }
    }
}

impl Tell for u32 {
    fn told(&self) -> Told {
        Told::Number(u64::from(*self))
    }

    fn of(told: Told) -> Option<u32> {
        match told {
            Told::Number(number) => u32::try_from(number).ok(),
            _ => None,
        }
    }
}

impl Tell for u64 {
    fn told(&self) -> Told {
        Told::Version(*self)
    }

    fn of(told: Told) -> Option<u64> {
        match told {
            Told::Version(version) => Some(version),
            _ => None,
        }
    }
}

impl Tell for Option<u32> {
    fn told(&self) -> Told {
        Told::Maybe(*self)
    }

    fn of(told: Told) -> Option<Option<u32>> {
        match told {
            Told::Maybe(number) => Some(number),
            _ => None,
        }
    }
}
