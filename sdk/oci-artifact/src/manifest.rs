//! The CNCF's layout of a WebAssembly artefact: one configuration, one layer, the component.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a manifest is.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What its configuration must be.
pub(crate) const CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// What its one layer must be.
pub(crate) const LAYER: &str = "application/wasm";

/// The annotation of a manifest that carries a component's signature, `NAME:BASE64`.
pub const SIGNATURE_ANNOTATION: &str = "dev.headworks.signature";

/// As much of a manifest as matters here.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub schema_version: u32,
    #[serde(default)]
    pub media_type: Option<String>,
    #[serde(default)]
    pub config: Option<Descriptor>,
    #[serde(default)]
    pub layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A blob: what it is, and which.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
}

/// What an artefact's configuration says. Made from the component alone, so that pushing it twice gives one digest.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Config<'a> {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: [&'a str; 1],
}

impl Descriptor {
    pub fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor { media_type: media_type.to_owned(), digest: digest_of(bytes), size: bytes.len() as u64 }
    }
}

impl Manifest {
    /// The manifest of a component, and its configuration's bytes.
    pub fn of(layer: Descriptor, annotations: BTreeMap<String, String>) -> (Manifest, Vec<u8>) {
        let config = Config {
            created: "1970-01-01T00:00:00Z",
            architecture: "wasm",
            os: "wasip2",
            layer_digests: [&layer.digest],
        };
        let config = serde_json::to_vec(&config).expect("strings become JSON");
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(MANIFEST.to_owned()),
            config: Some(Descriptor::of(CONFIG, &config)),
            layers: vec![layer],
            annotations,
        };
        (manifest, config)
    }

    /// The one layer of a WebAssembly artefact, or what this is instead.
    pub fn component(&self) -> Result<&Descriptor, String> {
        if self.media_type.as_deref() == Some(INDEX) {
            return Err("it is an index of several artefacts; name one of them by its digest".to_owned());
        }
        let kind = self.config.as_ref().map_or("none", |config| config.media_type.as_str());
        if kind != CONFIG {
            return Err(format!("its configuration is {:?}, not {CONFIG}", shown(kind)));
        }
        match self.layers.as_slice() {
            [layer] if layer.media_type == LAYER && crate::reference::is_sha256(&layer.digest) => Ok(layer),
            [layer] if layer.media_type == LAYER => {
                Err(format!("its layer's digest {:?} is not sha256", shown(&layer.digest)))
            }
            [layer] => Err(format!("its layer is {:?}, not {LAYER}", shown(&layer.media_type))),
            layers => Err(format!("it has {} layers instead of one", layers.len())),
        }
    }
}

/// `sha256:` and the digest of some bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut digest, byte| {
        write!(digest, "{byte:02x}").expect("a String takes every write");
        digest
    })
}

/// What a message shows of a stranger's word.
pub(crate) fn shown(word: &str) -> &str {
    &word[..word.floor_char_boundary(100)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, says: &str) {
        let manifest: Manifest = serde_json::from_str(json).unwrap();
        let said = manifest.component().map(|layer| layer.digest.clone()).unwrap_or_else(|wrong| wrong);
        assert!(said.contains(says), "{said}");
    }

    #[test]
    fn what_is_written_is_read() {
        let (manifest, config) = Manifest::of(Descriptor::of(LAYER, b"component"), BTreeMap::new());
        let json = serde_json::to_string(&manifest).unwrap();
        check(&json, &digest_of(b"component"));
        assert_eq!(manifest.config.unwrap().digest, digest_of(&config));
    }

    #[test]
    fn other_artefacts_say_what_they_are() {
        let config = r#""config":{"mediaType":"application/vnd.wasm.config.v0+json","digest":"sha256:0","size":2}"#;
        let layer = |kind: &str, digest: &str| format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":1}}"#);
        let of = |layers: &str| format!(r#"{{"schemaVersion":2,{config},"layers":[{layers}]}}"#);
        check(r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#, "index");
        check(r#"{"schemaVersion":2}"#, "\"none\"");
        check(
            r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"x","size":1}}"#,
            "vnd.oci.image.config",
        );
        check(&of(""), "0 layers");
        check(&of(&format!("{0},{0}", layer(LAYER, "sha256:0"))), "2 layers");
        check(&of(&layer("application/gzip", "sha256:0")), "application/gzip");
        check(&of(&layer(LAYER, "md5:0")), "sha256");
    }
}
