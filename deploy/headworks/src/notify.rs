//! Tells the service manager how the proxy is (sd_notify(3)): that it is ready, reloads, stops, still lives, or goes on in another process.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// Who listens, if anybody.
pub(crate) struct Notify {
    manager: Option<(UnixDatagram, SocketAddr)>,
    /// How often the manager wants to hear that the proxy lives.
    watchdog: Option<Duration>,
}

impl Notify {
    pub(crate) fn of_environment() -> Notify {
        let variable = |name: &str| std::env::var(name).ok();
        let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id());
        let Some(path) = variable("NOTIFY_SOCKET") else { return Notify { manager: None, watchdog: None } };
        let manager = address(&path).and_then(|address| Ok((UnixDatagram::unbound()?, address)));
        match manager {
            Ok(manager) => Notify { manager: Some(manager), watchdog },
            Err(error) => {
                tracing::warn!(%error, path, "the service manager's socket cannot be used");
                Notify { manager: None, watchdog: None }
            }
        }
    }

    pub(crate) fn ready(&self) {
        self.tell("READY=1");
    }

    /// Until it says that it is ready, again.
    pub(crate) fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1_000_000 + now.tv_nsec / 1000));
    }

    pub(crate) fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// The service goes on in this process.
    pub(crate) fn main_process(&self, process: u32) {
        self.tell(&format!("MAINPID={process}"));
    }

    /// Says again and again that the proxy lives, where that is wanted.
    pub(crate) async fn live(&self) {
        let Some(interval) = self.watchdog else { return std::future::pending().await };
        let mut ticks = tokio::time::interval(interval);
        loop {
            ticks.tick().await;
            self.tell("WATCHDOG=1");
        }
    }

    fn tell(&self, state: &str) {
        let Some((socket, manager)) = &self.manager else { return };
        if let Err(error) = socket.send_to_addr(state.as_bytes(), manager) {
            tracing::warn!(%error, state, "the service manager could not be told");
        }
    }
}

/// A path, or, after `@`, a name in the abstract namespace.
fn address(path: &str) -> std::io::Result<SocketAddr> {
    match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    }
}

/// Twice as often as the manager's bound, if the bound is this process'.
fn watchdog(bound_us: Option<String>, process: Option<String>, own: u32) -> Option<Duration> {
    let is_ours = process.is_none_or(|id| id.parse() == Ok(own));
    let bound_us = bound_us?.parse().ok().filter(|us| *us > 1 && is_ours)?;
    Some(Duration::from_micros(bound_us) / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_twice_in_its_time() {
        let check = |bound: Option<&str>, process: Option<&str>, expected: Option<u64>| {
            let interval = watchdog(bound.map(str::to_owned), process.map(str::to_owned), 7);
            assert_eq!(interval, expected.map(Duration::from_micros), "{bound:?} {process:?}");
        };
        check(Some("2000"), Some("7"), Some(1000));
        check(Some("2000"), None, Some(1000));
        check(Some("2000"), Some("8"), None);
        check(Some("0"), None, None);
        check(Some("soon"), None, None);
        check(None, None, None);
    }

    #[test]
    fn the_manager_hears_by_path_and_by_name() {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = folder.path().join("notify");
        let name = format!("@headworks-notify-{}", std::process::id());
        for place in [path.to_str().expect("a path of text"), &name] {
            let address = address(place).expect("a place for a socket");
            let manager = UnixDatagram::bind_addr(&address).expect("nobody is there");
            let socket = UnixDatagram::unbound().expect("a socket can be made");
            Notify { manager: Some((socket, address)), watchdog: None }.ready();
            let mut said = [0; 64];
            let bytes = manager.recv(&mut said).expect("something is said");
            assert_eq!(&said[..bytes], b"READY=1");
        }
    }
}
