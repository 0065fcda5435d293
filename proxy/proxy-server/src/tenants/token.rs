//! Verifies the tokens of an identity provider: JSON Web Tokens (RFC 7519, 8725), signed with keys it publishes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::signature::{self, RsaParameters};
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::config::ANONYMOUS;
use crate::tenants::token_keys::{Key, KeySource};

/// Bytes of a token.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// Verified tokens that are kept: a signature costs more than all else that is done to a request.
const KNOWN_MAX: usize = 4096;
/// Keys that are tried on a token that names none: each costs a verification, and anybody can send such tokens.
const TRIED_MAX: usize = 8;
/// Between two tries to get keys, when a token names one that is not there.
const RETRY_MS: u64 = 5_000;

/// Which tokens count, as the operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TokenRules {
    pub issuer: String,
    pub audience: String,
    pub algorithms: Vec<Algorithm>,
    /// The claim that names the tenant.
    pub tenant_claim: String,
    /// Seconds that the issuer's clock and this one may be apart.
    pub leeway_s: u64,
    /// Whether tenants may come that the configuration does not know.
    pub any_tenant: bool,
    pub keys: KeySource,
    /// Milliseconds between two looks at the keys.
    pub refresh_ms: u64,
}

/// Signatures by key pairs: with a shared secret, who can verify can also forge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    EdDSA,
}

/// Verifies tokens.
pub(crate) struct Tokens {
    pub rules: TokenRules,
    keys: ArcSwap<Vec<Key>>,
    known: Mutex<HashMap<[u8; 32], Known>>,
    /// A token named a key that is not there.
    wants_keys: AtomicBool,
    looked_ms: AtomicU64,
}

/// What a token says that was verified.
#[derive(Clone)]
struct Known {
    tenant: Arc<str>,
    from_s: u64,
    until_s: u64,
}

/// Why a token does not count, as its bearer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadToken(pub &'static str);

#[derive(Deserialize)]
struct Head {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(flatten)]
    others: HashMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Algorithm {
    pub fn named(name: &str) -> Option<Algorithm> {
        serde_json::from_value(Value::from(name)).ok()
    }

    /// Of RSA's.
    pub fn rsa(self) -> Option<&'static RsaParameters> {
        match self {
            Algorithm::RS256 => Some(&signature::RSA_PKCS1_2048_8192_SHA256),
            Algorithm::RS384 => Some(&signature::RSA_PKCS1_2048_8192_SHA384),
            Algorithm::RS512 => Some(&signature::RSA_PKCS1_2048_8192_SHA512),
            Algorithm::PS256 => Some(&signature::RSA_PSS_2048_8192_SHA256),
            Algorithm::PS384 => Some(&signature::RSA_PSS_2048_8192_SHA384),
            Algorithm::PS512 => Some(&signature::RSA_PSS_2048_8192_SHA512),
            Algorithm::ES256 | Algorithm::ES384 | Algorithm::EdDSA => None,
        }
    }
}

impl Tokens {
    /// Reads the keys. A file must be there; a server may come later. Blocking.
    pub fn open(rules: TokenRules) -> Result<Tokens, String> {
        let keys = match (rules.keys.read(), &rules.keys) {
            (Ok(keys), _) => keys,
            (Err(error), KeySource::File(_)) => return Err(error),
            (Err(error), KeySource::Url { .. }) => {
                tracing::warn!(error, "no token counts until there are keys");
                Vec::new()
            }
        };
        Ok(Tokens {
            rules,
            wants_keys: AtomicBool::new(keys.is_empty()),
            keys: ArcSwap::from_pointee(keys),
            known: Mutex::default(),
            looked_ms: AtomicU64::new(0),
        })
    }

    /// Whether it has a token's form; a key of ours has not.
    pub fn is_one(text: &str) -> bool {
        text.starts_with("eyJ") && text.bytes().filter(|byte| *byte == b'.').count() == 2
    }

