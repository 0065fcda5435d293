//! Starts, measures and ends a program with all its children, as /proc shows them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// Ticks of /proc in a second: USER_HZ, the same on every Linux that we run on.
const TICKS_PER_SECOND: f64 = 100.0;
/// After this a program that was asked to end is killed.
const END_TIME: Duration = Duration::from_secs(5);
/// How often what has no event is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A program that runs.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it; what it prints goes to the file.
    pub fn start(command: &Command, log: &Path) -> anyhow::Result<Process> {
        let file = File::create(log).with_context(|| format!("make {}", log.display()))?;
        let both = file.try_clone().context("share the log")?;
        let name = command.get_program().display().to_string();
        let mut command = ending_with_us(command);
        command.stdin(Stdio::null()).stdout(file).stderr(both);
        let child = command.spawn().with_context(|| format!("start {name}"))?;
        Ok(Process { child, log: log.to_owned() })
    }

    /// Calls `ready` until it gives something, the program ends, or time is over.
    pub fn wait_for<T>(&mut self, time: Duration, mut ready: impl FnMut(&str) -> Option<T>) -> anyhow::Result<T> {
        let begun = Instant::now();
        loop {
            let said = fs::read(&self.log).unwrap_or_default();
            let said = String::from_utf8_lossy(&said);
            if let Some(found) = ready(&said) {
                return Ok(found);
            }
            if let Some(status) = self.child.try_wait().context("look at a program")? {
                bail!("ended ({status}) before it was ready: {}; all is in {}", end_of(&said), self.log.display());
            }
            if begun.elapsed() > time {
                bail!("not ready after {time:?}: {}; all is in {}", end_of(&said), self.log.display());
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// By which the system knows it and its descendants.
    pub fn ids(&self) -> Vec<u32> {
        tree(self.child.id())
    }

    /// Of it and its descendants.
    pub fn usage(&self) -> Usage {
        usage(self.child.id())
    }
}

impl Drop for Process {
    /// Asks it to end, then ends it and its descendants.
    fn drop(&mut self) {
        let tree = tree(self.child.id());
        signal("-TERM", &[self.child.id()]);
        let begun = Instant::now();
        while begun.elapsed() < END_TIME {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return;
            }
            std::thread::sleep(LOOK_EVERY);
        }
        signal("-KILL", &tree);
        // It is dead or was never ours to wait for.
        let _ = self.child.wait();
    }
}

/// The same, asked by the kernel to end when we end without having ended it, where there is a program that arranges this.
fn ending_with_us(command: &Command) -> Command {
    let setpriv = Path::new("/usr/bin/setpriv");
    let mut wrapped = if setpriv.exists() {
        let mut setpriv = Command::new(setpriv);
        setpriv.args(["--pdeathsig", "TERM", "--"]).arg(command.get_program());
        setpriv
    } else {
        Command::new(command.get_program())
    };
    wrapped.args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        wrapped.current_dir(folder);
    }
    wrapped
}

/// Sends by id, never by name.
fn signal(which: &str, ids: &[u32]) {
    let ids = ids.iter().map(u32::to_string);
    // A process that has ended meanwhile is what was wanted.
    let _ = Command::new("kill").arg(which).args(ids).stderr(Stdio::null()).status();
}

/// The last line that says something.
fn end_of(said: &str) -> &str {
    said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing")
}

/// What processes have taken.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// On a core, in the program and in the kernel for it.
    pub cpu_s: f64,
    /// Resident.
    pub rss_kib: u64,
}

/// Of a process and its descendants.
pub fn usage(root: u32) -> Usage {
    let mut sum = Usage::default();
    for id in tree(root) {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        sum.cpu_s += stat_of(&stat).map_or(0.0, |stat| stat.cpu_s);
        sum.rss_kib += rss_of(&status).unwrap_or_default();
    }
    sum
}

/// Of the whole machine since it was started, idle time left out.
pub fn machine_cpu_s() -> f64 {
    busy_of(&fs::read_to_string("/proc/stat").unwrap_or_default()).unwrap_or_default()
}

/// How many files this process, and those it starts, may open.
pub fn open_files_max() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(1024)
}

fn tree(root: u32) -> Vec<u32> {
    let mut parents: BTreeMap<u32, u32> = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(stat) = stat_of(&stat) {
            parents.insert(id, stat.parent);
        }
    }
    descendants(root, &parents)
}

fn descendants(root: u32, parents: &BTreeMap<u32, u32>) -> Vec<u32> {
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        let parent = found[next];
        found.extend(parents.iter().filter(|(id, of)| **of == parent && **id != root).map(|(id, _)| *id));
        next += 1;
    }
    found
}

struct Stat {
    parent: u32,
    cpu_s: f64,
}

/// Fields 4, 14 and 15. The name in field 2 may contain anything, also parentheses.
fn stat_of(text: &str) -> Option<Stat> {
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some(Stat { parent: fields.get(1)?.parse().ok()?, cpu_s: (ticks(11)? + ticks(12)?) / TICKS_PER_SECOND })
}

fn rss_of(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?.parse().ok()
}

/// user + nice + system + irq + softirq: fields 1, 2, 3, 6, 7.
fn busy_of(stat: &str) -> Option<f64> {
    let fields: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    Some([0, 1, 2, 5, 6].iter().filter_map(|field| fields.get(*field)).sum::<f64>() / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_fields() {
        let stat = stat_of("7 (a) S 1 (b) S 42 0 0 0 0 0 0 0 0 0 150 50 3 3").unwrap();
        assert_eq!((stat.parent, stat.cpu_s), (42, 2.0));
    }

    #[test]
    fn only_descendants_are_counted() {
        let parents = [(2, 1), (3, 2), (4, 1), (5, 3), (9, 8)].into();
        assert_eq!(descendants(2, &parents), [2, 3, 5]);
    }

    #[test]
    fn the_machine_is_busy_when_it_is_not_idle() {
        assert_eq!(busy_of("cpu  100 50 50 9000 77 20 30 5 0 0\ncpu0 …"), Some(2.5));
        assert_eq!(rss_of("Name:\tx\nVmRSS:\t  2048 kB\n"), Some(2048));
    }

    #[test]
    fn a_program_that_ends_early_says_its_last_words() {
        let folder = std::env::temp_dir().join(format!("bench-proxy-{}", std::process::id()));
        let mut process =
            Process::start(Command::new("sh").args(["-c", "echo no such file >&2; exit 3"]), &folder).unwrap();
        let error = process.wait_for(Duration::from_secs(20), |_| None::<()>).unwrap_err().to_string();
        fs::remove_file(&folder).unwrap();
        assert!(error.contains("no such file") && error.contains("exit status: 3"), "{error}");
    }
}
