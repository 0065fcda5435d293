//! Pulls a component: its manifest, then its one layer, each no larger than it may be and with the digest it should have.

use ureq::http::Method;

use crate::manifest::{MANIFEST, Manifest, SIGNATURE_ANNOTATION, digest_of};
use crate::registry::{Ask, Registry, WORDS_BYTES_MAX};
use crate::{Access, OciError, Reference};

/// A component, as it was pulled.
#[derive(Debug)]
pub struct Pulled {
    /// The component.
    pub bytes: Vec<u8>,
    /// What was asked for, with its manifest's digest: where these very bytes are.
    pub reference: Reference,
    /// What the manifest says of the component's signature, `NAME:BASE64`.
    pub signature: Option<String>,
}

/// Pulls a component of at most `bytes_max` bytes. Blocking, for at most the time that `access` gives.
pub fn pull(reference: &Reference, access: &Access, bytes_max: u64) -> Result<Pulled, OciError> {
    let mut registry = Registry::new(reference, access)?;
    let (manifest, digest) = pull_manifest(&mut registry)?;
    let wrong_kind = |message| OciError::WrongKind { reference: reference.clone(), message };
    let layer = manifest.component().map_err(wrong_kind)?;
    let too_large = |bytes| OciError::TooLarge { reference: reference.clone(), bytes, bytes_max };
    // Before a byte of it is asked for.
    if layer.size > bytes_max {
        return Err(too_large(layer.size));
    }
    let step = "send the component";
    let target = format!("/v2/{}/blobs/{}", reference.repository(), layer.digest);
    let answer = registry.ask(&Ask { method: Method::GET, target: &target, accept: "*/*", body: None })?;
    if !answer.status().is_success() {
        return Err(registry.refused(step, answer));
    }
    // A registry that sends more than its manifest said is read no further than that.
    let bytes = registry.read(answer, layer.size)?;
    check_digest(reference, "the component", &layer.digest, &bytes)?;
    let signature = manifest.annotations.get(SIGNATURE_ANNOTATION).cloned();
    Ok(Pulled { bytes, reference: reference.at(&digest), signature })
}

fn pull_manifest(registry: &mut Registry<'_>) -> Result<(Manifest, String), OciError> {
    let reference = registry.reference;
    let step = "send the manifest";
    let target = format!("/v2/{}/manifests/{}", reference.repository(), reference.version());
    let answer = registry.ask(&Ask { method: Method::GET, target: &target, accept: MANIFEST, body: None })?;
    match answer.status().as_u16() {
        404 => return Err(OciError::NotFound { reference: reference.clone() }),
        _ if !answer.status().is_success() => return Err(registry.refused(step, answer)),
        _ => {}
    }
    let bytes = registry.read(answer, WORDS_BYTES_MAX)?;
    let wrong_kind = |message| OciError::WrongKind { reference: reference.clone(), message };
    if bytes.len() as u64 > WORDS_BYTES_MAX {
        return Err(wrong_kind(format!("its manifest is larger than {WORDS_BYTES_MAX} bytes")));
    }
    if let Some(expected) = reference.digest() {
        check_digest(reference, "the manifest", expected, &bytes)?;
    }
    let manifest = serde_json::from_slice(&bytes);
    let manifest = manifest.map_err(|error| wrong_kind(format!("its manifest cannot be read: {error}")))?;
    Ok((manifest, digest_of(&bytes)))
}

fn check_digest(reference: &Reference, what: &'static str, expected: &str, bytes: &[u8]) -> Result<(), OciError> {
    let actual = digest_of(bytes);
    match actual == expected {
        true => Ok(()),
        false => {
            let (reference, expected) = (reference.clone(), expected.to_owned());
            Err(OciError::DigestMismatch { reference, what, expected, actual })
        }
    }
}
