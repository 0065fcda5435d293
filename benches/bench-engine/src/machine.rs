//! What the machine does besides: its memory's bandwidth, processor time, memory, and the load of others.

use std::time::Instant;

/// Bytes read in one go over memory.
const READ_BYTES: usize = 512 << 20;
const READS: usize = 5;

pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Bytes a second that all processors together read from memory; the best of some passes.
pub(crate) fn read_bandwidth() -> f64 {
    let numbers = vec![1u64; READ_BYTES / 8];
    let threads = processors();
    let pass = || {
        let started = Instant::now();
        let total: u64 = std::thread::scope(|scope| {
            let parts = numbers.chunks(numbers.len().div_ceil(threads));
            let sums: Vec<_> = parts.map(|part| scope.spawn(|| sum(part))).collect();
            sums.into_iter().map(|sum| sum.join().unwrap_or(0)).sum()
        });
        assert_eq!(total, numbers.len() as u64, "every number was read");
        started.elapsed().as_secs_f64()
    };
    READ_BYTES as f64 / (0..READS).map(|_| pass()).fold(f64::INFINITY, f64::min)
}

/// Eight sums side by side, so that only the memory is waited for.
fn sum(numbers: &[u64]) -> u64 {
    let mut sums = [0u64; 32];
    for numbers in numbers.as_chunks::<32>().0 {
        sums.iter_mut().zip(numbers).for_each(|(sum, number)| *sum = sum.wrapping_add(*number));
    }
    sums.iter().sum::<u64>() + numbers.as_chunks::<32>().1.iter().sum::<u64>()
}

/// Processor time of this process so far.
pub(crate) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Memory that is this process's own, files that it has mapped left out.
pub(crate) fn memory_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")).and_then(|kib| kib.trim().parse::<usize>().ok());
    kib.unwrap_or(0) * 1024
}

/// How busy the machine is with something else.
pub(crate) struct Load {
    peer: Option<u32>,
    started: Instant,
    others_s: f64,
}

impl Load {
    /// `peer` is the process that takes turns with us.
    pub(crate) fn begin(peer: Option<u32>) -> Load {
        Load { peer, started: Instant::now(), others_s: others_seconds(peer) }
    }

    /// The share of all processors that others took since.
    pub(crate) fn share_of_others(&self) -> f64 {
        let all = self.started.elapsed().as_secs_f64() * processors() as f64;
        ((others_seconds(self.peer) - self.others_s) / all).clamp(0.0, 1.0)
    }
}

fn others_seconds(peer: Option<u32>) -> f64 {
    busy_seconds() - cpu_seconds() - peer.map_or(0.0, process_seconds)
}

/// Of a tick in /proc.
const TICKS_A_SECOND: f64 = 100.0;

/// Processor time of another process.
fn process_seconds(process: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // After the name, which may hold anything: the 14th and 15th field of all.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields).split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_A_SECOND
}

/// Time that processors were not idle, since the machine started.
fn busy_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let numbers = stat.lines().next().unwrap_or_default().split_whitespace().skip(1);
    let ticks: Vec<f64> = numbers.filter_map(|number| number.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal
    let busy: f64 = ticks.iter().enumerate().take(8).filter(|(at, _)| ![3, 4].contains(at)).map(|(_, t)| t).sum();
    busy / TICKS_A_SECOND
}
