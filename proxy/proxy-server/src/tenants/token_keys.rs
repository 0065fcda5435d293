//! The keys that tokens are signed with: a JSON Web Key Set (RFC 7517), of a file or a server.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use oci_artifact::AgentSettings;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

use crate::tenants::Algorithm;

/// Bytes of a key set.
const BYTES_MAX: u64 = 1 << 20;
/// Keys of a set.
const KEYS_MAX: usize = 256;
/// Time to get a key set.
const GET_TIME_MAX: Duration = Duration::from_secs(10);

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    File(PathBuf),
    /// https, or this machine's http.
    Url {
        url: String,
        https_only: bool,
    },
}

/// A key and what it may be used for.
pub(super) struct Key {
    pub id: Option<String>,
    algorithm: Option<Algorithm>,
    public: Public,
}

enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: String,
    n: String,
    e: String,
    x: String,
    y: String,
}

impl KeySource {
    /// Reads the keys. Blocking.
    pub(super) fn read(&self) -> Result<Vec<Key>, String> {
        let bytes = match self {
            KeySource::File(path) => {
                let mut bytes = Vec::new();
                let read = fs::File::open(path).and_then(|file| file.take(BYTES_MAX).read_to_end(&mut bytes));
                read.map_err(|error| format!("the tokens' keys cannot be read from {}: {error}", path.display()))?;
                bytes
            }
            KeySource::Url { url, https_only } => {
                get(url, *https_only).map_err(|error| format!("the tokens' keys cannot be had from {url}: {error}"))?
            }
        };
        keys_of(&bytes)
    }
}

fn get(url: &str, https_only: bool) -> Result<Vec<u8>, String> {
    let agent = oci_artifact::agent(AgentSettings { time_max: GET_TIME_MAX, https_only, authority_pem: None })?;
    let answer = agent.get(url).call().map_err(|error| error.to_string())?;
    if !answer.status().is_success() {
        return Err(format!("it answers {}", answer.status()));
    }
    answer.into_body().into_with_config().limit(BYTES_MAX).read_to_vec().map_err(|error| error.to_string())
}

/// The keys of a set that are for signatures and of a kind known here; the others are left out, as the RFC says.
fn keys_of(set: &[u8]) -> Result<Vec<Key>, String> {
    let Set { keys } =
        serde_json::from_slice(set).map_err(|error| format!("the tokens' keys are no key set: {error}"))?;
    let keys: Vec<Key> =
        keys.into_iter().take(KEYS_MAX).filter_map(|key| Key::of(serde_json::from_value(key).ok()?)).collect();
    match keys.is_empty() {
        true => Err("the tokens' keys hold none for RS, PS, ES or EdDSA signatures".to_owned()),
        false => Ok(keys),
    }
}

impl Key {
    fn of(jwk: Jwk) -> Option<Key> {
        let Jwk { kty, kid, usage, key_ops, alg, crv, n, e, x, y } = jwk;
        let is_for_signatures = usage.is_none_or(|usage| usage == "sig")
            && key_ops.is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !is_for_signatures {
            return None;
        }
        // A key that says its algorithm is for no other, nor for one that is not known here.
        let algorithm = match alg {
            None => None,
            Some(name) => Some(Algorithm::named(&name)?),
        };
        let public = match (kty.as_str(), crv.as_str()) {
            ("RSA", _) => Public::Rsa { n: bytes_of(&n)?, e: bytes_of(&e)? },
            ("EC", "P-256") => Public::P256(point(&x, &y, 32)?),
            ("EC", "P-384") => Public::P384(point(&x, &y, 48)?),
            ("OKP", "Ed25519") => Public::Ed25519(bytes_of(&x).filter(|x| x.len() == 32)?),
            _ => return None,
        };
        Some(Key { id: kid, algorithm, public })
    }

    /// Whether this key made this signature by this algorithm.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        if self.algorithm.is_some_and(|own| own != algorithm) {
            return false;
        }
        match &self.public {
            Public::Rsa { n, e } => algorithm
                .rsa()
                .is_some_and(|how| RsaPublicKeyComponents { n, e }.verify(how, message, signature).is_ok()),
            Public::P256(point) if algorithm == Algorithm::ES256 => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Public::P384(point) if algorithm == Algorithm::ES384 => {
                UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point).verify(message, signature).is_ok()
            }
            Public::Ed25519(key) if algorithm == Algorithm::EdDSA => {
                UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature).is_ok()
            }
            Public::P256(_) | Public::P384(_) | Public::Ed25519(_) => false,
        }
    }
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok().filter(|bytes| !bytes.is_empty())
}

/// An uncompressed point of SEC 1.
fn point(x: &str, y: &str, bytes: usize) -> Option<Vec<u8>> {
    let (x, y) = (bytes_of(x)?, bytes_of(y)?);
    (x.len() == bytes && y.len() == bytes).then(|| [&[4][..], &x, &y].concat())
}
