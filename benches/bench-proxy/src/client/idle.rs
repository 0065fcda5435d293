//! Connections that asked once and are kept open, as clients with pools keep them.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, bail};

use super::connect;

const REQUEST: &[u8] = b"GET /v1/models HTTP/1.1\r\nhost: bench\r\n\r\n";

/// Idle connections.
pub struct Idle {
    connections: Vec<TcpStream>,
}

impl Idle {
    /// Opens so many, each with one answered request.
    pub fn open(targets: &[SocketAddr], count: usize) -> anyhow::Result<Idle> {
        let mut connections = Vec::with_capacity(count);
        let mut buffer = vec![0; 16 << 10];
        for index in 0..count {
            let mut stream = connect(targets, index)?;
            stream.write_all(REQUEST).context("ask on an idle connection")?;
            let read = stream.read(&mut buffer).context("hear on an idle connection")?;
            if !buffer[..read].starts_with(b"HTTP/1.1 200") {
                bail!("idle connection {index} was answered {:?}", String::from_utf8_lossy(&buffer[..read.min(80)]));
            }
            connections.push(stream);
        }
        for connection in &connections {
            connection.set_nonblocking(true)?;
        }
        Ok(Idle { connections })
    }

    /// How many are still open. What is left of the answer is read first.
    pub fn held(&mut self) -> usize {
        let mut buffer = vec![0; 16 << 10];
        let mut open = |stream: &mut TcpStream| loop {
            match stream.read(&mut buffer) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        };
        self.connections.iter_mut().filter_map(|stream| open(stream).then_some(())).count()
    }
}
