//! Whom we are measured beside: how each is installed, configured and started.

mod configs;
mod install;
mod start;

pub use install::{Installed, Ours};
pub use start::{Contender, start};

/// A proxy with one of its policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The replicas themselves: what the load and they take alone.
    Direct,
    /// Ours, deciding by this component, or by its native policy.
    Headworks(Option<&'static str>),
    /// Debian's.
    Nginx,
    /// Debian's.
    Haproxy,
    /// From a wheel.
    Envoy,
    /// A router in a venv of its own, with this policy.
    Router(Router, &'static str),
}

/// Routers that are Python packages around Rust.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Router {
    /// SGLang's.
    Sglang,
    /// Shepherd's model gateway.
    Smg,
    /// vLLM's.
    Vllm,
}

impl Router {
    /// Its program.
    pub fn program(self) -> &'static str {
        match self {
            Router::Sglang => "sglang-router",
            Router::Smg => "smg",
            Router::Vllm => "vllm-router",
        }
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// In the table and for `--peers`, of which the first word is enough.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
}

/// In the table's order.
pub const PEERS: &[Peer] = &[
    Peer { name: "direct", kind: Kind::Direct },
    Peer { name: crate::cases::OURS, kind: Kind::Headworks(Some("prefix-tree")) },
    Peer { name: "headworks round-robin", kind: Kind::Headworks(Some("round-robin")) },
    Peer { name: "headworks native", kind: Kind::Headworks(None) },
    Peer { name: "nginx", kind: Kind::Nginx },
    Peer { name: "haproxy", kind: Kind::Haproxy },
    Peer { name: "envoy", kind: Kind::Envoy },
    Peer { name: "vllm-router round-robin", kind: Kind::Router(Router::Vllm, "round_robin") },
    Peer { name: "vllm-router cache-aware", kind: Kind::Router(Router::Vllm, "cache_aware") },
    Peer { name: "sglang-router round-robin", kind: Kind::Router(Router::Sglang, "round_robin") },
    Peer { name: "sglang-router cache-aware", kind: Kind::Router(Router::Sglang, "cache_aware") },
    Peer { name: "smg round-robin", kind: Kind::Router(Router::Smg, "round_robin") },
    Peer { name: "smg cache-aware", kind: Kind::Router(Router::Smg, "cache_aware") },
];

impl Peer {
    /// By its name or the first word of it, of which the first is meant.
    pub fn named(word: &str) -> anyhow::Result<Peer> {
        let found = PEERS.iter().find(|peer| is(peer, word));
        found.copied().ok_or_else(|| anyhow::anyhow!("{}", unknown(word)))
    }
}

fn is(peer: &Peer, word: &str) -> bool {
    peer.name == word || peer.name.split(' ').next() == Some(word)
}

fn unknown(word: &str) -> String {
    let names: Vec<&str> = PEERS.iter().map(|peer| peer.name).collect();
    format!("no peer is called {word:?}; there are: {}, or the first word of these", names.join(", "))
}

/// Those whose name begins with one of the words; with the replicas alone, which others are measured against, and ours.
pub fn chosen(words: &[String]) -> anyhow::Result<Vec<Peer>> {
    if let Some(word) = words.iter().find(|word| !PEERS.iter().any(|peer| is(peer, word))) {
        anyhow::bail!("{}", unknown(word));
    }
    let always = |peer: &Peer| peer.kind == Kind::Direct || peer.name == crate::cases::OURS;
    let wanted = |peer: &&Peer| words.is_empty() || always(peer) || words.iter().any(|word| is(peer, word));
    Ok(PEERS.iter().filter(wanted).copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], names: &[&str]) {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let got: Vec<&str> = chosen(&words).unwrap().iter().map(|peer| peer.name).collect();
        assert_eq!(got, names);
    }

    #[test]
    fn a_first_word_means_all_of_its_policies() {
        check(&["smg"], &["direct", "headworks prefix-tree", "smg round-robin", "smg cache-aware"]);
        check(&["smg cache-aware"], &["direct", "headworks prefix-tree", "smg cache-aware"]);
    }

    #[test]
    fn a_peer_that_is_not_there_is_an_error_with_the_names() {
        let error = chosen(&["traefik".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("\"traefik\"") && error.contains("haproxy"), "{error}");
    }
}
