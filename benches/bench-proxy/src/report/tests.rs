use super::*;
use crate::cases::CASES;
use crate::peers::PEERS;

fn samples(cpu_s: &[f64]) -> Vec<Sample> {
    let sample = |cpu_s: &f64| Sample { requests: 50_000, lasted_s: 1.0, cpu_s: Some(*cpu_s), ..Sample::default() };
    cpu_s.iter().map(sample).collect()
}

fn entry(name: &str, samples: Vec<Sample>) -> Entry {
    let peer = *PEERS.iter().find(|peer| peer.name == name).unwrap();
    Entry { peer, samples, skipped: None }
}

fn finding(entries: Vec<Entry>) -> Finding {
    Finding { case: &CASES[0], entries, foreign: Some(0.25) }
}

fn three() -> Vec<Entry> {
    vec![
        entry(OURS, samples(&[1.0, 0.9, 5.0])),
        entry("nginx", samples(&[0.8, 0.8, 0.8])),
        Entry { skipped: Some("not installed".to_owned()), ..entry("smg cache-aware", vec![]) },
    ]
}

#[test]
fn the_tables() {
    insta::assert_snapshot!(text(&finding(three())));
}

#[test]
fn the_rows() {
    let rows: Vec<Row> = rows(&finding(three())).into_iter().take(3).collect();
    insta::assert_json_snapshot!(rows);
}

#[test]
fn the_summary() {
    insta::assert_snapshot!(summary(&rows(&finding(three()))));
}

#[test]
fn a_median_leaves_out_the_far_ones() {
    assert_eq!(median(vec![Some(3.0), None, Some(1.0), Some(900.0)]), Some(3.0));
    assert_eq!(median(vec![Some(3.0), Some(1.0)]), Some(2.0));
    assert_eq!(median(vec![]), None);
}

#[test]
fn a_fast_proxy_that_loses_requests_reaches_nothing() {
    let mut entries = three();
    entries[0].samples = samples(&[0.1]);
    let met = |entries: Vec<Entry>| rows(&finding(entries)).iter().find_map(|row| row.met);
    entries[0].samples[0].errors = [("status 502".to_owned(), 1)].into();
    assert_eq!(met(entries), Some(false));
    let mut entries = three();
    entries[0].samples = samples(&[0.1]);
    assert_eq!(met(entries), Some(true));
}
