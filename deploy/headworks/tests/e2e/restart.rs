//! What operators put into a proxy's slots outlasts a restart, where `state_folder` says where to.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::http;
use crate::processes::{SLOT, Server, component, folder, headworks};

/// A proxy over a configuration that stays: least-load in its slot, and a folder for what is put.
struct Restarting {
    dir: tempfile::TempDir,
    proxy: Server,
}

impl Restarting {
    fn new() -> Restarting {
        let dir = folder();
        write_config(dir.path(), "least-load");
        let proxy = started(dir.path());
        Restarting { dir, proxy }
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// Ends it, changes what is there meanwhile, and starts it anew.
    fn restart(&mut self, meanwhile: impl FnOnce(&Path)) {
        assert!(self.proxy.stop());
        meanwhile(self.dir.path());
        self.proxy = started(self.dir.path());
    }

    fn put(&self, path: &str, body: &[u8]) -> Value {
        let answer = http::put(&format!("{}/admin/v1/policies/{path}", self.proxy.admin), body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    }

    /// Each slot with its active version: the policy, its configuration, who put it and when.
    fn slots(&self) -> Vec<Value> {
        let policies = self.proxy.admin_json("/admin/v1/policies");
        let chain = policies["chain"].as_array().unwrap().iter();
        chain
            .map(|slot| {
                let active = slot["versions"].as_array().unwrap().iter().find(|version| version["state"] == "active");
                let active = active.unwrap();
                json!([slot["slot"], active["name"], active["config"], active["by"], active["loaded_unix_ms"]])
            })
            .collect()
    }

    /// The same without who and when.
    fn policies(&self) -> Value {
        self.slots().iter().map(|slot| json!([slot[0], slot[1]])).collect()
    }
}

fn write_config(dir: &Path, policy: &str) {
    let component = component(policy);
    let text = format!(
        "listen = \"127.0.0.1:0\"\nstate_folder = \"state\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[policy]]\nslot = \"{SLOT}\"\ncomponent = {component:?}\n"
    );
    fs::write(dir.join("proxy.toml"), text).unwrap();
}

fn started(dir: &Path) -> Server {
    Server::start(headworks().arg("proxy").arg("--config").arg(dir.join("proxy.toml")))
}

fn bytes(policy: &str) -> Vec<u8> {
    fs::read(component(policy)).unwrap()
}

#[test]
fn what_was_put_is_there_again_with_its_configuration_and_its_story() {
    let mut it = Restarting::new();
    it.put("afterwards", &bytes("round-robin"));
    it.put("limits", &bytes("rate-limit"));
    it.put(&format!("{SLOT}/config"), br#"{"scan":"all"}"#);
    let before = it.slots();
    it.restart(|_| ());
    assert_eq!(it.slots(), before);
    let log = it.proxy.logged();
    assert_eq!(log.matches("policy restored from state_folder").count(), 3, "{log}");
    let history = &it.proxy.admin_json("/admin/v1/policies")["chain"][1]["history"][0];
    assert_eq!((&history["what"], &history["why"]), (&json!("activated"), &json!("kept over a restart")));

    // The version of the configuration is the one before, and once it is active again there is nothing to keep.
    let back = http::post(&format!("{}/admin/v1/policies/{SLOT}/rollback", it.proxy.admin), b"");
    assert_eq!(back.status, 200, "{}", back.text());
    let removed = http::delete(&format!("{}/admin/v1/policies/limits", it.proxy.admin));
    assert_eq!(removed.status, 200, "{}", removed.text());
    it.restart(|_| ());
    assert_eq!(it.policies(), json!([[SLOT, "least-load"], ["afterwards", "round-robin"]]));
    assert_eq!(it.slots()[0][2], json!({}));
    assert_eq!(fs::read_dir(it.state().join("components")).unwrap().count(), 1);
    assert!(fs::read_dir(it.state().join("compiled")).unwrap().count() > 0, "compiled components are kept there too");
}

#[test]
fn what_is_damaged_is_told_of_and_skipped() {
    let mut it = Restarting::new();
    it.put("first", &bytes("round-robin"));
    it.put("second", &bytes("rate-limit"));
    let damaged = it.state().join("policies/first.json");
    it.restart(|_| fs::write(&damaged, "{").unwrap());
    assert_eq!(it.policies(), json!([[SLOT, "least-load"], ["second", "rate-limit"]]));
    let log = it.proxy.logged();
    assert!(log.contains("a kept policy is damaged and is left out") && log.contains("first.json"), "{log}");
}

#[test]
fn a_configuration_that_says_another_thing_since_then_counts() {
    let mut it = Restarting::new();
    it.put(SLOT, &bytes("round-robin"));
    it.restart(|dir| write_config(dir, "lmetric"));
    assert_eq!(it.policies(), json!([[SLOT, "lmetric"]]));
    let log = it.proxy.logged();
    assert!(log.contains("a kept policy is forgotten") && log.contains("the configuration counts"), "{log}");
    it.restart(|dir| write_config(dir, "least-load"));
    assert_eq!(it.policies(), json!([[SLOT, "least-load"]]));
}

#[test]
fn a_folder_that_others_may_write_to_stops_the_start() {
    use std::os::unix::fs::PermissionsExt;
    let dir = folder();
    write_config(dir.path(), "least-load");
    fs::create_dir(dir.path().join("state")).unwrap();
    fs::set_permissions(dir.path().join("state"), fs::Permissions::from_mode(0o777)).unwrap();
    let output = headworks().arg("proxy").arg("--config").arg(dir.path().join("proxy.toml")).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("chmod go-w"), "{stderr}");
}
