//! Starts this proxy's successor on SIGUSR2 and hands it the listening sockets: who connects finds one of the two, always.

use std::ffi::OsString;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, bail};
use proxy_server::Sockets;
use rustix::io::{FdFlags, fcntl_setfd};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::inherited::{READY, SOCKETS};

/// Longest that a successor may take to be ready; it compiles its policies first.
const SUCCESSOR_TIME_MAX: Duration = Duration::from_secs(120);

/// Waits for the signal that wants a successor.
pub(crate) struct Handover {
    /// Where this process' executable was: a new one may lie there by now.
    executable: PathBuf,
    arguments: Vec<OsString>,
    sockets: Sockets,
    asked: Signal,
}

impl Handover {
    /// From now on the signal no longer ends the process.
    pub(crate) fn of(sockets: &Sockets) -> anyhow::Result<Handover> {
        Ok(Handover {
            executable: std::env::current_exe().context("find this executable")?,
            arguments: std::env::args_os().skip(1).collect(),
            sockets: sockets.try_clone().context("copy the sockets")?,
            asked: signal(SignalKind::user_defined2()).context("listen for SIGUSR2")?,
        })
    }

    /// Ends once a successor is ready, and gives its process' number. Where one fails, this process goes on.
    pub(crate) async fn done(mut self) -> u32 {
        loop {
            if self.asked.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
            tracing::info!(executable = %self.executable.display(), "handing over: starting a successor");
            match self.hand_over().await {
                Ok(process) => {
                    tracing::info!(
                        process,
                        "handed over: the successor is ready, and this process ends when its requests have"
                    );
                    return process;
                }
                Err(error) => {
                    let error = format!("{error:#}");
                    tracing::error!(error, "the successor did not become ready; this process goes on");
                }
            }
        }
    }

    async fn hand_over(&self) -> anyhow::Result<u32> {
        let (mut ready, tells) = std::io::pipe().context("make a pipe")?;
        // What the successor gets is a copy that is gone from here once it has it.
        let sockets = self.sockets.try_clone().context("copy the sockets")?;
        for fd in [sockets.data().as_fd(), sockets.admin().as_fd(), tells.as_fd()] {
            fcntl_setfd(fd, FdFlags::empty()).context("leave a descriptor open")?;
        }
        let (data, admin) = (sockets.data().as_raw_fd(), sockets.admin().as_raw_fd());
        let mut child = Command::new(&self.executable)
            .args(&self.arguments)
            .env(SOCKETS, format!("data={data},admin={admin}"))
            .env(READY, tells.as_raw_fd().to_string())
            // Those are this process'; a watchdog without a process is whose turn it is.
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_FDS")
            .env_remove("LISTEN_FDNAMES")
            .env_remove("WATCHDOG_PID")
            .spawn()
            .with_context(|| format!("start {}", self.executable.display()))?;
        drop((sockets, tells));
        let process = child.id();
        let heard = tokio::task::spawn_blocking(move || ready.read_exact(&mut [0]));
        match tokio::time::timeout(SUCCESSOR_TIME_MAX, heard).await {
            Ok(Ok(Ok(()))) => Ok(process),
            // Its end of the pipe is gone, and so is it, or soon.
            Ok(_) => bail!("it ended with {}", ended(child).await?),
            Err(_) => {
                child.kill().context("end the successor")?;
                let status = ended(child).await?;
                bail!("it was not ready within {} s and was ended ({status})", SUCCESSOR_TIME_MAX.as_secs())
            }
        }
    }
}

async fn ended(mut child: Child) -> anyhow::Result<ExitStatus> {
    tokio::task::spawn_blocking(move || child.wait()).await?.context("wait for the successor")
}
