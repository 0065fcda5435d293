//! What a run found: tables for people, rows of JSON for machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

use crate::cases::{Better, Case, Measure, OURS, Sample, Target};
use crate::peers::Peer;

/// What a case gave.
pub struct Finding {
    /// Which.
    pub case: &'static Case,
    /// By contender.
    pub entries: Vec<Entry>,
    /// Share of the machine that other processes took.
    pub foreign: Option<f64>,
}

/// What a contender gave.
pub struct Entry {
    /// Which.
    pub peer: Peer,
    /// One for each round.
    pub samples: Vec<Sample>,
    /// Why it has none.
    pub skipped: Option<String>,
}

/// One comparison: ours with one peer, or with a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The load and the figure.
    pub case: String,
    /// Our median.
    pub ours: Option<f64>,
    /// Of all figures.
    pub unit: &'static str,
    /// Whom it is compared with; none: with the target alone.
    pub peer: Option<String>,
    /// Its median.
    pub peer_value: Option<f64>,
    /// Ours by the peer's.
    pub ratio: Option<f64>,
    /// What ours must reach, in `unit`.
    pub target: Option<f64>,
    /// The same in words.
    pub target_says: Option<String>,
    /// Whether it does.
    pub met: Option<bool>,
    /// From the least to the most of our rounds, by the median.
    pub ours_spread: Option<f64>,
    /// The same of the peer.
    pub peer_spread: Option<f64>,
    /// Rounds of the one that has fewer.
    pub rounds: usize,
    /// Requests of the peer (of ours, without one) that went wrong.
    pub failed: u64,
    /// Why the peer has no figure.
    pub skipped: Option<String>,
}

/// A figure over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Figure {
    median: f64,
    spread: f64,
    rounds: usize,
}

/// The middle one.
pub fn median(values: Vec<Option<f64>>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().flatten().collect();
    values.sort_by(f64::total_cmp);
    let half = values.len() / 2;
    match values.len() % 2 {
        1 => values.get(half).copied(),
        _ => Some((values.get(half.checked_sub(1)?)? + values.get(half)?) / 2.0),
    }
}

impl Entry {
    fn figure(&self, measure: &Measure) -> Option<Figure> {
        let values: Vec<f64> = self.samples.iter().filter_map(measure.of).collect();
        let median = median(values.iter().copied().map(Some).collect())?;
        let most = values.iter().copied().max_by(f64::total_cmp)?;
        let least = values.iter().copied().min_by(f64::total_cmp)?;
        let spread = if median.abs() > f64::EPSILON { (most - least) / median.abs() } else { 0.0 };
        Some(Figure { median, spread, rounds: values.len() })
    }

    fn errors(&self) -> BTreeMap<&str, u64> {
        let mut sum = BTreeMap::new();
        for (why, count) in self.samples.iter().flat_map(|sample| &sample.errors) {
            *sum.entry(why.as_str()).or_default() += count;
        }
        sum
    }

    fn failed(&self) -> u64 {
        self.errors().values().sum()
    }
}

/// All comparisons of a case.
pub fn rows(finding: &Finding) -> Vec<Row> {
    finding.case.measures.iter().flat_map(|measure| rows_of(finding, measure)).collect()
}

fn rows_of(finding: &Finding, measure: &Measure) -> Vec<Row> {
    let case = format!("{}: {}", finding.case.title, measure.name);
    let ours = finding.entries.iter().find(|entry| entry.peer.name == OURS);
    let ours_figure = ours.and_then(|entry| entry.figure(measure));
    let ours_failed = ours.map_or(0, Entry::failed);
    let row = Row {
        case,
        ours: ours_figure.map(|figure| figure.median),
        unit: measure.unit,
        peer: None,
        peer_value: None,
        ratio: None,
        target: None,
        target_says: None,
        met: None,
        ours_spread: ours_figure.map(|figure| figure.spread),
        peer_spread: None,
        rounds: ours_figure.map_or(0, |figure| figure.rounds),
        failed: ours_failed,
        skipped: ours.and_then(|entry| entry.skipped.clone()),
    };
    let own = measure.targets.iter().filter_map(|target| match target {
        Target::Value(value) => Some(row.clone().with_target(*value, format!("{value}"), measure.better, ours_failed)),
        Target::Times(..) | Target::Plus(..) => None,
    });
    let others = finding.entries.iter().filter(|entry| entry.peer.name != OURS);
    let beside = others.map(|entry| beside(&row, entry, measure, ours_failed));
    let first = measure.targets.is_empty().then(|| row.clone());
    first.into_iter().chain(own).chain(beside).collect()
}