    /// The tenant that a token names.
    pub fn tenant(&self, token: &str, now_s: u64) -> Result<Arc<str>, BadToken> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(BadToken("it is too long"));
        }
        let digest: [u8; 32] = Sha256::digest(token).into();
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).cloned();
        let known = match known {
            Some(known) => known,
            None => {
                let keys = self.keys.load_full();
                let known = self.verify(token, &keys)?;
                self.remember(digest, known.clone(), &keys, now_s);
                known
            }
        };
        match (now_s < known.until_s, now_s >= known.from_s) {
            (false, _) => Err(BadToken("it has expired; get a new one")),
            (true, false) => Err(BadToken("it is not valid yet")),
            (true, true) => Ok(known.tenant),
        }
    }

    fn remember(&self, digest: [u8; 32], token: Known, keys: &Arc<Vec<Key>>, now_s: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may be in force since, and what was known by these has been forgotten.
        if !Arc::ptr_eq(keys, &self.keys.load()) {
            return;
        }
        if known.len() >= KNOWN_MAX {
            known.retain(|_, other| other.until_s > now_s);
        }
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(digest, token);
    }

    /// All but the times, which pass.
    fn verify(&self, token: &str, keys: &[Key]) -> Result<Known, BadToken> {
        let (message, signature) = token.rsplit_once('.').ok_or(BadToken("it has no signature"))?;
        let (head, claims) = message.split_once('.').ok_or(BadToken("it has no claims"))?;
        let head: Head = json_of(head)?;
        if head.crit.is_some() {
            return Err(BadToken("it wants extensions that are not known here"));
        }
        let algorithm = Algorithm::named(&head.alg).filter(|algorithm| self.rules.algorithms.contains(algorithm));
        let algorithm = algorithm.ok_or(BadToken("its algorithm is not one of those that count here"))?;
        let signature =
            BASE64_URL_SAFE_NO_PAD.decode(signature).map_err(|_| BadToken("its signature cannot be read"))?;
        self.check_signature(&head, keys, |key| key.verifies(algorithm, message.as_bytes(), &signature))?;
        self.check_claims(json_of(claims)?)
    }

    fn check_signature(&self, head: &Head, keys: &[Key], verifies: impl Fn(&Key) -> bool) -> Result<(), BadToken> {
        let named = keys.iter().filter(|key| head.kid.is_none() || key.id == head.kid);
        let mut named = named.take(TRIED_MAX).peekable();
        if named.peek().is_none() {
            self.wants_keys.store(true, Ordering::Relaxed);
            return Err(BadToken("the key that signed it is not known here"));
        }
        match named.any(verifies) {
            true => Ok(()),
            false => Err(BadToken("its signature is wrong")),
        }
    }

    fn check_claims(&self, claims: Claims) -> Result<Known, BadToken> {
        let Claims { iss, aud, exp, nbf, others } = claims;
        let TokenRules { issuer, audience, tenant_claim, leeway_s, .. } = &self.rules;
        if iss.as_ref() != Some(issuer) {
            return Err(BadToken("its issuer is not the one that counts here"));
        }
        let is_for_us = match aud {
            Some(Audience::One(one)) => one == *audience,
            Some(Audience::Many(many)) => many.contains(audience),
            None => false,
        };
        if !is_for_us {
            return Err(BadToken("it is for another audience"));
        }
        let until = exp.ok_or(BadToken("it has no `exp`"))?;
        let tenant = others.get(tenant_claim).and_then(Value::as_str).filter(|tenant| is_name(tenant));
        Ok(Known {
            tenant: tenant.ok_or(BadToken("it names no tenant"))?.into(),
            // What is below 0 or beyond all clocks is 0, or the end of time.
            until_s: (until as u64).saturating_add(*leeway_s),
            from_s: (nbf.unwrap_or(0.0) as u64).saturating_sub(*leeway_s),
        })
    }

    /// Gets the keys again when it is time, or a token wants them. What was verified by others counts no more.
    /// Blocking.
    pub fn look(&self, now_ms: u64) {
        let since = now_ms.saturating_sub(self.looked_ms.load(Ordering::Relaxed));
        let is_wanted = self.wants_keys.load(Ordering::Relaxed) && since >= RETRY_MS;
        if !is_wanted && since < self.rules.refresh_ms {
            return;
        }
        self.looked_ms.store(now_ms, Ordering::Relaxed);
        match self.rules.keys.read() {
            Ok(keys) => {
                self.keys.store(Arc::new(keys));
                self.known.lock().unwrap_or_else(PoisonError::into_inner).clear();
                self.wants_keys.store(false, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(error, "the tokens' keys stay as they were"),
        }
    }
}

fn json_of<T: serde::de::DeserializeOwned>(part: &str) -> Result<T, BadToken> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| BadToken("it is not base64url"))?;
    serde_json::from_slice(&bytes).map_err(|_| BadToken("its head or claims cannot be read"))
}

/// As names of configured tenants.
fn is_name(name: &str) -> bool {
    name != ANONYMOUS && !name.trim().is_empty() && name.len() <= 128 && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests;
