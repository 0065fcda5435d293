//! Plays several replicas on one thread: answers at once, or event by event, each with a write of its own.

mod answers;
mod connection;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use answers::Bytes;
pub use answers::{Answer, WHOLE_BYTES};
use connection::{Connection, Sent, Step};

/// How soon the flag that ends it is seen.
const STOP_SEEN_AFTER: Duration = Duration::from_millis(200);
/// What is read at once.
const READ_BYTES: usize = 128 << 10;

/// The replicas' sockets, not yet served.
pub struct Mock {
    poll: Poll,
    listeners: Vec<TcpListener>,
    addresses: Vec<SocketAddr>,
}

/// A stream that waits for its next event: the soonest first.
type Waiting = BinaryHeap<Reverse<(Instant, Turn)>>;

/// A connection's place, and the number that tells it from those that had the place before.
type Turn = (usize, u64);

struct Serving {
    poll: Poll,
    listeners: Vec<TcpListener>,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    answer: Answer,
    bytes: Bytes,
    buffer: Vec<u8>,
    /// Streams without spacing, which take turns.
    eager: VecDeque<Turn>,
    waiting: Waiting,
    streams_begun: u64,
    accepted: u64,
}

impl Mock {
    /// Takes free ports on loopback.
    pub fn bind(replicas: usize) -> io::Result<Mock> {
        let poll = Poll::new()?;
        let mut listeners = Vec::new();
        for index in 0..replicas {
            let mut listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0).into())?;
            poll.registry().register(&mut listener, Token(index), Interest::READABLE)?;
            listeners.push(listener);
        }
        let addresses = listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
        Ok(Mock { poll, listeners, addresses })
    }

    /// Where the replicas are.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Serves until the flag is up.
    pub fn serve(self, answer: Answer, stop: &AtomicBool) -> io::Result<()> {
        let Mock { poll, listeners, addresses: _ } = self;
        let mut serving = Serving {
            poll,
            listeners,
            connections: Vec::new(),
            free: Vec::new(),
            answer,
            bytes: Bytes::new(),
            buffer: vec![0; READ_BYTES],
            eager: VecDeque::new(),
            waiting: Waiting::new(),
            streams_begun: 0,
            accepted: 0,
        };
        let mut events = Events::with_capacity(1024);
        while !stop.load(Ordering::Relaxed) {
            serving.turn(&mut events)?;
        }
        Ok(())
    }
}

impl Serving {
    /// Waits for what happens next, and does it.
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = self.timeout();
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            outcome => outcome?,
        }
        for event in events.iter() {
            let Token(token) = event.token();
            match token.checked_sub(self.listeners.len()) {
                None => self.accept(token)?,
                Some(slot) => self.happened(slot),
            }
        }
        self.send_due();
        Ok(())
    }

    fn timeout(&self) -> Duration {
        if !self.eager.is_empty() {
            return Duration::ZERO;
        }
        let Some(Reverse((due, _))) = self.waiting.peek() else { return STOP_SEEN_AFTER };
        due.saturating_duration_since(Instant::now()).min(STOP_SEEN_AFTER)
    }

    fn accept(&mut self, listener: usize) -> io::Result<()> {
        loop {
            let mut stream = match self.listeners[listener].accept() {
                Ok((stream, _)) => stream,
                // Would block, or the client has gone again.
                Err(_) => return Ok(()),
            };
            stream.set_nodelay(true)?;
            let slot = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let token = Token(slot + self.listeners.len());
            self.poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
            self.connections[slot] = Some(Connection::new(stream, self.accepted));
            self.accepted += 1;
        }
    }

    /// Something can be read from, or written to, a connection.
    fn happened(&mut self, slot: usize) {
        let Some(connection) = self.connections[slot].as_mut() else { return };
        let mut step = connection.flush();
        if step == Step::Nothing {
            step = connection.read(&mut self.buffer, self.answer, &self.bytes);
        }
        self.after(slot, step);
    }

    fn after(&mut self, slot: usize, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Close => {
                self.connections[slot] = None;
                self.free.push(slot);
            }
            Step::Stream => self.begin(slot),
        }
    }

    /// Queues the next turn of a stream that begins, or goes on after its reader was slow.
    fn begin(&mut self, slot: usize) {
        let (Some(connection), Answer::Stream { spacing, .. }) = (&self.connections[slot], self.answer) else { return };
        let turn = (slot, connection.id());
        if spacing.is_zero() {
            return self.eager.push_back(turn);
        }
        // Streams that begin together do not send together: the golden ratio spreads them evenly.
        let phase = (self.streams_begun as f64 * 0.618_033_988_75).fract();
        self.streams_begun += 1;
        self.waiting.push(Reverse((Instant::now() + spacing.mul_f64(phase), turn)));
    }

    fn send_due(&mut self) {
        for _ in 0..self.eager.len() {
            let Some(turn) = self.eager.pop_front() else { break };
            if self.send_one(turn) == Sent::More {
                self.eager.push_back(turn);
            }
        }
        let Answer::Stream { spacing, .. } = self.answer else { return };
        let now = Instant::now();
        while let Some(Reverse((due, turn))) = self.waiting.peek().copied()
            && due <= now
        {
            self.waiting.pop();
            if self.send_one(turn) == Sent::More {
                // From when it was due, unless that would make up for a long stop in one burst.
                self.waiting.push(Reverse(((due + spacing).max(now), turn)));
            }
        }
    }

    /// One event of a stream.
    fn send_one(&mut self, (slot, id): Turn) -> Sent {
        let Answer::Stream { events, .. } = self.answer else { return Sent::Ended };
        let connection = self.connections[slot].as_mut().filter(|connection| connection.id() == id);
        let Some(connection) = connection else { return Sent::Ended };
        connection.send_event(events, &self.bytes).unwrap_or_else(|_| {
            self.after(slot, Step::Close);
            Sent::Ended
        })
    }
}
