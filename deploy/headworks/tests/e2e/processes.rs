//! Starts engines and proxies on free ports and ends them with the test.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;

pub const MODEL: &str = "tiny";
pub const SLOT: &str = "placement";

/// Longest wait for a condition; far beyond what is needed, so that only a hang meets it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What `cargo xtask test` installed, by its variable.
#[track_caller]
pub fn tool(variable: &str) -> PathBuf {
    let named = std::env::var_os(variable);
    named.unwrap_or_else(|| panic!("{variable} is not set; run `cargo xtask test`")).into()
}

/// The component of a shipped policy.
pub fn component(name: &str) -> PathBuf {
    tool("HEADWORKS_TEST_POLICIES").join(format!("{name}.wasm"))
}

/// The executable under test.
pub fn headworks() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headworks"));
    command.env("RUST_LOG", "info");
    command
}

/// A folder for this test run's files, removed at the end.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("headworks-e2e-").tempdir().unwrap()
}

/// A folder with a synthetic model.
fn model(preset: &str) -> tempfile::TempDir {
    let dir = folder();
    let made = headworks().args(["model", "synth", "--preset", preset, "--out"]).arg(dir.path()).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    dir
}

/// Waits until `holds` gives something.
#[track_caller]
pub fn wait_for<T>(what: &str, mut holds: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = holds() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// A process of ours that listens. Ends when dropped.
pub struct Server {
    process: Child,
    stdin: Option<ChildStdin>,
    pub url: String,
    /// A proxy's admin port.
    pub admin: String,
    log: Receiver<String>,
}

impl Server {
    /// Starts it and waits until it says where it listens.
    #[track_caller]
    pub fn start(command: &mut Command) -> Server {
        let mut process = command
            .arg("--until-stdin-ends")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take();
        let log = drained(process.stderr.take().unwrap());
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        let Ok(ready) = serde_json::from_str::<Value>(&ready) else {
            let log: Vec<String> = log.iter().collect();
            panic!("not ready: {ready:?}\n{}", log.join("\n"));
        };
        let url = |key: &str| format!("http://{}", ready[key].as_str().unwrap_or_default());
        Server { process, stdin, url: url("listen"), admin: url("admin"), log }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Its process' number.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends it a signal, by its name without `SIG`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(sent.success(), "kill -s {name}");
    }

    /// Waits until it ended of itself; true when it ended well.
    pub fn ended(&mut self) -> bool {
        wait_for("the process to end", || self.process.try_wait().unwrap()).success()
    }

    /// Asks it to end and waits until it did; true when it ended well.
    pub fn stop(&mut self) -> bool {
        self.stdin = None;
        wait_for("the process to end", || self.process.try_wait().unwrap()).success()
    }

    /// What it logged so far.
    pub fn logged(&self) -> String {
        self.log.try_iter().collect::<Vec<_>>().join("\n")
    }

    /// A GET of its `/state` or another JSON page.
    #[track_caller]
    pub fn json(&self, path: &str) -> Value {
        http::get(&format!("{}{path}", self.url)).json()
    }

    /// A GET of a page of its admin port.
    #[track_caller]
    pub fn admin_json(&self, path: &str) -> Value {
        http::get(&format!("{}{path}", self.admin)).json()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended, which is what is wanted.
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.url, self.logged());
        }
    }
}

fn drained(stderr: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// An engine over the tiny model, made once per test process: thousands of tokens a second.
#[track_caller]
pub fn engine(flags: &[&str]) -> Server {
    static TINY: OnceLock<tempfile::TempDir> = OnceLock::new();
    engine_over(TINY.get_or_init(|| model("tiny")).path(), flags)
}

/// An engine over the small model, for streams that must still run when the test does something about them: `LONG`
/// takes it seconds.
#[track_caller]
pub fn slow_engine() -> Server {
    static SMALL: OnceLock<tempfile::TempDir> = OnceLock::new();
    engine_over(SMALL.get_or_init(|| model("small")).path(), &[])
}

#[track_caller]
fn engine_over(model_dir: &Path, flags: &[&str]) -> Server {
    let mut command = headworks();
    command.arg("engine").arg("--model").arg(model_dir);
    if !flags.contains(&"--listen") {
        command.args(["--listen", "127.0.0.1:0"]);
    }
    Server::start(command.args(["--name", MODEL]).args(flags))
}

/// A proxy before some replicas, with one shipped policy; `more` is added to its configuration.
#[track_caller]
pub fn proxy(replicas: &[&str], policy: &str, more: &str) -> Server {
    proxy_with(replicas, policy, "", more)
}

/// The same, with keys of the configuration's top.
#[track_caller]
pub fn proxy_with(replicas: &[&str], policy: &str, top: &str, more: &str) -> Server {
    let dir = folder();
    let config = dir.path().join("proxy.toml");
    let replicas: String = replicas
        .iter()
        .enumerate()
        .map(|(number, url)| format!("[[replica]]\nname = \"us-{number}\"\nurl = \"{url}\"\n"))
        .collect();
    let component = component(policy);
    let text = format!(
        "region = \"us\"\nlisten = \"127.0.0.1:0\"\n{top}\
         [admin]\nlisten = \"127.0.0.1:0\"\n\
         [[policy]]\nslot = \"{SLOT}\"\ncomponent = {component:?}\n{replicas}{more}"
    );
    std::fs::write(&config, text).unwrap();
    let server = Server::start(headworks().arg("proxy").arg("--config").arg(&config));
    wait_for("the proxy to be ready", || (http::get(&format!("{}/readyz", server.admin)).status == 200).then_some(()));
    server
}

/// The number behind a metric's name and labels on a `/metrics` page.
pub fn metric(page: &str, name_and_labels: &str) -> Option<f64> {
    let line =
        page.lines().find(|line| line.strip_prefix(name_and_labels).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}
