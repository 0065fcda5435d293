//! `headworks key`: makes keys for tenants and tokens for the admin port, of which the configuration has the digests.

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Print a new key, and the digest that goes into the configuration
    New,
}

pub(crate) fn run(verb: Verb) -> anyhow::Result<()> {
    match verb {
        Verb::New => {
            let proxy_server::NewKey { key, sha256 } = proxy_server::NewKey::make();
            println!("key    {key}\nsha256 {sha256}");
            Ok(())
        }
    }
}
