//! The rows: a figure of ours, the peer's beside it, and what must be reached.

use std::fmt::{Display, Formatter};

use serde::Serialize;

use crate::case::{Case, Sample};

/// One figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The load and the weights.
    pub case: String,
    /// Ours.
    pub ours: f64,
    /// What it is measured in.
    pub unit: &'static str,
    /// The peer's.
    pub peer: Option<f64>,
    /// Ours by the peer's.
    pub ratio: Option<f64>,
    /// What the ratio, or without a peer the figure, must reach.
    pub target: Option<f64>,
    /// Whether it does.
    pub met: Option<bool>,
    /// The ratio of processor time instead of the clock's: what is left to compare on a busy machine.
    pub ratio_cpu: Option<f64>,
    /// Processor time of one of our steps, all threads together.
    pub cpu_ms: Option<f64>,
    /// How far apart our samples are: (most − least) / least.
    pub spread: Option<f64>,
    /// The share of all processors that other processes took meanwhile.
    pub others: Option<f64>,
}

impl Row {
    fn of(case: String, ours: f64, unit: &'static str) -> Row {
        let none = (None, None, None, None);
        let (peer, ratio, target, ratio_cpu) = none;
        Row { case, ours, unit, peer, ratio, target, met: None, ratio_cpu, cpu_ms: None, spread: None, others: None }
    }

    /// A figure that must be at most the target.
    pub(crate) fn alone(case: String, ours: f64, unit: &'static str, target: f64) -> Row {
        Row { target: Some(target), met: Some(ours <= target), ..Row::of(case, ours, unit) }
    }

    /// A figure that must be at least the target.
    pub(crate) fn at_least(case: String, ours: f64, unit: &'static str, target: f64) -> Row {
        Row { target: Some(target), met: Some(ours >= target), ..Row::of(case, ours, unit) }
    }
}

/// What a run found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What we ran on.
    pub backend: String,
    /// What the peer calls itself.
    pub peer: Option<String>,
    /// Measured before anything else.
    pub bandwidth_gb_s: f64,
    /// In the order they were measured.
    pub rows: Vec<Row>,
}

/// How many times the peer's rate ours must be.
fn target(case: Case) -> Option<f64> {
    match case {
        Case::Prefill { tokens: 512 } => Some(1.3),
        Case::Decode { batch: 1, .. } => Some(1.15),
        Case::Decode { batch: 8, .. } => Some(2.0),
        _ => None,
    }
}

/// The row of a case.
pub(crate) fn rows(case: Case, weights: &str, mine: &[Sample], theirs: &[Sample], others: f64) -> Option<Row> {
    let rate = |seconds: f64| case.tokens() as f64 / seconds;
    let (best, most) = (Sample::best(mine), mine.iter().map(|sample| sample.wall_s).fold(0.0, f64::max));
    let mut row = Row::of(format!("{case}, {weights}"), rate(best.wall_s), "tokens/s");
    row.spread = Some(most / best.wall_s - 1.0);
    row.cpu_ms = Some(best.cpu_s * 1e3);
    row.others = Some(others);
    if !theirs.is_empty() {
        let peer = Sample::best(theirs);
        let ratio = peer.wall_s / best.wall_s;
        row.peer = Some(rate(peer.wall_s));
        row.ratio = Some(ratio);
        row.ratio_cpu = Some(peer.cpu_s / best.cpu_s);
        row.target = target(case);
        row.met = row.target.map(|target| ratio >= target);
    }
    Some(row)
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "ours: {}", self.backend)?;
        if let Some(peer) = &self.peer {
            writeln!(f, "peer: {peer}")?;
        }
        writeln!(f, "memory reads: {:.1} GB/s", self.bandwidth_gb_s)?;
        let head = ["case", "ours", "peer", "ratio", "by CPU", "CPU ms", "target", "met", "spread", "others"];
        let mut lines = vec![head.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let widths: Vec<usize> =
            (0..head.len()).map(|at| lines.iter().map(|line| line[at].len()).max().unwrap_or(0)).collect();
        for line in &lines {
            let cells = line.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| match at {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

impl Row {
    fn cells(&self) -> [String; 10] {
        let number = |number: Option<f64>| number.map_or_else(String::new, |number| format!("{number:.2}"));
        let share = |share: Option<f64>| share.map_or_else(String::new, |share| format!("{:.0} %", share * 100.0));
        let met = self.met.map_or("", |met| if met { "yes" } else { "no" });
        let ours = format!("{:.2} {}", self.ours, self.unit);
        [
            self.case.clone(),
            ours.trim_end().to_owned(),
            number(self.peer),
            number(self.ratio),
            number(self.ratio_cpu),
            number(self.cpu_ms),
            number(self.target),
            met.to_owned(),
            share(self.spread),
            share(self.others),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Row, rows};
    use crate::case::{Case, Sample};

    #[test]
    fn a_report_is_a_table() {
        let sample = |wall_s, cpu_s| Sample { wall_s, cpu_s };
        let decode = Case::Decode { batch: 8, context: 128 };
        let mine = [sample(0.020, 0.041), sample(0.025, 0.040)];
        let theirs = [sample(0.050, 0.1), sample(0.045, 0.09)];
        let mut found = vec![Row::alone("start to first token, bf16".to_owned(), 1.2, "s", 1.5)];
        found.extend(rows(decode, "bf16", &mine, &theirs, 0.25));
        found.extend(rows(Case::Prefill { tokens: 512 }, "bf16", &mine, &[], 0.0));
        found.push(Row::at_least("decode:1:128, bf16: share of the read bandwidth".to_owned(), 0.7, "", 0.75));
        let report = Report {
            backend: "cpu, AVX2".to_owned(),
            peer: Some("llama.cpp 1".to_owned()),
            bandwidth_gb_s: 50.0,
            rows: found,
        };
        insta::assert_snapshot!(report.to_string());
    }
}
