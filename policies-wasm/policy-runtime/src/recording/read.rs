//! Reads a recording, whole or cut short.

use std::{
    collections::HashMap,
    io::{self, BufRead},
    sync::Arc,
};

use bytes::Bytes;
use policy_api::{FleetView, RequestFacts};
use serde::Deserialize;
use thiserror::Error;

use super::{CallLine, EndLine, EndReason, FORMAT, FactsLine, Header, Line, PolicyLine, StartLine};
use crate::contract::CONTRACT;

/// A recording in memory.
#[derive(Debug)]
pub struct Recording {
    /// What it begins with.
    pub header: Header,
    /// By number.
    pub policies: HashMap<u32, Policy>,
    /// By the instance's number.
    pub starts: HashMap<u64, StartLine>,
    /// In the order in which they were written.
    pub calls: Vec<CallLine>,
    /// What is to be known about it: that it was cut short, or that calls are missing.
    pub remarks: Vec<String>,
    fleets: HashMap<u32, Arc<FleetView>>,
    facts: HashMap<u32, Arc<RequestFacts>>,
}

/// A policy of a recording.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who it is.
    pub line: PolicyLine,
    /// Its component, where the recording has it.
    pub component: Option<Arc<[u8]>>,
}

/// Why a recording cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file itself.
    #[error("read the recording: {0}")]
    Io(#[from] io::Error),
    /// There is nothing in it.
    #[error("the recording is empty")]
    Empty,
    /// It does not begin as one.
    #[error("this is no recording: its first line is not a recording's header ({message})")]
    NoRecording {
        /// What is wrong with it.
        message: String,
    },
    /// Written by another version.
    #[error("the recording has format {found}; this headworks reads format {FORMAT}: use the version that wrote it")]
    Format {
        /// Its format.
        found: u32,
    },
    /// Of policies of another contract.
    #[error("the recording is of policies of {found}; this headworks runs {CONTRACT}")]
    Contract {
        /// Their contract.
        found: String,
    },
    /// A line in its midst cannot be read.
    #[error("line {line} of the recording cannot be read: {message}")]
    BadLine {
        /// Which, from 1.
        line: usize,
        /// Why.
        message: String,
    },
}

/// As much of a header as every format has.
#[derive(Deserialize)]
struct Probe {
    recording: ProbedHeader,
}

#[derive(Deserialize)]
struct ProbedHeader {
    format: u32,
    contract: String,
}

impl Recording {
    /// Reads one. A last line that is cut short is left out, and remarked on.
    pub fn read(input: impl BufRead) -> Result<Recording, ReadError> {
        let mut reading = Reading::begin(input)?;
        let mut recording = Recording {
            header: reading.header.clone(),
            policies: HashMap::new(),
            starts: HashMap::new(),
            calls: Vec::new(),
            remarks: Vec::new(),
            fleets: HashMap::new(),
            facts: HashMap::new(),
        };
        let (mut components, mut zeros) = (HashMap::new(), Bytes::new());
        let (mut dropped, mut end) = (0, None);
        while let Some((at, line)) = reading.next()? {
            match line {
                Line::Recording(_) => return Err(bad(at, "a second header")),
                Line::Component(line) => drop(components.insert(line.digest, Arc::<[u8]>::from(line.bytes))),
                Line::Policy(line) => {
                    let component = components.get(&line.digest).cloned();
                    recording.policies.insert(line.policy, Policy { line, component });
                }
                Line::Fleet(line) => drop(recording.fleets.insert(line.fleet, Arc::new(line.view))),
                Line::Facts(line) => {
                    let number = line.facts;
                    recording.facts.insert(number, Arc::new(facts_of(line, &mut zeros)));
                }
                Line::Start(line) => drop(recording.starts.insert(line.instance, line)),
                Line::Call(line) => {
                    recording.check(&line).map_err(|message| bad(at, message))?;
                    recording.calls.push(*line);
                }
                Line::Gap(line) => dropped += line.dropped,
                Line::End(line) => end = Some(line),
            }
        }
        recording.remark(reading.is_cut, dropped, end);
        Ok(recording)
    }

    /// The facts of a call.
    pub fn facts(&self, call: &CallLine) -> Option<&Arc<RequestFacts>> {
        self.facts.get(&call.facts?)
    }

    /// The fleet of a call.
    pub fn fleet(&self, call: &CallLine) -> Option<&Arc<FleetView>> {
        self.fleets.get(&call.fleet?)
    }

