//! Sends requests over so many connections, each again as soon as it was answered, and checks what comes back.

mod connection;
mod idle;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;
use mio::{Events, Interest, Poll, Token};

use crate::prompts::Requests;
pub use connection::Expected;
use connection::{Connection, Happened};
pub use idle::Idle;

/// What is read at once.
const READ_BYTES: usize = 128 << 10;
/// Latencies beyond this count as this.
const LATENCY_NS_MAX: u64 = 600_000_000_000;
/// Connections from one loopback address: there are about 28,000 ports, and those just closed are not free for a minute.
const CONNECTIONS_PER_SOURCE: usize = 5_000;
/// Opened since the program began.
static OPENED: AtomicUsize = AtomicUsize::new(0);

/// What is sent where, and how long.
pub struct Load<'a> {
    /// Connections take turns through them.
    pub targets: &'a [SocketAddr],
    /// How many are open.
    pub connections: usize,
    /// What every answer must be.
    pub expected: Expected,
    /// Before the window.
    pub warm: Duration,
    /// What is counted.
    pub window: Duration,
    /// Between two [`Moment::Tick`]s within it.
    pub tick: Duration,
}

/// When the caller looks at the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// Counting begins.
    Begin,
    /// Within the window.
    Tick,
    /// Counting ends.
    End,
}

/// What was counted.
#[derive(Clone, Debug)]
pub struct Window {
    /// Answers that were as expected.
    pub finished: u64,
    /// Events of streams, also of those that had not ended.
    pub events: u64,
    /// What went wrong, and how often; since the beginning, not the window's.
    pub errors: BTreeMap<String, u64>,
    /// Of finished requests, in nanoseconds.
    pub latencies: Histogram<u64>,
    /// From [`Moment::Begin`] to [`Moment::End`].
    pub lasted: Duration,
}

impl Window {
    fn new() -> anyhow::Result<Window> {
        let latencies = Histogram::new_with_bounds(100, LATENCY_NS_MAX, 3).context("make a histogram")?;
        Ok(Window { finished: 0, events: 0, errors: BTreeMap::new(), latencies, lasted: Duration::ZERO })
    }

    /// How many went wrong.
    pub fn failed(&self) -> u64 {
        self.errors.values().sum()
    }
}

/// Sends, and calls `at` at each moment.
pub fn drive(load: &Load<'_>, requests: &mut Requests, mut at: impl FnMut(Moment)) -> anyhow::Result<Window> {
    let mut driver = Driver::open(load)?;
    let mut events = Events::with_capacity(1024);
    for slot in 0..driver.connections.len() {
        driver.send(slot, requests);
    }
    driver.until(Instant::now() + load.warm, &mut events, requests)?;
    at(Moment::Begin);
    driver.window = Window { errors: std::mem::take(&mut driver.window.errors), ..Window::new()? };
    let begun = Instant::now();
    let end = begun + load.window;
    while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        driver.until(Instant::now() + left.min(load.tick), &mut events, requests)?;
        if Instant::now() < end {
            at(Moment::Tick);
        }
    }
    driver.window.lasted = begun.elapsed();
    at(Moment::End);
    Ok(driver.window)
}

/// A blocking connection to one of the targets, from a loopback address that has ports left.
fn connect(targets: &[SocketAddr], index: usize) -> anyhow::Result<std::net::TcpStream> {
    let target = targets[index % targets.len()];
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).context("make a socket")?;
    let source = source(OPENED.fetch_add(1, Ordering::Relaxed));
    socket.bind(&source.into()).with_context(|| format!("bind {source}"))?;
    socket.connect(&target.into()).with_context(|| format!("connect to {target}, connection {index}"))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into())
}

/// Where the next connection comes from: another of the loopback's addresses for every few thousand.
fn source(opened: usize) -> SocketAddr {
    let address = (opened / CONNECTIONS_PER_SOURCE) % (250 * 250);
    let byte = |number: usize| u8::try_from(number % 250).expect("less than 250");
    SocketAddr::from(([127, 1 + byte(address / 250), byte(address), 1], 0))
}

struct Driver<'a> {
    load: &'a Load<'a>,
    poll: Poll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    window: Window,
}

impl<'a> Driver<'a> {
    fn open(load: &'a Load<'a>) -> anyhow::Result<Driver<'a>> {
        let poll = Poll::new().context("make a poll")?;
        let mut driver =
            Driver { load, poll, connections: Vec::new(), buffer: vec![0; READ_BYTES], window: Window::new()? };
        for slot in 0..load.connections {
            let connection = driver.connection(slot)?;
            driver.connections.push(connection);
        }
        Ok(driver)
    }

    fn connection(&self, slot: usize) -> anyhow::Result<Connection> {
        let stream = connect(self.load.targets, slot)?;
        stream.set_nonblocking(true)?;
        let mut stream = mio::net::TcpStream::from_std(stream);
        self.poll.registry().register(&mut stream, Token(slot), Interest::READABLE | Interest::WRITABLE)?;
        Ok(Connection::new(stream))
    }

    fn until(&mut self, end: Instant, events: &mut Events, requests: &mut Requests) -> anyhow::Result<()> {
        loop {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return Ok(());
            };
            match self.poll.poll(events, Some(left)) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                outcome => outcome.context("poll")?,
            }
            for event in events.iter() {
                let Token(slot) = event.token();
                self.happened(slot, requests)?;
            }
        }
    }

    fn happened(&mut self, slot: usize, requests: &mut Requests) -> anyhow::Result<()> {
        let connection = &mut self.connections[slot];
        let outcome = connection.turn(&mut self.buffer, self.load.expected);
        self.window.events += u64::from(connection.take_events());
        match outcome {
            Happened::Nothing => {}
            Happened::Finished { latency } => {
                self.window.finished += 1;
                let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
                self.window.latencies.saturating_record(nanoseconds);
                self.send(slot, requests);
            }
            Happened::Failed(why) => {
                *self.window.errors.entry(why).or_default() += 1;
                self.connections[slot] = self.connection(slot)?;
                self.send(slot, requests);
            }
        }
        Ok(())
    }

    fn send(&mut self, slot: usize, requests: &mut Requests) {
        self.connections[slot].send(|out| requests.next_into(out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_never_run_out() {
        let address = |opened| source(opened).ip().to_string();
        assert_eq!(address(0), "127.1.0.1");
        assert_eq!(address(5_000), "127.1.1.1");
        assert_eq!(address(5_000 * 251), "127.2.1.1");
        assert_eq!(address(5_000 * 250 * 250), "127.1.0.1");
    }
}
