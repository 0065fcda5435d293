//! A proxy is replaced while clients ask it: no answer is an error, and a successor that fails changes nothing.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::http;
use crate::processes::{MODEL, PATIENCE, Server, engine, folder, headworks, wait_for};

fn configure(folder: &Path, engine: &Server) -> PathBuf {
    let path = folder.join("proxy.toml");
    let text = format!(
        "listen = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[[replica]]\nname = \"a\"\nurl = \"{}\"\n",
        engine.url
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// A completion, whole; what went wrong else.
fn ask(by: &ureq::Agent, url: &str) -> Result<(), String> {
    let body = json!({"model": MODEL, "prompt": "hi", "max_tokens": 2}).to_string();
    let request = by.post(format!("{url}/v1/completions")).header("content-type", "application/json");
    let mut answer = request.send(body).map_err(|error| format!("{error:?}"))?;
    let text = answer.body_mut().read_to_string().map_err(|error| format!("{error:?}"))?;
    match answer.status().as_u16() {
        200 => Ok(()),
        status => Err(format!("{status}: {text}")),
    }
}

fn until_ready(proxy: &Server) {
    wait_for("the proxy to be ready", || (http::get(&format!("{}/readyz", proxy.url)).status == 200).then_some(()));
}

#[test]
fn a_proxy_is_replaced_while_clients_ask_it() {
    let (engine, folder) = (engine(&[]), folder());
    let config = configure(folder.path(), &engine);
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut said = [0; 256];
        let bytes = manager.recv(&mut said).unwrap();
        String::from_utf8_lossy(&said[..bytes]).into_owned()
    };
    let mut command = headworks();
    command.arg("proxy").arg("--config").arg(&config).env("NOTIFY_SOCKET", folder.path().join("notify"));
    let mut old = Server::start(&mut command);
    assert_eq!(heard(), "READY=1");
    until_ready(&old);

    let (over, asked, url) = (AtomicBool::new(false), AtomicUsize::new(0), old.url.clone());
    let clients = |keeps: bool| {
        let (mut failed, mut by) = (Vec::new(), http::agent());
        while !over.load(Ordering::Relaxed) {
            if !keeps {
                by = http::agent();
            }
            failed.extend(ask(&by, &url).err());
            asked.fetch_add(1, Ordering::Relaxed);
        }
        failed
    };
    // Connected before, and silent meanwhile.
    let silent = http::agent();
    ask(&silent, &url).unwrap();
    let failed: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = [true, true, false, false].map(|keeps| scope.spawn(move || clients(keeps))).into();
        wait_for("some answers", || (asked.load(Ordering::Relaxed) > 20).then_some(()));
        old.signal("USR2");
        assert_eq!(heard(), "READY=1", "the successor's");
        let successor = heard();
        assert!(successor.starts_with("MAINPID=") && successor != format!("MAINPID={}", old.id()), "{successor}");
        let silent = ask(&silent, &url).err();
        assert!(old.ended(), "{}", old.logged());
        let then = asked.load(Ordering::Relaxed);
        wait_for("answers of the successor", || (asked.load(Ordering::Relaxed) > then + 20).then_some(()));
        over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).chain(silent).collect()
    });
    assert!(failed.is_empty(), "{failed:#?} of {} requests", asked.load(Ordering::Relaxed));
    // The successor has the old one's stdin, and ends with it.
    assert!(old.stop());
    assert_eq!(heard(), "STOPPING=1");
}

#[test]
fn the_service_manager_hears_of_a_reload() {
    let (engine, folder) = (engine(&[]), folder());
    let config = configure(folder.path(), &engine);
    let manager = UnixDatagram::bind(folder.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = headworks();
    command.arg("proxy").arg("--config").arg(&config).env("NOTIFY_SOCKET", folder.path().join("notify"));
    let mut proxy = Server::start(&mut command);
    let heard = || {
        let mut said = [0; 256];
        let bytes = manager.recv(&mut said).unwrap();
        String::from_utf8_lossy(&said[..bytes]).into_owned()
    };
    assert_eq!(heard(), "READY=1");
    let mut before_us = 0;
    // One that is taken, and one that is refused: the service goes on either way.
    for more in ["limits.tries_max = 2\n", "wieght = 3\n"] {
        let sound = std::fs::read_to_string(&config).unwrap();
        let next = folder.path().join("next");
        std::fs::write(&next, format!("{more}{sound}")).unwrap();
        std::fs::rename(&next, &config).unwrap();
        proxy.signal("HUP");
        // The file's change is one reason to reload, the signal another: each is told.
        for _ in 0..2 {
            let said = heard();
            let at = said.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap_or_else(|| panic!("{said}"));
            let at_us: u64 = at.parse().unwrap();
            assert!(at_us > before_us, "systemd takes only what is newer than its own signal");
            before_us = at_us;
            assert_eq!(heard(), "READY=1");
        }
    }
    assert!(proxy.stop());
}

#[test]
fn a_successor_that_fails_changes_nothing() {
    let (engine, folder) = (engine(&[]), folder());
    let config = configure(folder.path(), &engine);
    let mut proxy = Server::start(headworks().arg("proxy").arg("--config").arg(&config));
    until_ready(&proxy);
    std::fs::write(&config, "listen = 5\n").unwrap();
    proxy.signal("USR2");
    let mut log = String::new();
    wait_for("the failure to be told", || {
        log += &proxy.logged();
        log.contains("the successor did not become ready; this process goes on").then_some(())
    });
    ask(&http::agent(), &proxy.url).unwrap();
    assert!(proxy.stop());
}

#[test]
fn sockets_may_be_opened_by_the_service_manager() {
    let (engine, folder) = (engine(&[]), folder());
    let config = configure(folder.path(), &engine);
    let [data, admin] = [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let given = format!("http://{}", data.local_addr().unwrap());
    // As systemd does it: the sockets are descriptors 3 and 4, and the process is named before it runs.
    let script = format!(
        "exec 98<&{} 99<&{}; exec 3<&98 4<&99; exec 98<&- 99<&-; LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=data:admin exec \"$0\" \"$@\"",
        data.as_raw_fd(),
        admin.as_raw_fd()
    );
    for socket in [&data, &admin] {
        rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).unwrap();
    }
    // Somebody waits at the port before there is a proxy.
    let (early, url) = (std::net::TcpStream::connect(data.local_addr().unwrap()).unwrap(), given.clone());
    early.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let client = std::thread::spawn(move || ask(&http::agent(), &url));
    let mut command = std::process::Command::new("bash");
    command.arg("-c").arg(script).arg(headworks().get_program()).arg("proxy").arg("--config").arg(&config);
    let mut proxy = Server::start(&mut command);
    drop((data, admin, early));
    assert_eq!(proxy.url, given);
    client.join().unwrap().unwrap();
    assert!(proxy.stop());
}
