//! `headworks policy build`: makes a component of a policy's folder.

use std::path::PathBuf;

use guest_build::Project;

/// The component's name, in the policy's own folder.
pub(crate) const COMPONENT: &str = "policy.wasm";

/// What to build, and where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "The folder's policy.toml says what the policy is written in:\n\n  \
    rust    needs cargo and rustc\n  \
    ts      needs node (20 or newer) and npm; types are checked where there is a tsconfig.json\n  \
    python  needs python3 (3.10 or newer) with venv\n\n\
    What else a language needs is downloaded once, pinned, into the user's cache.")]
pub struct Args {
    /// The policy's folder, as `headworks policy new` makes it
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Where the component goes [default: policy.wasm in the folder]
    #[arg(short, long = "output", value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Builds it and prints where it is.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Args { folder, out } = args;
    let project = Project::read(&folder)?;
    let built = guest_build::build(&project, &out.unwrap_or_else(|| folder.join(COMPONENT)))?;
    println!("{}  {} bytes", built.path.display(), built.bytes);
    Ok(())
}
