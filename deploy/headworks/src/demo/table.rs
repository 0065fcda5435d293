//! How the demo and the load generator show progress and results to a person.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};

use bench_load::{Percentiles, Progress, Report};

/// Rewrites one line of a terminal; elsewhere prints every tenth part.
pub(crate) fn show_progress(progress: Progress) {
    let Progress { done, all, failed } = progress;
    let mut stderr = std::io::stderr().lock();
    let ends = if done == all { "\n" } else { "" };
    // A closed stderr is no reason to stop the run.
    let _ = if stderr.is_terminal() {
        write!(stderr, "\r  {done}/{all} requests, {failed} failed{ends}").and_then(|()| stderr.flush())
    } else if done == all || done % (all / 4).max(1) == 0 {
        writeln!(stderr, "  {done}/{all} requests, {failed} failed")
    } else {
        Ok(())
    };
}

/// The report as a table.
pub(crate) fn report(report: &Report) -> String {
    let mut text = String::new();
    let mut row = |name: &str, value: String| {
        writeln!(text, "  {name:<22}{value}").expect("a String takes everything");
    };
    row("requests", format!("{} ({} failed)", report.requests, report.failures));
    row("tokens", format!("{} in, {} out", report.prompt_tokens, report.output_tokens));
    row("output tokens/s", format!("{:.0} over {:.2} s", report.output_tokens_per_s, report.duration_s));
    row("TTFT ms p50 p90 p99", percentiles(&report.ttft_ms));
    row("TPOT ms p50 p90 p99", percentiles(&report.tpot_ms));
    row("whole ms p50 p90 p99", percentiles(&report.e2e_ms));
    text
}

fn percentiles(found: &Percentiles) -> String {
    let one = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    format!("{:>9}{:>9}{:>9}", one(found.p50), one(found.p90), one(found.p99))
}
