//! Starts a peer before the replicas and waits until a completion passes through it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;

use super::{Installed, Kind, Peer, configs};
use crate::process::{Process, Usage};
use crate::prompts::{Ask, Requests};

/// Routers load Python, find out about the replicas, and count them in one by one.
const READY_TIME: Duration = Duration::from_secs(90);
const PROBE_TIME: Duration = Duration::from_secs(5);
/// Nobody listens there.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A proxy that runs.
pub struct Contender {
    /// In the table.
    pub peer: Peer,
    /// Where requests are sent.
    pub targets: Vec<SocketAddr>,
    /// Resident before the first connection of the load.
    pub rss_before_kib: Option<u64>,
    process: Option<Process>,
}

impl Contender {
    /// Of its processes; none for the replicas alone.
    pub fn ids(&self) -> Vec<u32> {
        self.process.as_ref().map_or(Vec::new(), Process::ids)
    }

    /// Of its processes; `None` for the replicas alone.
    pub fn usage(&self) -> Option<Usage> {
        self.process.as_ref().map(Process::usage)
    }
}

/// Starts one, which is ready when it passes on what will be asked for; its files go into the folder, which is emptied.
pub fn start(
    peer: Peer,
    installed: &Installed,
    replicas: &[SocketAddr],
    ask: Ask,
    folder: &Path,
) -> anyhow::Result<Contender> {
    if peer.kind == Kind::Direct {
        return Ok(Contender { peer, targets: replicas.to_vec(), rss_before_kib: None, process: None });
    }
    let program = installed.program(peer.kind)?;
    let folder = folder.join(peer.name.replace(' ', "-"));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("make {}", folder.display()))?;
    let (command, port) = command(peer.kind, &program, installed, replicas, &folder)?;
    let mut process = Process::start(&command, &folder.join("log.txt"))?;
    let target = match port {
        Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        None => process.wait_for(READY_TIME, listen_of)?,
    };
    process.wait_for(READY_TIME, |_| completes(target, ask).then_some(()))?;
    let rss_before_kib = Some(process.usage().rss_kib);
    Ok(Contender { peer, targets: vec![target], rss_before_kib, process: Some(process) })
}

/// How it is started, and on which port it will listen, if that is for us to choose.
fn command(
    kind: Kind,
    program: &Path,
    installed: &Installed,
    replicas: &[SocketAddr],
    folder: &Path,
) -> anyhow::Result<(Command, Option<u16>)> {
    let mut command = Command::new(program);
    command.current_dir(folder);
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display())).map(|()| path)
    };
    if let Kind::Headworks(component) = kind {
        let component = component.map(|name| installed.component(name)).transpose()?;
        let config = write("proxy.toml", configs::headworks(replicas, component.as_deref()))?;
        command.args(["proxy", "--config"]).arg(config);
        return Ok((command, None));
    }
    let [port, metrics] = free_ports()?;
    match kind {
        Kind::Direct | Kind::Headworks(_) => {}
        Kind::Nginx => {
            command.arg("-p").arg(folder).arg("-c").arg(write("nginx.conf", configs::nginx(port, replicas, folder))?);
        }
        Kind::Haproxy => {
            command.arg("-db").arg("-f").arg(write("haproxy.cfg", configs::haproxy(port, replicas))?);
        }
        Kind::Envoy => {
            command.args(configs::envoy_arguments());
            command.arg("-c").arg(write("envoy.json", configs::envoy(port, replicas))?);
        }
        Kind::Router(router, policy) => {
            command.args(configs::router(router, policy, [port, metrics], replicas));
            // They look for the model's tokenizer on the web: the run is about this machine alone.
            command.env("HF_HUB_OFFLINE", "1").env("HF_ENDPOINT", NOWHERE);
        }
    }
    Ok((command, Some(port)))
}

/// The address in our ready line.
fn listen_of(said: &str) -> Option<SocketAddr> {
    let line = said.lines().find(|line| line.contains("\"event\":\"ready\""))?;
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line.get("listen")?.as_str()?.parse().ok()
}

/// Ports that are free now: both are held until both are known.
fn free_ports() -> anyhow::Result<[u16; 2]> {
    let take = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("find a free port");
    let listeners = [take()?, take()?];
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port()).context("find a free port");
    Ok([port(&listeners[0])?, port(&listeners[1])?])
}

/// Whether a completion is answered with 200.
fn completes(target: SocketAddr, ask: Ask) -> bool {
    let status = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&target, PROBE_TIME)?;
        stream.set_read_timeout(Some(PROBE_TIME))?;
        let mut request = Vec::new();
        Requests::short(ask).next_into(&mut request);
        stream.write_all(&request)?;
        let mut status = [0; 12];
        stream.read_exact(&mut status)?;
        Ok(&status == b"HTTP/1.1 200")
    };
    status().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_ready_line_says_where_we_listen() {
        let said = "warning\n{\"event\":\"ready\",\"listen\":\"127.0.0.1:4123\",\"admin\":\"127.0.0.1:4124\"}\n";
        assert_eq!(listen_of(said), Some("127.0.0.1:4123".parse().unwrap()));
        assert_eq!(listen_of("{\"event\":\"ready\""), None);
    }
}
