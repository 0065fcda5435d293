//! Pushes a component: the blobs that the registry lacks, then the manifest that names them.

use std::collections::BTreeMap;

use ureq::http::Method;
use ureq::http::header::LOCATION;

use crate::manifest::{CONFIG, Descriptor, LAYER, MANIFEST, Manifest, SIGNATURE_ANNOTATION, digest_of};
use crate::registry::{Ask, Registry};
use crate::{Access, OciError, Reference};

/// What is pushed.
#[derive(Clone, Copy, Debug)]
pub struct Artifact<'a> {
    /// The component.
    pub component: &'a [u8],
    /// Its signature, `NAME:BASE64`.
    pub signature: Option<&'a str>,
    /// What people call it.
    pub title: &'a str,
}

/// What was pushed.
#[derive(Debug)]
pub struct Pushed {
    /// The same artefact, named by its digest.
    pub reference: Reference,
}

/// Pushes a component under a tag. Blocking, for at most the time that `access` gives.
pub fn push(reference: &Reference, access: &Access, artifact: &Artifact<'_>) -> Result<Pushed, OciError> {
    let Artifact { component, signature, title } = artifact;
    if reference.digest().is_some() {
        let message = "what is pushed gets its digest from its bytes; give a tag alone".to_owned();
        return Err(OciError::BadReference { given: reference.to_string(), message });
    }
    let mut annotations = BTreeMap::from([("org.opencontainers.image.title".to_owned(), (*title).to_owned())]);
    annotations.extend(signature.map(|signature| (SIGNATURE_ANNOTATION.to_owned(), signature.to_owned())));
    let layer = Descriptor::of(LAYER, component);
    let (manifest, config) = Manifest::of(layer.clone(), annotations);
    let mut registry = Registry::new(reference, access)?;
    push_blob(&mut registry, &layer, component)?;
    push_blob(&mut registry, &Descriptor::of(CONFIG, &config), &config)?;
    let manifest = serde_json::to_vec(&manifest).expect("a manifest becomes JSON");
    let target = format!("/v2/{}/manifests/{}", reference.repository(), reference.version());
    let step = "take the manifest";
    let body = Some((MANIFEST, manifest.as_slice()));
    let answer = registry.ask(&Ask { method: Method::PUT, target: &target, accept: "*/*", body })?;
    match answer.status().is_success() {
        true => Ok(Pushed { reference: reference.at(&digest_of(&manifest)) }),
        false => Err(registry.refused(step, answer)),
    }
}

fn push_blob(registry: &mut Registry<'_>, blob: &Descriptor, bytes: &[u8]) -> Result<(), OciError> {
    let repository = registry.reference.repository().to_owned();
    let is_there = format!("/v2/{repository}/blobs/{}", blob.digest);
    let answer = registry.ask(&Ask { method: Method::HEAD, target: &is_there, accept: "*/*", body: None })?;
    if answer.status().is_success() {
        return Ok(());
    }
    let step = "begin an upload";
    let begin = format!("/v2/{repository}/blobs/uploads/");
    let empty = Some(("application/octet-stream", &[][..]));
    let answer = registry.ask(&Ask { method: Method::POST, target: &begin, accept: "*/*", body: empty })?;
    if answer.status() != 202 {
        return Err(registry.refused(step, answer));
    }
    let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    let Some(location) = location else {
        return Err(registry.unreachable("it did not say where an upload goes".to_owned()));
    };
    let join = if location.contains('?') { '&' } else { '?' };
    let target = format!("{location}{join}digest={}", blob.digest.replace(':', "%3A"));
    let step = "take a blob";
    let body = Some(("application/octet-stream", bytes));
    let answer = registry.ask(&Ask { method: Method::PUT, target: &target, accept: "*/*", body })?;
    match answer.status() == 201 {
        true => Ok(()),
        false => Err(registry.refused(step, answer)),
    }
}
