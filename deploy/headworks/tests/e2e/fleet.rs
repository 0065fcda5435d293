//! Replicas that come and go: engines that register themselves, and a configuration that is written anew.

use crate::http::{self, chat};
use crate::processes::{Server, engine, folder, headworks, wait_for};

fn ask(proxy: &Server) -> u16 {
    http::post(&format!("{}/v1/chat/completions", proxy.url), chat("hello", 2, false).to_string().as_bytes()).status
}

/// The names of the replicas that are well.
fn well(proxy: &Server) -> Vec<String> {
    let fleet = proxy.admin_json("/admin/v1/fleet");
    let replicas = fleet["regions"][0]["replicas"].as_array().unwrap();
    let well = replicas.iter().filter(|replica| replica["health"] == "healthy" && replica["draining"] == false);
    well.map(|replica| replica["name"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn engines_register_themselves_and_a_configuration_written_anew_is_taken() {
    let dir = folder();
    let config = dir.path().join("proxy.toml");
    let listen = "region = \"us\"\nlisten = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n";
    std::fs::write(&config, listen).unwrap();
    let proxy = Server::start(headworks().arg("proxy").arg("--config").arg(&config));
    let mut registered = engine(&["--register", &proxy.admin, "--replica", "self"]);
    wait_for("the engine to join", || (well(&proxy) == ["self"]).then_some(()));
    assert_eq!(ask(&proxy), 200);

    let named = engine(&[]);
    let next = dir.path().join("next.toml");
    std::fs::write(&next, format!("{listen}[[replica]]\nname = \"named\"\nurl = \"{}\"\n", named.url)).unwrap();
    std::fs::rename(&next, &config).unwrap();
    wait_for("the configuration to be taken", || (well(&proxy).len() == 2).then_some(()));

    let last = || proxy.admin_json("/admin/v1/reload")["last"].clone();
    let before = last();
    proxy.signal("HUP");
    wait_for("the signal to be taken", || (last() != before && last()["taken"] == true).then_some(()));
    assert_eq!(well(&proxy).len(), 2);

    assert!(registered.stop());
    wait_for("the engine to leave", || (well(&proxy) == ["named"]).then_some(()));
    assert_eq!(ask(&proxy), 200);
}
