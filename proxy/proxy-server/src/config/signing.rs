//! Whose components are taken: `[signing]`, as the operator typed it.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::file::{Wrong, wrong};
use crate::policies::Signing;

/// `[signing]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SigningFile {
    #[serde(default)]
    required: bool,
    #[serde(default, rename = "key")]
    keys: Vec<KeyFile>,
}

/// `[[signing.key]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyFile {
    name: String,
    public_key: String,
}

/// Bytes of an ed25519 public key.
const KEY_BYTES: usize = 32;

impl SigningFile {
    pub(super) fn check(self) -> Result<Signing, Wrong> {
        let SigningFile { required, keys: files } = self;
        if required && files.is_empty() {
            return wrong("signing.required", "is true, but there is no [[signing.key]]; no component could be loaded");
        }
        let (mut names, mut keys) = (BTreeSet::new(), Vec::new());
        for KeyFile { name, public_key } in files {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
            if !(1..=64).contains(&name.len()) || !name.bytes().all(is_plain) {
                return wrong(
                    "signing.key.name",
                    format!("{name:?} must be 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.` and `@`"),
                );
            }
            if !names.insert(name.clone()) {
                return wrong("signing.key.name", format!("{name:?} is used twice; every key needs a name of its own"));
            }
            let bytes = STANDARD.decode(&public_key).ok().and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes).ok());
            let Some(bytes) = bytes else {
                let message =
                    format!("of {name:?} is not {KEY_BYTES} bytes in base64; `headworks policy keygen` prints a key's");
                return wrong("signing.key.public_key", message);
            };
            keys.push((name, bytes));
        }
        Ok(Signing::new(required, keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, says: &str) {
        let file: SigningFile = toml::from_str(text).unwrap();
        let Wrong { key, message } = file.check().err().unwrap();
        assert!(format!("{key} {message}").contains(says), "{key} {message}");
    }

    #[test]
    fn keys_that_cannot_be_used_are_named() {
        let key = |name: &str, public: &str| format!("[[key]]\nname = \"{name}\"\npublic_key = \"{public}\"\n");
        let sound = STANDARD.encode([1; KEY_BYTES]);
        refused("required = true", "no [[signing.key]]");
        refused(&key("", &sound), "signing.key.name");
        refused(&key("a:b", &sound), "a:b");
        refused(&format!("{}{}", key("a", &sound), key("a", &sound)), "twice");
        refused(&key("a", "AAAA"), "32 bytes");
        refused(&key("a", "not base64"), "32 bytes");
    }
}
