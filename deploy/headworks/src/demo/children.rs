//! The demo's processes: started, heard of when ready, watched, and ended with the demo whatever happens to it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures_util::future::select_all;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdin, Command};

use super::plan::ReplicaPlan;
use crate::ready::Ready;

/// Longest wait for a child to listen.
const START_TIME_MAX: Duration = Duration::from_secs(60);
/// Longest wait for a child to end by itself.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// A process to be started: this executable with other words.
pub(crate) struct Child {
    name: String,
    words: Vec<String>,
}

impl Child {
    pub(crate) fn engine(replica: &ReplicaPlan, model_dir: &Path) -> Child {
        let mut child = Child { name: format!("engine {}", replica.name), words: vec!["engine".to_owned()] };
        child.flag("--model", &model_dir.display().to_string());
        child.flag("--listen", &listen(replica.listen));
        child.flag("--name", super::plan::MODEL_NAME);
        child.flag("--replica", &replica.name);
        child
    }

    pub(crate) fn proxy(region: &str, config: &Path) -> Child {
        let mut child = Child { name: format!("proxy {region}"), words: vec!["proxy".to_owned()] };
        child.flag("--config", &config.display().to_string());
        child
    }

    pub(crate) fn flag(&mut self, name: &str, value: &str) -> &mut Child {
        self.words.extend([name.to_owned(), value.to_owned()]);
        self
    }
}

fn listen(address: SocketAddr) -> String {
    address.to_string()
}

/// The processes that run.
pub(crate) struct Children {
    logs: PathBuf,
    running: Vec<Running>,
}

struct Running {
    name: String,
    log: PathBuf,
    process: tokio::process::Child,
    /// Closing it asks the child to end; the system closes it too if the demo is killed.
    stdin: Option<ChildStdin>,
}

impl Children {
    pub(crate) fn new(logs: PathBuf) -> anyhow::Result<Children> {
        std::fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
        Ok(Children { logs, running: Vec::new() })
    }

    /// Starts a process and waits until it listens.
    pub(crate) async fn start(&mut self, child: Child) -> anyhow::Result<()> {
        let Child { name, words } = child;
        let log = self.logs.join(format!("{}.log", name.replace(' ', "-")));
        let stderr = File::create(&log).with_context(|| format!("write {}", log.display()))?;
        let mut process = Command::new(std::env::current_exe().context("find this executable")?)
            .args(&words)
            .arg("--until-stdin-ends")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().context("read the child's stdout")?;
        let mut running = Running { name, log, process, stdin };
        let mut lines = BufReader::new(stdout).lines();
        let first = tokio::time::timeout(START_TIME_MAX, lines.next_line()).await;
        let said = match first {
            Err(_) => Err(anyhow!("{} did not listen within {START_TIME_MAX:?}", running.name)),
            Ok(Ok(Some(line))) => serde_json::from_str::<Ready>(&line)
                .map(|_| ())
                .with_context(|| format!("{} said {line:?} instead of its ports", running.name)),
            Ok(_) => Err(running.fallen().await),
        };
        said?;
        self.running.push(running);
        Ok(())
    }

    /// Waits until a process ends that should not, and says which and why.
    pub(crate) async fn first_to_fall(&mut self) -> anyhow::Error {
        let waits = self.running.iter_mut().map(|running| Box::pin(running.fallen()));
        select_all(waits).await.0
    }

    /// Asks all to end, then ends them.
    pub(crate) async fn stop(&mut self) {
        for running in &mut self.running {
            running.stdin = None;
        }
        for running in &mut self.running {
            if tokio::time::timeout(STOP_TIME_MAX, running.process.wait()).await.is_err() {
                eprintln!("{} did not end within {STOP_TIME_MAX:?} and is killed", running.name);
                // It may have ended meanwhile, which is what was wanted.
                let _ = running.process.kill().await;
            }
        }
        self.running.clear();
    }
}

impl Running {
    /// Waits for the end of the process; the error has the last line it logged.
    async fn fallen(&mut self) -> anyhow::Error {
        let how = match self.process.wait().await {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let last = log.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
        anyhow!("{} ended ({how}): {last}", self.name)
    }
}
