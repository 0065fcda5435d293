//! What a run found: a table for people and rows of JSON for machines.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::Context;
use serde::Serialize;

/// One case.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What was done.
    pub case: String,
    /// What a component took.
    pub ours: f64,
    /// Of `ours`, `peer` and `target`.
    pub unit: &'static str,
    /// What native Rust took, where there is such a thing.
    pub peer: Option<f64>,
    /// `ours` against `peer`: above 1, native Rust was better.
    pub ratio: Option<f64>,
    /// What must be reached; none where the case only explains another.
    pub target: Option<f64>,
    /// The most that `ratio` may be.
    pub ratio_target: Option<f64>,
    /// Whether all targets are reached; none without one.
    pub met: Option<bool>,
}

/// Whether less is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Times and bytes.
    Less,
    /// Rates.
    More,
}

impl Row {
    /// A row without targets.
    pub fn of(case: &str, unit: &'static str, ours: f64, peer: Option<f64>) -> Row {
        let case = case.to_owned();
        Row { case, ours, unit, peer, ratio: None, target: None, ratio_target: None, met: None }
            .with_ratio(Better::Less)
    }

    /// The same as a rate, where more is better.
    pub fn rate(case: &str, unit: &'static str, ours: f64, peer: f64) -> Row {
        Row { ratio: None, ..Row::of(case, unit, ours, Some(peer)) }.with_ratio(Better::More)
    }

    /// Sets the target of `ours`.
    pub fn target(self, target: f64, better: Better) -> Row {
        let reached = match better {
            Better::Less => self.ours <= target,
            Better::More => self.ours >= target,
        };
        let met = Some(self.met.unwrap_or(true) && reached);
        Row { target: Some(target), met, ..self }
    }

    /// Sets the most that the ratio to native Rust may be.
    pub fn ratio_target(self, target: f64) -> Row {
        let reached = self.ratio.is_some_and(|ratio| ratio <= target);
        let met = Some(self.met.unwrap_or(true) && reached);
        Row { ratio_target: Some(target), met, ..self }
    }

    fn with_ratio(self, better: Better) -> Row {
        let ratio = self.peer.filter(|peer| *peer > 0.0 && self.ours > 0.0).map(|peer| match better {
            Better::Less => self.ours / peer,
            Better::More => peer / self.ours,
        });
        Row { ratio, ..self }
    }
}

/// The table, one line per case.
pub fn text(rows: &[Row]) -> String {
    let widest = rows.iter().map(|row| row.case.chars().count()).max().unwrap_or_default();
    let mut table =
        format!("{:widest$}  {:>12} {:>12} {:>6} {:>12}  met\n", "case", "component", "native", "ratio", "target");
    for row in rows {
        let Row { case, ours, unit, peer, ratio, target, ratio_target, met } = row;
        let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{} {unit}", short(value)));
        let ratio = ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}"));
        let limit = ratio_target.map_or(String::new(), |limit| format!(", ratio {limit}"));
        let met = match met {
            Some(true) => "yes",
            Some(false) => "NO",
            None => "",
        };
        writeln!(
            table,
            "{case:widest$}  {:>12} {:>12} {ratio:>6} {:>12}  {met}{limit}",
            shown(Some(*ours)),
            shown(*peer),
            shown(*target)
        )
        .expect("a String takes every write");
    }
    table
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
    let json = serde_json::to_string_pretty(rows)?;
    fs::write(path, json + "\n").with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_met_on_its_good_side() {
        assert_eq!(Row::of("a", "µs", 0.4, Some(0.1)).target(0.5, Better::Less).met, Some(true));
        assert_eq!(Row::of("a", "µs", 0.6, None).target(0.5, Better::Less).met, Some(false));
        assert_eq!(Row::rate("a", "/s", 6e5, 9e5).target(5e5, Better::More).met, Some(true));
        assert_eq!(Row::of("a", "µs", 0.6, None).met, None);
    }

    #[test]
    fn one_target_missed_is_not_met() {
        let row = Row::of("a", "µs", 2.0, Some(1.0)).target(5.0, Better::Less).ratio_target(1.5);
        assert_eq!((row.ratio, row.met), (Some(2.0), Some(false)));
    }

    #[test]
    fn a_ratio_above_one_says_that_native_was_better() {
        assert_eq!(Row::rate("a", "/s", 100.0, 200.0).ratio, Some(2.0));
        assert_eq!(Row::of("a", "µs", 2.0, Some(1.0)).ratio, Some(2.0));
    }

    #[test]
    fn the_table_has_a_line_per_case() {
        let rows = [
            Row::of("round-robin", "µs", 0.4567, Some(0.0456)).target(0.5, Better::Less),
            Row::of("memory", "KiB", 412.0, None),
        ];
        let table = text(&rows);
        assert_eq!(
            table,
            "case            component       native  ratio       target  met\n\
             round-robin      0.457 µs     0.046 µs  10.02     0.500 µs  yes\n\
             memory          412.0 KiB            -      -            -  \n"
        );
    }
}
