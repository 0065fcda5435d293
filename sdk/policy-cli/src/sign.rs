//! `headworks policy keygen | sign`: a key of one's own, and its signature beside a component.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

use crate::input;

/// Where the key goes.
#[derive(Debug, clap::Args)]
pub struct Keygen {
    /// The new key, PKCS#8 in PEM, readable by its owner alone
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// What is signed with which key.
#[derive(Debug, clap::Args)]
pub struct Sign {
    /// The component; the signature goes into FILE.wasm.sig
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The key, as `keygen` writes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// The key's name in the proxy's configuration; the key file's name without its ending when left out
    #[arg(long)]
    name: Option<String>,
}

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";
/// Characters of a line of PEM.
const PEM_LINE_CHARS: usize = 64;
/// Bytes of a key file and of a signature file.
const FILE_BYTES_MAX: u64 = 16 << 10;

pub(crate) fn keygen(args: &Keygen) -> anyhow::Result<()> {
    let path = &args.out;
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| anyhow!("make a key: no randomness"))?;
    let mut file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            bail!("{} is there already; a key is never overwritten, so name another file", path.display())
        }
        opened => opened.with_context(|| format!("write {}", path.display()))?,
    };
    file.write_all(pem(der.as_ref()).as_bytes()).with_context(|| format!("write {}", path.display()))?;
    let key = key_of(der.as_ref()).context("read the new key")?;
    println!("# {} is the secret half: keep it to yourself. The proxy's configuration gets:", path.display());
    println!("[[signing.key]]\nname = {:?}", name_of(path)?);
    println!("public_key = {:?}", STANDARD.encode(key.public_key()));
    Ok(())
}

pub(crate) fn sign(args: &Sign) -> anyhow::Result<()> {
    let Sign { file, key: key_file, name } = args;
    let component = input::component(file)?;
    let pem = read(key_file)?;
    let key = der_of(&pem).and_then(|der| key_of(&der));
    let key =
        key.with_context(|| format!("read the key {}: want an ed25519 key, PKCS#8 in PEM", key_file.display()))?;
    let name = name.clone().map_or_else(|| name_of(key_file), Ok)?;
    let written = format!("{name}:{}\n", STANDARD.encode(key.sign(&component)));
    let path = sig_path(file);
    fs::write(&path, written).with_context(|| format!("write {}", path.display()))?;
    println!("{} is signed by {name}: {}", file.display(), path.display());
    Ok(())
}

/// The signature beside a component, if there is one.
pub(crate) fn beside(component: &Path) -> anyhow::Result<Option<String>> {
    let path = sig_path(component);
    if !path.exists() {
        return Ok(None);
    }
    let signature = read(&path)?.trim().to_owned();
    match signature.bytes().all(|byte| byte.is_ascii_graphic()) && signature.contains(':') {
        true => Ok(Some(signature)),
        false => bail!("{} holds no signature; `headworks policy sign` writes one", path.display()),
    }
}

fn sig_path(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

fn read(path: &Path) -> anyhow::Result<String> {
    let bytes = fs::metadata(path).with_context(|| format!("read {}", path.display()))?.len();
    if bytes > FILE_BYTES_MAX {
        bail!("{} has {bytes} bytes, which is neither a key nor a signature", path.display());
    }
    fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
}

/// A key's name where none is given.
fn name_of(path: &Path) -> anyhow::Result<String> {
    let stem = path.file_stem().with_context(|| format!("{} names no file", path.display()))?;
    Ok(stem.to_string_lossy().into_owned())
}

fn key_of(der: &[u8]) -> anyhow::Result<Ed25519KeyPair> {
    // Without the public half too, as OpenSSL writes it.
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|rejected| anyhow!("{rejected}"))
}

fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("{PEM_BEGIN}\n");
    for line in text.as_bytes().chunks(PEM_LINE_CHARS) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str(PEM_END);
    pem.push('\n');
    pem
}

fn der_of(pem: &str) -> anyhow::Result<Vec<u8>> {
    let (_, rest) = pem.split_once(PEM_BEGIN).with_context(|| format!("there is no {PEM_BEGIN}"))?;
    let (text, _) = rest.split_once(PEM_END).with_context(|| format!("there is no {PEM_END}"))?;
    let text: String = text.chars().filter(|char| !char.is_whitespace()).collect();
    STANDARD.decode(text).context("read its base64")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn a_new_key_signs_is_its_owners_alone_and_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (out, component) = (dir.path().join("alice.pem"), dir.path().join("policy.wasm"));
        fs::write(&component, b"component").unwrap();
        assert_eq!(beside(&component).unwrap(), None);
        keygen(&Keygen { out: out.clone() }).unwrap();
        assert_eq!(fs::metadata(&out).unwrap().permissions().mode() & 0o777, 0o600);
        let again = keygen(&Keygen { out: out.clone() }).unwrap_err().to_string();
        assert!(again.contains("never overwritten"), "{again}");
        sign(&Sign { file: component.clone(), key: out.clone(), name: None }).unwrap();
        let signature = beside(&component).unwrap().unwrap();
        let (name, signature) = signature.split_once(':').unwrap();
        assert_eq!(name, "alice");
        let key = key_of(&der_of(&fs::read_to_string(&out).unwrap()).unwrap()).unwrap();
        let signature = STANDARD.decode(signature).unwrap();
        UnparsedPublicKey::new(&ED25519, key.public_key()).verify(b"component", &signature).unwrap();
    }

    #[test]
    fn openssls_keys_are_read() {
        // `openssl genpkey -algorithm ed25519`
        let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDJ0fhMvCG2vG3mEzkc8YpcB0tGsyeKuXqhfCqNRtJ4x\n-----END PRIVATE KEY-----\n";
        key_of(&der_of(pem).unwrap()).unwrap();
    }

    #[test]
    fn what_is_no_key_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let (key, component) = (dir.path().join("key.pem"), dir.path().join("policy.wasm"));
        fs::write(&component, b"component").unwrap();
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----\n!\n-----END PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
        ] {
            fs::write(&key, text).unwrap();
            let said = sign(&Sign { file: component.clone(), key: key.clone(), name: None }).unwrap_err().to_string();
            assert!(said.contains("want an ed25519 key"), "{said}");
        }
    }
}
