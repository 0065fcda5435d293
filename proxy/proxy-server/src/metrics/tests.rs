//! docs/metrics.md is what the proxy serves: made from the metrics themselves.

use std::sync::PoisonError;

use prometheus::core::Collector;
use prometheus::proto::MetricType;

use super::{Maker, Metrics};

/// A metric as the page tells of it.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Made {
    name: String,
    kind: &'static str,
    labels: String,
    unit: &'static str,
    help: String,
}

/// Writes the page anew instead of comparing it.
const WRITE: &str = "HEADWORKS_WRITE_DOCS";
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/metrics.md");
/// The table's head; it goes to the end of the page.
const HEAD: &str = "| `headworks_proxy_`… | type | labels | unit | what |\n|---|---|---|---|---|\n";

impl Maker {
    /// Takes note of a metric.
    pub(super) fn note(&self, metric: &impl Collector) {
        let families = metric.collect();
        let made = families.iter().zip(metric.desc()).map(|(family, desc)| Made {
            name: desc.fq_name.trim_start_matches("headworks_proxy_").to_owned(),
            kind: match family.get_field_type() {
                MetricType::COUNTER => "counter",
                MetricType::HISTOGRAM => "histogram",
                _ => "gauge",
            },
            labels: desc.variable_labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", "),
            unit: unit_of(&desc.fq_name),
            help: desc.help.clone(),
        });
        self.made.lock().unwrap_or_else(PoisonError::into_inner).extend(made.collect::<Vec<_>>());
    }
}

fn unit_of(name: &str) -> &'static str {
    let has = |word: &str| name.split('_').any(|part| part == word);
    match name {
        _ if has("seconds") => "seconds",
        _ if has("us") => "microseconds",
        _ if has("ms") => "milliseconds",
        _ if has("bytes") => "bytes",
        _ if has("percent") => "percent",
        _ if has("tokens") => "tokens",
        _ => "count",
    }
}

#[test]
fn the_page_says_what_there_is() {
    let make = Maker::default();
    drop(Metrics::made_by(&make));
    let mut made = std::mem::take(&mut *make.made.lock().unwrap_or_else(PoisonError::into_inner));
    made.sort();
    let rows = made.iter().map(|Made { name, kind, labels, unit, help }| {
        format!("| `{name}` | {kind} | {labels} | {unit} | {} |\n", help.trim_end_matches('.'))
    });
    let table = HEAD.to_owned() + &rows.collect::<String>();
    let page = std::fs::read_to_string(PAGE).unwrap();
    let (words, written) = page.split_once(HEAD).unwrap();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(PAGE, words.to_owned() + &table).unwrap();
        return;
    }
    assert_eq!(HEAD.to_owned() + written, table, "{WRITE}=1 makes this test write the page anew");
}