    /// Every thing that a call names must have come before it.
    fn check(&self, call: &CallLine) -> Result<(), String> {
        let missing = |what: &str, number: u32| Err(format!("it names {what} {number}, which is not there"));
        match (call.facts, call.fleet) {
            _ if !self.policies.contains_key(&call.policy) => missing("policy", call.policy),
            (Some(facts), _) if !self.facts.contains_key(&facts) => missing("facts", facts),
            (_, Some(fleet)) if !self.fleets.contains_key(&fleet) => missing("fleet", fleet),
            _ => Ok(()),
        }
    }

    fn remark(&mut self, is_cut: bool, dropped: u64, end: Option<EndLine>) {
        let calls = self.calls.len();
        if is_cut {
            self.remarks.push(format!("its last line is cut short and was left out, after {calls} calls"));
        }
        match end.map(|end| end.why) {
            None if !is_cut => {
                self.remarks.push("it has no end: it is still being written, or its writer died".to_owned())
            }
            Some(EndReason::Full) => self.remarks.push("it ended because it was full".to_owned()),
            _ => {}
        }
        if dropped > 0 {
            self.remarks.push(format!(
                "it has gaps: {dropped} records are missing, which came faster than they could be written"
            ));
        }
    }
}

/// A recording, line by line.
pub(super) struct Reading<R> {
    input: R,
    line: usize,
    text: Vec<u8>,
    pub header: Header,
    /// The last line was cut short.
    pub is_cut: bool,
}

impl<R: BufRead> Reading<R> {
    pub fn begin(mut input: R) -> Result<Reading<R>, ReadError> {
        let mut text = Vec::new();
        if input.read_until(b'\n', &mut text)? == 0 {
            return Err(ReadError::Empty);
        }
        let no_recording = |error: serde_json::Error| ReadError::NoRecording { message: error.to_string() };
        let Probe { recording: ProbedHeader { format, contract } } =
            serde_json::from_slice(&text).map_err(no_recording)?;
        if format != FORMAT {
            return Err(ReadError::Format { found: format });
        }
        if contract != CONTRACT {
            return Err(ReadError::Contract { found: contract });
        }
        match serde_json::from_slice(&text).map_err(no_recording)? {
            Line::Recording(header) => Ok(Reading { input, line: 1, text, header, is_cut: false }),
            _ => Err(ReadError::NoRecording { message: "it is another line".to_owned() }),
        }
    }

    /// The next line's bytes, without reading what they say. None at the end, and where the last line is cut.
    pub fn next_text(&mut self) -> Result<Option<(usize, &[u8])>, ReadError> {
        self.text.clear();
        self.line += 1;
        if self.input.read_until(b'\n', &mut self.text)? == 0 {
            return Ok(None);
        }
        if self.text.last() != Some(&b'\n') {
            self.is_cut = true;
            return Ok(None);
        }
        Ok(Some((self.line, &self.text)))
    }

    fn next(&mut self) -> Result<Option<(usize, Line)>, ReadError> {
        let Some((at, text)) = self.next_text()? else { return Ok(None) };
        parse(at, text).map(|line| Some((at, line)))
    }
}

fn parse(at: usize, text: &[u8]) -> Result<Line, ReadError> {
    serde_json::from_slice(text).map_err(|error| bad(at, error.to_string()))
}

pub(super) fn bad(line: usize, message: impl Into<String>) -> ReadError {
    ReadError::BadLine { line, message: message.into() }
}

/// A prompt that is not there is as long as it was, of zeros that all such share; whether a policy reads it is watched.
fn facts_of(line: FactsLine, zeros: &mut Bytes) -> RequestFacts {
    if line.prompt.is_none() && zeros.len() < line.prompt_bytes {
        *zeros = vec![0; line.prompt_bytes].into();
    }
    RequestFacts {
        id: line.request,
        endpoint: line.endpoint,
        model: line.model,
        tenant: line.tenant,
        session: line.session,
        priority: line.priority,
        prompt_tokens_estimate: line.prompt_tokens_estimate,
        output_tokens_max: line.output_tokens_max,
        stream: line.stream,
        hop: line.hop,
        prompt: line.prompt.map_or_else(|| zeros.slice(..line.prompt_bytes), Bytes::from).into(),
        tokens: line.tokens.unwrap_or_else(|| vec![0; line.tokens_count]),
        headers: line.headers,
        block_hashes: line.block_hashes.into(),
    }
}
