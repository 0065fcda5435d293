//! The other side: llama.cpp through its Python binding, a process that does one sample at a time.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, bail};

use crate::case::{Case, Sample};

const PROGRAM: &str = include_str!("../peer/peer.py");

/// A running peer; dropped, its process ends.
pub(crate) struct Peer {
    /// What it calls itself.
    pub(crate) name: String,
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Peer {
    pub(crate) fn start(python: &Path, model: &Path, threads: usize, cases: &[Case]) -> anyhow::Result<Peer> {
        let sequences = cases.iter().map(|case| case.sequences().0).max().unwrap_or(1);
        let cells = cases.iter().map(|case| case.sequences().0 * case.sequences().1.next_multiple_of(256)).max();
        let sizes = [threads, sequences, cells.unwrap_or(512)];
        // Its AMX kernels crash on some weights: then it runs without them, and its name says so.
        Peer::with(python, model, sizes, "amx").or_else(|_| Peer::with(python, model, sizes, "no-amx"))
    }

    /// Starts it and has it do a step.
    fn with(python: &Path, model: &Path, sizes: [usize; 3], amx: &str) -> anyhow::Result<Peer> {
        let mut child = Command::new(python)
            .args(["-c", PROGRAM])
            .arg(model)
            .args(sizes.map(|number| number.to_string()))
            .arg(amx)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", python.display()))?;
        let (questions, answers) = (child.stdin.take(), child.stdout.take());
        let (questions, answers) = questions.zip(answers).context("take the peer's pipes")?;
        let mut peer = Peer { name: String::new(), child, questions, answers: BufReader::new(answers) };
        peer.name = peer.answer()?;
        peer.sample(Case::Decode { batch: 1, context: 4 })?;
        Ok(peer)
    }

    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn sample(&mut self, case: Case) -> anyhow::Result<Sample> {
        writeln!(self.questions, "{case} {}", case.steps()).context("ask the peer")?;
        let answer = self.answer()?;
        let numbers: Vec<f64> = answer.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        match numbers.as_slice() {
            [wall_s, cpu_s] => Ok(Sample { wall_s: *wall_s, cpu_s: *cpu_s }),
            _ => bail!("the peer says {answer:?}, not two numbers"),
        }
    }

    fn answer(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).context("read the peer's answer")?;
        match line.trim() {
            "" => bail!("the peer ended: run benches/bench-engine/peer/peer.py by hand to see why"),
            answer => Ok(answer.to_owned()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
