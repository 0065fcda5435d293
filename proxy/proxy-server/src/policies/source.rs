//! Gets components from where they are, a file or a registry, with what is known of who signed them. Blocking.

use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use oci_artifact::{OciError, Reference};
use thiserror::Error;

use crate::config::Oci;
use crate::policies::{SignatureError, Signing};

/// Where a configured component is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    File(PathBuf),
    Oci(Box<Reference>),
}

/// A component, and where it came from.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub bytes: Bytes,
    pub origin: Origin,
}

/// Where a version's component came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// `file`, `admin`, `watch` or `oci`.
    pub source: &'static str,
    /// A path, or a reference with its digest.
    pub detail: Option<String>,
    /// The name of the key whose signature was checked.
    pub signed_by: Option<String>,
    /// The signature as it came, for whoever keeps the component.
    pub signature: Option<String>,
}

/// What getting a component depends on.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub oci: Oci,
    pub signing: Signing,
    pub component_bytes_max: usize,
}

/// Why there is no component.
#[derive(Debug, Error)]
pub(crate) enum SourceError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{} is larger than {bytes_max} bytes (`limits.component_bytes_max`)", path.display())]
    FileTooLarge { path: PathBuf, bytes_max: usize },
    #[error("{0}")]
    Oci(#[from] OciError),
    #[error("{0}")]
    Signature(#[from] SignatureError),
}

/// Bytes of a `.sig` file.
const SIGNATURE_BYTES_MAX: usize = 1 << 10;

impl Sources {
    /// What the configuration names.
    pub fn get(&self, place: &Place) -> Result<Fetched, SourceError> {
        match place {
            Place::File(path) => self.read(path, "file"),
            Place::Oci(reference) => self.pull(reference),
        }
    }

    /// A file, and its signature in the file beside it whose name has `.sig` more.
    pub fn read(&self, path: &Path, source: &'static str) -> Result<Fetched, SourceError> {
        let bytes = read_file(path, self.component_bytes_max)?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".sig");
        let signature = match read_file(Path::new(&beside), SIGNATURE_BYTES_MAX) {
            Ok(signature) => Some(String::from_utf8(signature).map_err(|_| SignatureError::Malformed)?),
            Err(SourceError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let signed_by = self.signing.check(&bytes, signature.as_deref())?;
        let detail = Some(path.display().to_string());
        Ok(Fetched { bytes: bytes.into(), origin: Origin { source, detail, signed_by, signature } })
    }

    /// An artefact of a registry.
    pub fn pull(&self, reference: &Reference) -> Result<Fetched, SourceError> {
        let access = self.oci.access(reference);
        let pulled = oci_artifact::pull(reference, &access, self.component_bytes_max as u64)?;
        let signed_by = self.signing.check(&pulled.bytes, pulled.signature.as_deref())?;
        let detail = Some(pulled.reference.to_string());
        let origin = Origin { source: "oci", detail, signed_by, signature: pulled.signature };
        Ok(Fetched { bytes: pulled.bytes.into(), origin })
    }

    /// What a client uploaded, with the signature that it sent.
    pub fn take(&self, bytes: Bytes, signature: Option<&str>) -> Result<Fetched, SourceError> {
        self.take_again(bytes, "admin", None, signature.map(str::to_owned))
    }

    /// What came before, from where it came then. Whose signatures count may have changed since.
    pub fn take_again(
        &self,
        bytes: Bytes,
        source: &'static str,
        detail: Option<String>,
        signature: Option<String>,
    ) -> Result<Fetched, SourceError> {
        let signed_by = self.signing.check(&bytes, signature.as_deref())?;
        Ok(Fetched { bytes, origin: Origin { source, detail, signed_by, signature } })
    }
}

/// Reads no more than one byte beyond what there may be.
fn read_file(path: &Path, bytes_max: usize) -> Result<Vec<u8>, SourceError> {
    let wrong = |source| SourceError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(wrong)?;
    file.take(bytes_max as u64 + 1).read_to_end(&mut bytes).map_err(wrong)?;
    match bytes.len() > bytes_max {
        true => Err(SourceError::FileTooLarge { path: path.to_owned(), bytes_max }),
        false => Ok(bytes),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(path) => write!(f, "{}", path.display()),
            Place::Oci(reference) => write!(f, "oci://{reference}"),
        }
    }
}
