//! Asks name servers: over UDP, and over TCP what does not fit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::message::{Answer, Kind, NotAnswer, UDP_BYTES_MAX, answer, question};

/// Where systems say which name servers they use.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const SERVERS_MAX: usize = 3;
const PORT: u16 = 53;
/// One try of one server; there are two of each.
const TRY_TIME_MAX: Duration = Duration::from_millis(1500);
const TRIES: usize = 2;
/// RFC 1035's code for a name that does not exist.
const NO_SUCH_NAME: u8 = 3;

/// The name servers that are asked, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Servers(Vec<SocketAddr>);

impl Servers {
    /// This one, or the system's.
    pub fn of(server: Option<SocketAddr>) -> Result<Servers, String> {
        if let Some(server) = server {
            return Ok(Servers(vec![server]));
        }
        let text =
            std::fs::read_to_string(RESOLV_CONF).map_err(|error| format!("cannot read {RESOLV_CONF}: {error}"))?;
        match named(&text) {
            servers if servers.is_empty() => Err(format!("{RESOLV_CONF} names no name server")),
            servers => Ok(Servers(servers)),
        }
    }

    /// What the first server says that says anything. A name that does not exist has no records.
    pub async fn ask(&self, name: &str, kind: Kind) -> Result<Answer, String> {
        let mut why = String::new();
        for _ in 0..TRIES {
            for server in &self.0 {
                match timeout(TRY_TIME_MAX, ask(*server, name, kind)).await {
                    Ok(Ok(answer)) if matches!(answer.code, 0 | NO_SUCH_NAME) => return Ok(answer),
                    Ok(Ok(Answer { code, .. })) => why = format!("the name server {server} refuses (code {code})"),
                    Ok(Err(error)) => why = format!("the name server {server}: {error}"),
                    Err(_) => why = format!("the name server {server} does not answer"),
                }
            }
        }
        Err(format!("cannot look {name} up: {why}"))
    }
}

/// Of a text like resolv.conf(5).
fn named(text: &str) -> Vec<SocketAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        // A zone (`fe80::1%eth0`) is of no use to a program that has no index for it.
        let address: IpAddr = (words.next()? == "nameserver").then(|| words.next())??.parse().ok()?;
        Some(SocketAddr::new(address, PORT))
    };
    text.lines().filter_map(server).take(SERVERS_MAX).collect()
}

async fn ask(server: SocketAddr, name: &str, kind: Kind) -> Result<Answer, String> {
    let id = rand::random();
    let asked = question(id, name, kind).ok_or_else(|| format!("{name:?} is no name"))?;
    let in_words = |error: std::io::Error| error.to_string();
    let here: IpAddr = match server {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    // A port of the system's choice for each question, and only answers from whom it was asked: who guesses must guess
    // both numbers (RFC 5452).
    let socket = UdpSocket::bind((here, 0)).await.map_err(in_words)?;
    socket.connect(server).await.map_err(in_words)?;
    socket.send(&asked).await.map_err(in_words)?;
    let mut bytes = vec![0; usize::from(UDP_BYTES_MAX)];
    loop {
        let count = socket.recv(&mut bytes).await.map_err(in_words)?;
        match answer(&bytes[..count], id, name, kind) {
            Ok(Answer { is_cut: true, .. }) => return ask_at_length(server, &asked, id, name, kind).await,
            Ok(answer) => return Ok(answer),
            Err(NotAnswer::NotOurs) => {}
            Err(NotAnswer::Malformed) => return Err("its answer cannot be read".to_owned()),
        }
    }
}

async fn ask_at_length(server: SocketAddr, asked: &[u8], id: u16, name: &str, kind: Kind) -> Result<Answer, String> {
    let in_words = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(server).await.map_err(in_words)?;
    let length = u16::try_from(asked.len()).expect("a question is a few hundred bytes");
    let framed = [&length.to_be_bytes()[..], asked].concat();
    stream.write_all(&framed).await.map_err(in_words)?;
    let mut bytes = vec![0; usize::from(stream.read_u16().await.map_err(in_words)?)];
    stream.read_exact(&mut bytes).await.map_err(in_words)?;
    answer(&bytes, id, name, kind).map_err(|_| "its answer cannot be read".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_servers_are_read() {
        let text = "# made by hand\nsearch example\nnameserver 10.0.0.1\n nameserver  fd00::1 # two\nnameserver x\n\
                    options ndots:5\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n";
        let shown: Vec<String> = named(text).iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["10.0.0.1:53", "[fd00::1]:53", "10.0.0.3:53"]);
    }
}
