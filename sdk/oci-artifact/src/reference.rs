//! Where an artefact is: `registry.example:5000/team/policy:1.2`, or `…@sha256:…` for those very bytes.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::OciError;

/// Bytes of a reference.
const BYTES_MAX: usize = 512;
/// Characters of a tag, as the distribution specification has it.
const TAG_CHARS_MAX: usize = 128;

/// An artefact's registry, repository, and tag or digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    registry: String,
    repository: String,
    tag: Option<String>,
    digest: Option<String>,
}

impl Reference {
    /// Host and port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The digest that the manifest must have.
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref()
    }

    /// What the manifest is asked for by: the digest where there is one, else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }

    /// The same artefact, named by its manifest's digest.
    pub fn at(&self, digest: &str) -> Reference {
        Reference { digest: Some(digest.to_owned()), ..self.clone() }
    }

    /// Whether the registry is on this machine, so that nobody on the way can read or change what is sent.
    pub fn is_loopback(&self) -> bool {
        let host = host_of(&self.registry);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// The host of `host:port`; an IPv6 address keeps its brackets.
fn host_of(registry: &str) -> &str {
    match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => registry,
    }
}

impl FromStr for Reference {
    type Err = OciError;

    fn from_str(given: &str) -> Result<Reference, OciError> {
        let wrong = |message: &str| OciError::BadReference { given: cut(given), message: message.to_owned() };
        if given.len() > BYTES_MAX {
            return Err(wrong("it is too long"));
        }
        let bare = given.strip_prefix("oci://").unwrap_or(given);
        let (name, digest) = match bare.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (bare, None),
        };
        let (registry, path) = name.split_once('/').ok_or_else(|| wrong("it has no repository after the registry"))?;
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        check_registry(registry).map_err(wrong)?;
        if !repository.split('/').all(is_step) {
            return Err(wrong("the repository may have lower-case letters, digits, `.`, `_`, `-` and `/`"));
        }
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("the tag may have 1 to 128 letters, digits, `.`, `_` and `-`"));
        }
        if digest.is_some_and(|digest| !is_sha256(digest)) {
            return Err(wrong("the digest must be sha256: and 64 hexadecimal digits"));
        }
        if tag.is_none() && digest.is_none() {
            return Err(wrong("it has neither a tag nor a digest"));
        }
        Ok(Reference {
            registry: registry.to_owned(),
            repository: repository.to_owned(),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        })
    }
}

fn check_registry(registry: &str) -> Result<(), &'static str> {
    let host = host_of(registry);
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-".contains(&byte);
    let is_host = match is_bracketed {
        true => host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok(),
        false => !host.is_empty() && host.bytes().all(is_plain),
    };
    if !is_host {
        return Err("it does not begin with a registry's host");
    }
    let port = registry[host.len()..].strip_prefix(':');
    if port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0)) || registry.len() == host.len() {
        // `team/policy:1` would be asked of a host called `team`, which is never meant.
        return match is_bracketed || host == "localhost" || host.contains('.') || port.is_some() {
            true => Ok(()),
            false => Err("it does not begin with a registry's host, such as registry.example or localhost:5000"),
        };
    }
    Err("the registry's port must be from 1 to 65535")
}

/// One step of a repository's path.
fn is_step(step: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    edge(step.bytes().next()) && edge(step.bytes().last()) && step.bytes().all(inner)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let inner = |byte: u8| is_word(byte) || b".-".contains(&byte);
    (1..=TAG_CHARS_MAX).contains(&tag.len()) && tag.bytes().next().is_some_and(is_word) && tag.bytes().all(inner)
}

/// Whether a digest is of the one kind that is used here.
pub(crate) fn is_sha256(digest: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_hex))
}

/// What a message shows of what was given.
fn cut(given: &str) -> String {
    given[..given.floor_char_boundary(120)].to_owned()
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reference { registry, repository, tag, digest } = self;
        write!(f, "{registry}/{repository}")?;
        if let Some(tag) = tag {
            write!(f, ":{tag}")?;
        }
        match digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

    #[track_caller]
    fn check(given: &str, registry: &str, repository: &str, version: &str) {
        let reference: Reference = given.parse().unwrap();
        assert_eq!(
            (reference.registry(), reference.repository(), reference.version()),
            (registry, repository, version)
        );
        assert_eq!(reference.to_string(), given.trim_start_matches("oci://"));
    }

    #[track_caller]
    fn refused(given: &str, says: &str) {
        let said = given.parse::<Reference>().unwrap_err().to_string();
        assert!(said.contains(says), "{given}: {said}");
    }

    #[test]
    fn a_reference_has_a_registry_a_repository_and_a_version() {
        check("registry.example/policy:1.2", "registry.example", "policy", "1.2");
        check("oci://registry.example:5000/team/a_b/policy:v1", "registry.example:5000", "team/a_b/policy", "v1");
        check("localhost/policy:1", "localhost", "policy", "1");
        check("[::1]:5000/policy:1", "[::1]:5000", "policy", "1");
        check(&format!("127.0.0.1:5000/p@{DIGEST}"), "127.0.0.1:5000", "p", DIGEST);
        check(&format!("127.0.0.1:5000/p:1@{DIGEST}"), "127.0.0.1:5000", "p", DIGEST);
    }

    #[test]
    fn what_is_no_reference_says_why() {
        refused("", "no repository");
        refused("policy", "no repository");
        refused("registry.example/policy", "neither a tag nor a digest");
        refused("team/policy:1", "registry's host");
        refused("/policy:1", "registry's host");
        refused("user@registry.example/policy:1", "no repository");
        refused("registry.example:0/policy:1", "port");
        refused("registry.example:99999/policy:1", "port");
        refused("registry.example/Policy:1", "repository");
        refused("registry.example/../etc:1", "repository");
        refused("registry.example//p:1", "repository");
        refused("registry.example/p:", "tag");
        refused("registry.example/p:-x", "tag");
        refused("registry.example/p:a b", "tag");
        refused("registry.example/p@md5:00", "digest");
        refused("registry.example/p:1?x=/..", "tag");
        refused(&format!("registry.example/{}:1", "p".repeat(600)), "too long");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        let check =
            |given: &str, is: bool| assert_eq!(given.parse::<Reference>().unwrap().is_loopback(), is, "{given}");
        check("localhost:5000/p:1", true);
        check("127.0.0.1:5000/p:1", true);
        check("127.9.9.9/p:1", true);
        check("[::1]:5000/p:1", true);
        check("registry.example/p:1", false);
        check("10.0.0.1:5000/p:1", false);
        check("localhost.example/p:1", false);
    }
}
