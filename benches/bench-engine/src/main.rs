//! The measurement as a program of its own: what it needs is built in a minute, without the proxy.

use std::process::ExitCode;

use clap::Parser;

/// Measures the engine's forward passes, alone or beside llama.cpp.
#[derive(Parser)]
#[command(name = "bench-engine")]
struct Cli {
    #[command(flatten)]
    args: bench_engine::Args,
}

fn main() -> ExitCode {
    let Cli { args } = Cli::parse();
    match bench_engine::run(&args) {
        Ok(report) => {
            print!("{report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("bench-engine: {error:#}");
            ExitCode::FAILURE
        }
    }
}
