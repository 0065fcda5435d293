//! `headworks policy push` and the verbs beside it, against a real proxy and a real registry.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::http;
use crate::processes::{SLOT, Server, component, folder, headworks};
use crate::registry::Registry;

/// A proxy without replicas: nobody asks it anything here.
#[track_caller]
fn proxy(dir: &Path, lines: &str) -> Server {
    Server::start(&mut proxy_command(dir, lines, &[]))
}

fn proxy_command(dir: &Path, lines: &str, environment: &[(&str, &str)]) -> Command {
    let config = dir.join("proxy.toml");
    let text = format!("listen = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{lines}");
    std::fs::write(&config, text).unwrap();
    let mut command = headworks();
    command.arg("proxy").arg("--config").arg(config).envs(environment.iter().copied());
    command
}

/// What the verb printed, or how it refused.
fn policy(words: &[&str], environment: &[(&str, &str)]) -> Result<String, String> {
    let mut command = headworks();
    command.arg("policy").args(words).env("USER", "alice").envs(environment.iter().copied());
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[track_caller]
fn done(words: &[&str]) -> String {
    policy(words, &[]).unwrap()
}

#[track_caller]
fn refused(words: &[&str], says: &str) {
    let said = policy(words, &[]).unwrap_err();
    assert!(said.contains(says), "{says:?} is not in: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "more than one sentence: {said}");
}

/// A copy of a shipped component, to sign or to spoil.
fn copy(dir: &Path, name: &str) -> PathBuf {
    let file = dir.join(format!("{name}.wasm"));
    std::fs::copy(component(name), &file).unwrap();
    file
}

fn active(proxy: &Server) -> Value {
    let policies = proxy.admin_json("/admin/v1/policies");
    let slots = policies["chain"].as_array().unwrap();
    let slot = slots.iter().find(|slot| slot["slot"] == SLOT).unwrap();
    let versions = slot["versions"].as_array().unwrap();
    versions.iter().find(|version| version["state"] == "active").unwrap().clone()
}

#[test]
fn versions_are_pushed_listed_and_rolled_back() {
    let dir = folder();
    let proxy = proxy(dir.path(), "");
    let file = |name| component(name).display().to_string();
    let pushed = done(&["push", &file("round-robin"), "--to", &proxy.admin, "--slot", SLOT]);
    assert!(pushed.starts_with("placement: version 1 is active: round-robin "), "{pushed}");
    done(&["push", &file("least-load"), "--admin", &proxy.admin, "--slot", SLOT]);
    let listed = done(&["list", "--admin", &proxy.admin]);
    assert!(listed.contains("least-load") && listed.contains("round-robin"), "{listed}");
    let back = done(&["rollback", SLOT, "--admin", &proxy.admin]);
    assert!(back.contains("version 1 is active"), "{back}");
    let json: Value = serde_json::from_str(&done(&["list", "--json", "--admin", &proxy.admin])).unwrap();
    assert_eq!(json["chain"][0]["slot"], SLOT);
    refused(&["rollback", SLOT, "--admin", &proxy.admin], "no earlier version");
    refused(&["rollback", "nowhere", "--admin", &proxy.admin], "no slot \"nowhere\"");
    let garbage = dir.path().join("garbage.wasm");
    std::fs::write(&garbage, "not wasm").unwrap();
    refused(
        &["push", garbage.to_str().unwrap(), "--slot", SLOT, "--admin", &proxy.admin],
        "not a WebAssembly component",
    );
}

#[test]
fn a_component_comes_from_a_registry_by_push_and_at_the_start() {
    let (dir, registry) = (folder(), Registry::open());
    let proxy = proxy(dir.path(), "");
    let (file, reference) = (component("round-robin").display().to_string(), registry.reference("team/round-robin:1"));
    let pushed = done(&["push", &file, "--oci", &reference]);
    let pinned = pushed.trim_end().strip_prefix("pushed ").unwrap().to_owned();
    assert!(pinned.starts_with(&format!("{reference}@sha256:")), "{pushed}");
    assert_eq!(done(&["push", &file, "--oci", &reference]), pushed, "the same component has the same digest");
    done(&["push", &file, "--oci", &reference, "--slot", SLOT, "--admin", &proxy.admin]);
    let version = active(&proxy);
    assert_eq!((&version["source"], &version["source_detail"]), (&Value::from("oci"), &Value::from(pinned.clone())));
    for at in [&reference, &pinned] {
        let lines = format!("[[policy]]\nslot = \"{SLOT}\"\ncomponent = \"oci://{at}\"\n");
        let from_start = Server::start(&mut proxy_command(folder().path(), &lines, &[]));
        assert_eq!(active(&from_start)["source_detail"], pinned);
    }
}

#[track_caller]
fn check_pull(proxy: &Server, reference: &str, status: u16, code: &str, says: &str) {
    let body = serde_json::json!({ "reference": reference }).to_string();
    let answer = http::post(&format!("{}/admin/v1/policies/{SLOT}/pull", proxy.admin), body.as_bytes());
    let error = &answer.json()["error"];
    assert_eq!((answer.status, error["code"].as_str()), (status, Some(code)), "{}", answer.text());
    assert!(error["message"].as_str().unwrap().contains(says), "{}", answer.text());
}

/// What a manifest names is there, but it is no component.
fn push_other_kind(registry: &Registry) {
    let base = format!("http://{}/v2/team/image", registry.address);
    let begun = ureq::post(format!("{base}/blobs/uploads/")).send_empty().unwrap();
    let location = begun.headers()["location"].to_str().unwrap().to_owned();
    let digest = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(http::put(&format!("{location}&digest={digest}"), b"{}").status, 201);
    let blob = format!(r#"{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{digest}","size":2}}"#);
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","config":{blob},"layers":[]}}"#);
    ureq::put(format!("{base}/manifests/1")).header("content-type", kind).send(manifest).unwrap();
}

#[test]
fn what_cannot_be_pulled_says_why() {
    let (dir, registry) = (folder(), Registry::open());
    let proxy = proxy(dir.path(), "[limits]\ncomponent_bytes_max = 1000000\npull_ms_max = 20000\n");
    let at = |name: &str| registry.reference(name);
    check_pull(&proxy, "policy", 400, "bad_reference", "no repository");
    check_pull(&proxy, &at("team/absent:1"), 404, "unknown_reference", "no such repository, tag or digest");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("{}/p:1", closed.local_addr().unwrap());
    drop(closed);
    check_pull(&proxy, &nobody, 502, "registry_unreachable", "cannot be reached");
    push_other_kind(&registry);
    check_pull(&proxy, &at("team/image:1"), 422, "artifact_refused", "vnd.oci.image.config");
    let large = dir.path().join("large.wasm");
    std::fs::write(&large, vec![7; 1_000_001]).unwrap();
    done(&["push", large.to_str().unwrap(), "--oci", &at("team/large:1")]);
    check_pull(&proxy, &at("team/large:1"), 413, "component_too_large", "1000001 bytes; at most 1000000");
    let garbage = dir.path().join("garbage.wasm");
    std::fs::write(&garbage, b"0123456789").unwrap();
    done(&["push", garbage.to_str().unwrap(), "--oci", &at("team/garbage:1")]);
    check_pull(&proxy, &at("team/garbage:1"), 422, "component_refused", "not a WebAssembly component");
    // The registry's disk rots.
    let digest = "sha256:84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
    std::fs::write(registry.blob(digest), b"9876543210").unwrap();
    check_pull(&proxy, &at("team/garbage:1"), 422, "digest_mismatch", "not what was pushed");
    let chain = proxy.admin_json("/admin/v1/policies")["chain"].clone();
    assert_eq!(chain, serde_json::json!([]), "nothing of all that was loaded");
}

#[test]
fn a_registrys_credentials_are_shown_to_it_and_are_never_logged() {
    let (dir, registry) = (folder(), Registry::locked());
    let (file, reference) = (component("round-robin").display().to_string(), registry.reference("team/p:1"));
    refused(&["push", &file, "--oci", &reference], "give it credentials");
    let login = |password| [("HEADWORKS_OCI_USERNAME", "robot"), ("HEADWORKS_OCI_PASSWORD", password)];
    let wrong = policy(&["push", &file, "--oci", &reference], &login("guess")).unwrap_err();
    assert!(wrong.contains("check user, password") && !wrong.contains("guess"), "{wrong}");
    policy(&["push", &file, "--oci", &reference], &login("secret")).unwrap();
    let stranger = proxy(dir.path(), "");
    check_pull(&stranger, &reference, 502, "registry_denied", "give it credentials");
    let lines = format!(
        "[[policy]]\nslot = \"{SLOT}\"\ncomponent = \"oci://{reference}\"\n[[oci.login]]\nregistry = \"{}\"\n\
         username = \"robot\"\npassword_env = \"REGISTRY_PASSWORD\"\n",
        registry.address
    );
    let mut command = proxy_command(dir.path(), &lines, &[("REGISTRY_PASSWORD", "secret")]);
    let known = Server::start(command.env("RUST_LOG", "trace"));
    assert_eq!(active(&known)["source"], "oci");
    let logged = known.logged();
    // "robot:secret" in base64 too.
    assert!(!logged.contains("secret") && !logged.contains("cm9ib3Q6c2VjcmV0"), "{logged}");
}

#[test]
fn only_signed_components_are_taken_where_that_is_required() {
    let (dir, registry) = (folder(), Registry::open());
    let path = |name: &str| dir.path().join(name).display().to_string();
    let keys: String = ["alice", "mallory"]
        .map(|name| done(&["keygen", "--out", &path(&format!("{name}.pem"))]))
        .into_iter()
        .next()
        .unwrap();
    refused(&["keygen", "--out", &path("alice.pem")], "never overwritten");
    let (file, loaded) = (copy(dir.path(), "round-robin"), copy(dir.path(), "least-load"));
    let (file, loaded) = (file.to_str().unwrap(), loaded.to_str().unwrap());
    done(&["sign", loaded, "--key", &path("alice.pem")]);
    let lines = format!("[[policy]]\nslot = \"{SLOT}\"\ncomponent = {loaded:?}\n[signing]\nrequired = true\n{keys}");
    let proxy = proxy(dir.path(), &lines);
    assert_eq!(active(&proxy)["signed_by"], "alice", "at the start, by the file beside it");
    let push = ["push", file, "--slot", SLOT, "--admin", &proxy.admin];
    refused(&push, "not signed, and only components signed by alice are taken");
    let unsigned = http::put(&format!("{}/admin/v1/policies/{SLOT}", proxy.admin), &std::fs::read(file).unwrap());
    assert_eq!((unsigned.status, unsigned.json()["error"]["code"].as_str()), (422, Some("signature_refused")));
    done(&["sign", file, "--key", &path("mallory.pem")]);
    refused(&push, "\"mallory\", who is not known here");
    done(&["sign", file, "--key", &path("mallory.pem"), "--name", "alice"]);
    refused(&push, "not alice's over these bytes");
    done(&["sign", file, "--key", &path("alice.pem")]);
    assert!(done(&push).contains("signed by alice"));
    let reference = registry.reference("team/signed:1");
    done(&["push", file, "--oci", &reference, "--slot", SLOT, "--admin", &proxy.admin]);
    let version = active(&proxy);
    assert_eq!((&version["source"], &version["signed_by"]), (&Value::from("oci"), &Value::from("alice")));
    std::fs::write(format!("{loaded}.sig"), "alice:AAAA").unwrap();
    let start = proxy_command(folder().path(), &lines, &[]).arg("--check").output().unwrap();
    let said = String::from_utf8_lossy(&start.stderr).into_owned();
    assert!(!start.status.success() && said.contains("not alice's"), "{said}");
}

#[test]
fn a_proxy_that_does_not_answer_or_wants_a_token_is_one_sentence() {
    let dir = folder();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    refused(&["list", "--admin", &nobody], "no proxy answers at");
    refused(&["list", "--admin", "localhost"], "no URL");
    let token = dir.path().join("token");
    std::fs::write(&token, "right\n").unwrap();
    let config = dir.path().join("proxy.toml");
    let text = "listen = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"token\"\n";
    std::fs::write(&config, text).unwrap();
    let proxy = Server::start(headworks().arg("proxy").arg("--config").arg(&config));
    refused(&["list", "--admin", &proxy.admin], "wants its admin token");
    done(&["list", "--admin", &proxy.admin, "--token-file", token.to_str().unwrap()]);
    let wrong = policy(&["list", "--admin", &proxy.admin], &[("HEADWORKS_ADMIN_TOKEN", "wrong")]).unwrap_err();
    assert!(wrong.contains("another admin token") && !wrong.contains("wrong"), "{wrong}");
    policy(&["list", "--admin", &proxy.admin], &[("HEADWORKS_ADMIN_TOKEN", "right")]).unwrap();
    refused(&["list", "--admin", &proxy.url], "the endpoints are below /v1/");
}

#[test]
fn a_canary_is_promoted_a_kept_version_activated_and_a_configuration_set() {
    let dir = folder();
    let proxy = proxy(dir.path(), "");
    let to = |words: &[&str]| [words, &["--admin", &proxy.admin]].concat().iter().map(ToString::to_string).collect();
    let done = |words: &[&str]| {
        let words: Vec<String> = to(words);
        done(&words.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let refused = |words: &[&str], says: &str| {
        let words: Vec<String> = to(words);
        refused(&words.iter().map(String::as_str).collect::<Vec<_>>(), says);
    };
    let file = |name| component(name).display().to_string();
    done(&["push", &file("round-robin"), "--slot", SLOT]);
    refused(&["promote", SLOT], "canary");
    let canary = done(&["push", &file("least-load"), "--slot", SLOT, "--canary", "10"]);
    assert!(canary.contains("version 2 is the canary, with 10 % of the requests: least-load"), "{canary}");
    assert!(canary.contains("version 1 is active: round-robin"), "{canary}");
    assert!(done(&["list"]).contains("canary 10 %"));
    assert!(done(&["promote", SLOT]).contains("version 2 is active: least-load"));
    assert!(done(&["activate", SLOT, "1"]).contains("version 1 is active: round-robin"));
    refused(&["activate", SLOT, "99"], "99");
    done(&["activate", SLOT, "2"]);
    assert!(done(&["config", SLOT, "--set", r#"{"scan":"all"}"#]).contains("version 3 is active: least-load"));
    let shown: Value = serde_json::from_str(&done(&["config", SLOT])).unwrap();
    assert_eq!((&shown["config"]["scan"], shown["schema"].is_object()), (&Value::from("all"), true));
    refused(&["config", SLOT, "--set", r#"{"scan":"nonsense"}"#], "scan");
    let history = proxy.admin_json("/admin/v1/policies")["chain"][0]["history"].clone();
    assert!(history.as_array().unwrap().iter().any(|entry| entry["by"] == "alice"), "{history}");
}
