//! Policies' decisions: `cargo xtask bench policy`.

fn main() -> anyhow::Result<()> {
    bench_micro::policy::run()
}
