//! Says who signed a component, or why its signature does not count: ed25519 over the component's bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, UnparsedPublicKey};
use thiserror::Error;

/// The keys that count, and whether a component needs one of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Signing {
    required: bool,
    keys: Vec<(String, [u8; 32])>,
}

/// Why a component is not taken for its signature, or for want of one.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub(crate) enum SignatureError {
    #[error(
        "the component is not signed, and only components signed by {known} are taken here; \
         sign it with `headworks policy sign`"
    )]
    Missing { known: String },
    #[error("the component's signature cannot be read; write it as NAME:BASE64, which `headworks policy sign` does")]
    Malformed,
    #[error("the component is signed by {name:?}, who is not known here; known are {known} ([[signing.key]])")]
    UnknownKey { name: String, known: String },
    #[error("the signature is not {name}'s over these bytes; the component was changed, or signed with another key")]
    Bad { name: String },
}

/// Bytes of a signature as it is written, name included.
const WRITTEN_BYTES_MAX: usize = 256;

impl Signing {
    pub fn new(required: bool, keys: Vec<(String, [u8; 32])>) -> Signing {
        Signing { required, keys }
    }

    /// The name of the key that signed a component; none where it is not signed and need not be. `signature` is
    /// `NAME:BASE64`. Without any keys nobody's signature means anything, and none is looked at.
    pub fn check(&self, component: &[u8], signature: Option<&str>) -> Result<Option<String>, SignatureError> {
        if self.keys.is_empty() {
            return Ok(None);
        }
        let Some(signature) = signature.map(str::trim) else {
            return if self.required { Err(SignatureError::Missing { known: self.known() }) } else { Ok(None) };
        };
        if signature.len() > WRITTEN_BYTES_MAX {
            return Err(SignatureError::Malformed);
        }
        let (name, signature) = signature.rsplit_once(':').ok_or(SignatureError::Malformed)?;
        let signature = STANDARD.decode(signature).map_err(|_| SignatureError::Malformed)?;
        let Some((name, key)) = self.keys.iter().find(|(known, _)| known == name) else {
            return Err(SignatureError::UnknownKey { name: name.to_owned(), known: self.known() });
        };
        match UnparsedPublicKey::new(&ED25519, key).verify(component, &signature) {
            Ok(()) => Ok(Some(name.clone())),
            Err(_) => Err(SignatureError::Bad { name: name.clone() }),
        }
    }

    fn known(&self) -> String {
        self.keys.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    const COMPONENT: &[u8] = b"\0asm and so on";

    fn key(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn signing(required: bool) -> Signing {
        let public = |seed| key(seed).public_key().as_ref().try_into().unwrap();
        Signing::new(required, vec![("alice".to_owned(), public(1)), ("bob".to_owned(), public(2))])
    }

    fn signed(name: &str, seed: u8, bytes: &[u8]) -> String {
        format!("{name}:{}", STANDARD.encode(key(seed).sign(bytes)))
    }

    #[track_caller]
    fn check(signing: &Signing, signature: Option<&str>, expected: &str) {
        let said = match signing.check(COMPONENT, signature) {
            Ok(by) => by.unwrap_or_else(|| "nobody".to_owned()),
            Err(refused) => refused.to_string(),
        };
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn only_a_known_key_over_the_very_bytes_counts() {
        for required in [true, false] {
            let signing = signing(required);
            check(&signing, Some(&signed("alice", 1, COMPONENT)), "alice");
            check(&signing, Some(&format!("{}\n", signed("bob", 2, COMPONENT))), "bob");
            check(&signing, Some(&signed("alice", 2, COMPONENT)), "not alice's");
            check(&signing, Some(&signed("alice", 1, b"other bytes")), "not alice's");
            check(&signing, Some(&signed("mallory", 1, COMPONENT)), "known are alice, bob");
            for malformed in ["", "alice", "alice:!", &"x".repeat(1000)] {
                check(&signing, Some(malformed), "cannot be read");
            }
            check(&signing, Some("alice:AAAA"), "not alice's");
        }
    }

    #[test]
    fn a_component_without_a_signature_is_taken_only_where_none_is_required() {
        check(&signing(true), None, "not signed");
        check(&signing(false), None, "nobody");
    }

    #[test]
    fn without_keys_no_signature_means_anything() {
        check(&Signing::default(), None, "nobody");
        check(&Signing::default(), Some("anything"), "nobody");
    }
}
