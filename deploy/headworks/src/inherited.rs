//! What whoever started this process left open for it: systemd's sockets, or those of the proxy that it takes over from.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use anyhow::{Context, bail};
use proxy_server::Given;

/// The sockets of a hand-over, as `data=5,admin=6`.
pub(crate) const SOCKETS: &str = "HEADWORKS_HANDOVER_SOCKETS";
/// The pipe on which a hand-over's successor says that it is ready.
pub(crate) const READY: &str = "HEADWORKS_HANDOVER_READY";
/// Systemd's first socket (sd_listen_fds(3)).
const SYSTEMD_FIRST: RawFd = 3;

/// The pipe to the predecessor, which goes on until it hears.
pub(crate) struct Predecessor(File);

impl Predecessor {
    pub(crate) fn tell_ready(mut self) -> std::io::Result<()> {
        self.0.write_all(b"1")
    }
}

/// Takes what was left. To be called once, before anything else is opened.
pub(crate) fn take() -> anyhow::Result<(Given, Option<Predecessor>)> {
    let variable = |name: &str| std::env::var(name).ok();
    let mut given = Given::default();
    for (port, fd) in plan(&variable, std::process::id())? {
        let socket = TcpListener::from(adopt(fd, "socket:")?);
        socket.local_addr().with_context(|| format!("use descriptor {fd} as the {port} port's socket"))?;
        match port.as_str() {
            "data" => given.data = Some(socket),
            _ => given.admin = Some(socket),
        }
    }
    let predecessor = match variable(READY) {
        None => None,
        Some(fd) => {
            let fd = fd.parse().with_context(|| format!("read {READY}"))?;
            Some(Predecessor(File::from(adopt(fd, "pipe:")?)))
        }
    };
    Ok((given, predecessor))
}

/// Which descriptor is for which port.
fn plan(variable: &dyn Fn(&str) -> Option<String>, process: u32) -> anyhow::Result<Vec<(String, RawFd)>> {
    let sockets: Vec<(String, RawFd)> = match variable(SOCKETS) {
        Some(list) => handed_over(&list)?,
        None if variable("LISTEN_PID").is_some_and(|id| id.parse() == Ok(process)) => {
            let count = variable("LISTEN_FDS").unwrap_or_default();
            from_systemd(&count, variable("LISTEN_FDNAMES").as_deref())?
        }
        // Left for another process, or for none.
        None => Vec::new(),
    };
    for (number, (port, _)) in sockets.iter().enumerate() {
        if !matches!(port.as_str(), "data" | "admin") {
            bail!("a socket is named {port:?}; name it data or admin (FileDescriptorName= in its unit)");
        }
        if sockets[..number].iter().any(|(other, _)| other == port) {
            bail!("two sockets are named {port}; give each port one");
        }
    }
    Ok(sockets)
}

fn handed_over(list: &str) -> anyhow::Result<Vec<(String, RawFd)>> {
    let entry = |entry: &str| {
        let (port, fd) = entry.split_once('=')?;
        Some((port.to_owned(), fd.parse().ok().filter(|fd| *fd >= SYSTEMD_FIRST)?))
    };
    let entries: Option<Vec<_>> = list.split(',').map(entry).collect();
    entries.with_context(|| format!("{SOCKETS} is {list:?}; it must be as data=5,admin=6"))
}

fn from_systemd(count: &str, names: Option<&str>) -> anyhow::Result<Vec<(String, RawFd)>> {
    let count: usize = count.parse().with_context(|| format!("LISTEN_FDS is {count:?}; it must be a number"))?;
    let names: Vec<&str> = match names {
        Some(names) => names.split(':').collect(),
        None => vec!["data", "admin"],
    };
    if names.len() < count || count > 2 {
        bail!("{count} sockets are given ({}); the proxy takes one for data and one for admin", names.join(", "));
    }
    Ok(names.into_iter().take(count).map(str::to_owned).zip(SYSTEMD_FIRST..).collect())
}

/// A descriptor that was left for us. Processes that we start do not get it.
fn adopt(fd: RawFd, kind: &str) -> anyhow::Result<OwnedFd> {
    let found = std::fs::read_link(format!("/proc/self/fd/{fd}"))
        .with_context(|| format!("take descriptor {fd}, which should have been left open"))?;
    if !found.to_string_lossy().starts_with(kind) {
        bail!("descriptor {fd} is {}; it should be a {}", found.display(), kind.trim_end_matches(':'));
    }
    // SAFETY: it is open, as was just seen, and nothing in this process has it: it was there before `main`, and its number
    // was given to nobody but us, who take each once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).context("keep a descriptor to ourselves")?;
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: &str) {
        let variable =
            |name: &str| variables.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        let plan = match plan(&variable, 7) {
            Ok(plan) => plan.iter().map(|(port, fd)| format!("{port}={fd}")).collect::<Vec<_>>().join(","),
            Err(error) => format!("{error:#}"),
        };
        assert!(plan.starts_with(expected) && plan.is_empty() == expected.is_empty(), "{variables:?}: {plan}");
    }

    #[test]
    fn sockets_are_found_by_their_names() {
        let systemd = |count, names| [("LISTEN_PID", "7"), ("LISTEN_FDS", count), ("LISTEN_FDNAMES", names)];
        check(&[], "");
        check(&systemd("2", "data:admin"), "data=3,admin=4");
        check(&systemd("2", "admin:data"), "admin=3,data=4");
        check(&systemd("1", "data"), "data=3");
        check(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "2")], "data=3,admin=4");
        check(&[("LISTEN_PID", "8"), ("LISTEN_FDS", "2")], "");
        check(&systemd("2", "data:data"), "two sockets are named data");
        check(&systemd("1", "headworks.socket"), "a socket is named \"headworks.socket\"; name it data or admin");
        check(&systemd("3", "data:admin:more"), "3 sockets are given");
        check(&systemd("x", "data"), "LISTEN_FDS is \"x\"");
        check(&[(SOCKETS, "data=5,admin=9"), ("LISTEN_PID", "7"), ("LISTEN_FDS", "1")], "data=5,admin=9");
        check(&[(SOCKETS, "data=0")], "HEADWORKS_HANDOVER_SOCKETS is \"data=0\"");
        check(&[(SOCKETS, "data")], "HEADWORKS_HANDOVER_SOCKETS is \"data\"");
    }
}
