//! What a check of the configuration finds that only reading what it names can show.

use std::path::Path;

use proxy_server::{Config, check};
use tempfile::TempDir;

use crate::fixture::guest::{placing, replica};

const TLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/tls");

/// What is said of these lines, in a folder with a sound component, one that is none, and a certificate with its key.
fn checked(lines: &str) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("sound.wasm"), placing("sound", &replica(0))).unwrap();
    std::fs::write(folder.path().join("garbage.wasm"), "garbage").unwrap();
    for file in ["cert.pem", "key.pem"] {
        std::fs::copy(Path::new(TLS).join(file), folder.path().join(file)).unwrap();
    }
    let text = format!("listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n{lines}");
    let config = Config::parse(&text, &folder.path().join("proxy.toml")).unwrap();
    check(&config).map_err(|error| error.to_string())
}

#[track_caller]
fn refused(lines: &str, says: &str) {
    let error = checked(lines).expect_err("it is not sound");
    assert!(error.contains(says), "{says:?} is not in: {error}");
}

#[test]
fn what_is_there_and_fits_is_sound() {
    let lines = "[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n[[policy]]\nslot = \"a\"\ncomponent = \"sound.wasm\"";
    assert_eq!(checked(lines), Ok(()));
}

#[test]
fn a_component_must_be_there_and_load() {
    let policy = |file: &str| format!("[[policy]]\nslot = \"a\"\ncomponent = \"{file}\"");
    refused(&policy("missing.wasm"), "missing.wasm");
    refused(&policy("garbage.wasm"), "garbage.wasm");
}

#[test]
fn a_component_must_take_its_configuration() {
    refused("[[policy]]\nslot = \"a\"\ncomponent = \"sound.wasm\"\n[policy.config]\nx = 1", "configuration");
}

#[test]
fn the_certificate_and_its_key_must_be_there() {
    let tls = |cert: &str, key: &str| format!("[tls]\ncert = \"{cert}\"\nkey = \"{key}\"");
    refused(&tls("missing.pem", "key.pem"), "missing.pem");
    refused(&tls("cert.pem", "missing.pem"), "missing.pem");
    refused(&tls("cert.pem", "garbage.wasm"), "garbage.wasm");
}
