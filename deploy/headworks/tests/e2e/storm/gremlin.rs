//! Stands between the proxy and an engine, and spoils completions as it is told. Looks at the engine's health pass.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What becomes of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Pass,
    /// The connection is reset when the request has come.
    Reset,
    /// `500` with a body.
    AtFault,
    /// No byte of an answer.
    Stall,
    /// Half a head, and nothing after it; the connection stays.
    HalfOpen,
    /// What is no HTTP.
    Garbage,
    /// So many bytes of the answer, then the end.
    CutAfter(usize),
    /// So many bytes of the answer, then silence.
    StallAfter(usize),
    /// Every piece of the answer comes late.
    Slow,
}

/// Longest that a spoilt connection is kept: the proxy is to give up long before.
const KEPT: Duration = Duration::from_secs(20);
const SLOWNESS: Duration = Duration::from_millis(40);

pub struct Gremlin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    engine: SocketAddr,
    mood: Mutex<Mood>,
    ended: AtomicBool,
}

impl Gremlin {
    pub fn before(engine: SocketAddr) -> Gremlin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { engine, mood: Mutex::new(Mood::Pass), ended: AtomicBool::new(false) });
        let accepting = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.ended.load(Ordering::Relaxed) {
                    return;
                }
                let shared = accepting.clone();
                // Broken connections are what it is about.
                std::thread::spawn(move || shared.serve(client).ok());
            }
        });
        Gremlin { address, shared }
    }

    pub fn set(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap_or_else(PoisonError::into_inner) = mood;
    }
}

impl Drop for Gremlin {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        // Wakes the listener; it may be gone.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn mood(&self) -> Mood {
        *self.mood.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One connection: requests go to the engine one by one, each in the mood of its moment.
    fn serve(&self, mut client: TcpStream) -> std::io::Result<()> {
        client.set_nodelay(true)?;
        client.set_read_timeout(Some(KEPT))?;
        let mut engine = TcpStream::connect(self.engine)?;
        engine.set_nodelay(true)?;
        let mut bytes = [0; 16 << 10];
        let answers = engine.try_clone()?;
        let back = client.try_clone()?;
        // Set by the request that is under way, read by the answer's thread.
        let mood = Mutex::new(Mood::Pass);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                // Either side may be gone.
                let _ = pass_back(answers, back, &mood);
            });
            loop {
                let count = client.read(&mut bytes).unwrap_or(0);
                if count == 0 {
                    return engine.shutdown(Shutdown::Both);
                }
                if bytes.starts_with(b"POST ") {
                    let now = self.mood();
                    *mood.lock().unwrap_or_else(PoisonError::into_inner) = now;
                    if spoil(&mut client, now)? {
                        return engine.shutdown(Shutdown::Both);
                    }
                }
                engine.write_all(&bytes[..count])?;
            }
        })
    }
}

/// Answers in the engine's stead; false where the engine is to answer.
fn spoil(client: &mut TcpStream, mood: Mood) -> std::io::Result<bool> {
    match mood {
        Mood::Reset => {}
        Mood::AtFault => {
            let body = r#"{"error":{"message":"a gremlin was here"}}"#;
            write!(client, "HTTP/1.1 500 Internal Server Error\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
        }
        Mood::Garbage => client.write_all(b"\x00\x16\x03 HTTP/9 what? \xff\xfe\r\n\r\n{]")?,
        Mood::HalfOpen => {
            client.write_all(b"HTTP/1.1 200 OK\r\ncontent-ty")?;
            until_it_leaves(client);
        }
        Mood::Stall => until_it_leaves(client),
        Mood::Pass | Mood::CutAfter(_) | Mood::StallAfter(_) | Mood::Slow => return Ok(false),
    }
    client.shutdown(Shutdown::Both)?;
    Ok(true)
}

fn until_it_leaves(client: &mut TcpStream) {
    let mut bytes = [0; 1 << 10];
    while client.read(&mut bytes).is_ok_and(|count| count > 0) {}
}

fn pass_back(mut engine: TcpStream, mut client: TcpStream, mood: &Mutex<Mood>) -> std::io::Result<()> {
    let mut bytes = [0; 4 << 10];
    let mut passed = 0;
    let mut last = Mood::Pass;
    loop {
        let count = engine.read(&mut bytes)?;
        let now = *mood.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut last, now) != now {
            passed = 0;
        }
        let most = match now {
            Mood::CutAfter(most) | Mood::StallAfter(most) => most.saturating_sub(passed).min(count),
            Mood::Slow => {
                std::thread::park_timeout(SLOWNESS);
                count
            }
            _ => count,
        };
        client.write_all(&bytes[..most])?;
        passed += most;
        if count == 0 || (most < count && matches!(now, Mood::CutAfter(_))) {
            return client.shutdown(Shutdown::Both);
        }
        if most < count {
            // Silent from here on; the other direction hears when the proxy leaves.
            until_it_leaves(&mut engine);
            return Ok(());
        }
    }
}