/// Ours beside one peer.
fn beside(ours: &Row, entry: &Entry, measure: &Measure, ours_failed: u64) -> Row {
    let figure = entry.figure(measure);
    let value = figure.map(|figure| figure.median);
    let ratio = ours.ours.zip(value).filter(|(_, peer)| peer.abs() > f64::EPSILON).map(|(ours, peer)| ours / peer);
    let row = Row {
        peer: Some(entry.peer.name.to_owned()),
        peer_value: value,
        ratio,
        peer_spread: figure.map(|figure| figure.spread),
        rounds: figure.map_or(0, |figure| figure.rounds),
        failed: entry.failed(),
        skipped: entry.skipped.clone(),
        ..ours.clone()
    };
    let target = measure.targets.iter().find_map(|target| match target {
        Target::Times(times, name) if *name == entry.peer.name => Some((value? * times, format!("{times} × {name}"))),
        Target::Plus(more, name) if *name == entry.peer.name => {
            Some((value? + more, format!("{name} + {more} {}", measure.unit)))
        }
        Target::Times(..) | Target::Plus(..) | Target::Value(_) => None,
    });
    match target {
        Some((target, says)) => row.with_target(target, says, measure.better, ours_failed),
        None => row,
    }
}

impl Row {
    /// Figures from a run in which requests of ours were lost reach nothing.
    fn with_target(self, target: f64, says: String, better: Better, ours_failed: u64) -> Row {
        let met = self.ours.map(|ours| match better {
            Better::Less => ours <= target && ours_failed == 0,
            Better::More => ours >= target && ours_failed == 0,
        });
        let sign = match better {
            Better::Less => "≤",
            Better::More => "≥",
        };
        Row { target: Some(target), target_says: Some(format!("{sign} {says}")), met, ..self }
    }
}

/// The tables of a case.
pub fn text(finding: &Finding) -> String {
    let mut text = String::new();
    for measure in finding.case.measures {
        let rows = rows_of(finding, measure);
        let spread = |entry: &Entry| entry.figure(measure);
        writeln!(text, "\n{}: {}, {}", finding.case.title, measure.name, measure.unit).expect("a String takes it");
        for entry in &finding.entries {
            let row = rows.iter().find(|row| row.peer.as_deref() == Some(entry.peer.name));
            text.push_str(&line(entry, spread(entry), row));
        }
        for row in rows.iter().filter(|row| row.peer.is_none() && row.target.is_some()) {
            writeln!(text, "  {}", verdict(row).trim_start()).expect("a String takes it");
        }
    }
    if let Some(foreign) = finding.foreign {
        let warning = if foreign > 0.1 { ": too much for figures that count" } else { "" };
        writeln!(text, "\nother processes took {:.0} % of the machine{warning}", foreign * 100.0)
            .expect("a String takes it");
    }
    text
}

fn line(entry: &Entry, figure: Option<Figure>, row: Option<&Row>) -> String {
    let name = entry.peer.name;
    let mut line = match (figure, &entry.skipped) {
        (Some(Figure { median, spread, .. }), _) => {
            let ratio = row.and_then(|row| row.ratio).map_or(String::new(), |ratio| format!("ours is {ratio:.2} ×"));
            format!("  {name:<27} {:>9}  ± {:>3.0} %  {ratio:<15}", short(median), spread * 50.0)
        }
        (None, Some(why)) => format!("  {name:<27}   skipped: {why}"),
        (None, None) => format!("  {name:<27}         –"),
    };
    if let Some(row) = row {
        line.push_str(&verdict(row));
    }
    for (why, count) in entry.errors() {
        write!(line, "  {count} times {why}").expect("a String takes it");
    }
    line.truncate(line.trim_end().len());
    line + "\n"
}

fn verdict(row: &Row) -> String {
    match (&row.target_says, row.met) {
        (Some(says), Some(true)) => format!("  must be {says}: yes"),
        (Some(says), Some(false)) => format!("  must be {says}: NO"),
        _ => String::new(),
    }
}

/// Every target, met or not, in one list.
pub fn summary(rows: &[Row]) -> String {
    let mut text = String::from("\ntargets:\n");
    let widest = rows.iter().map(|row| row.case.chars().count()).max().unwrap_or_default();
    for row in rows.iter().filter(|row| row.target.is_some() || row.skipped.is_some()) {
        let ours = row.ours.map_or("–".to_owned(), |ours| format!("{} {}", short(ours), row.unit));
        let says = row.target_says.as_deref().unwrap_or_default();
        let met = match (row.met, &row.skipped) {
            (_, Some(why)) => format!("{} has no figure: {why}", row.peer.as_deref().unwrap_or(OURS)),
            (Some(true), None) => format!("must be {says}: yes"),
            (_, None) => format!("must be {says}: NO"),
        };
        writeln!(text, "  {:<widest$} {ours:>12}  {met}", row.case).expect("a String takes it");
    }
    text
}

/// Three digits that count.
fn short(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.3}"),
        10.0..1000.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// Writes the rows as a JSON array.
pub fn write_json(rows: &[Row], path: &Path) -> anyhow::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let json = serde_json::to_string_pretty(rows).context("put the rows into JSON")?;
    fs::write(path, json + "\n").with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests;
