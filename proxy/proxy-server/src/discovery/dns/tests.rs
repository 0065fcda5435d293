//! What is found behind a name, by name servers that the tests script.

use std::sync::Mutex;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

#[test]
fn every_address_is_a_replica_whatever_the_order() {
    let addresses = |list: &[&str]| list.iter().map(|address| address.parse().unwrap()).collect();
    let one = of_addresses("pool", addresses(&["10.0.0.2:80", "10.0.0.1:80", "[fd00::1]:80"]), &Template::default());
    let other = of_addresses("pool", addresses(&["[fd00::1]:80", "10.0.0.1:80", "10.0.0.2:80"]), &Template::default());
    assert_eq!(one, other);
    let shown: Vec<String> = one.iter().map(|replica| format!("{} {}", replica.name, replica.url)).collect();
    assert_eq!(
        shown,
        [
            "pool/10.0.0.1:80 http://10.0.0.1:80",
            "pool/10.0.0.2:80 http://10.0.0.2:80",
            "pool/[fd00::1]:80 http://[fd00::1]:80"
        ]
    );
}

#[test]
fn an_answer_is_asked_for_again_when_it_is_over() {
    let check = |holds_s: Option<u32>, interval_ms: Option<u64>, expected_ms: u64| {
        let pause = pause(holds_s, interval_ms.map(Duration::from_millis));
        assert_eq!(pause, Duration::from_millis(expected_ms), "{holds_s:?} {interval_ms:?}");
    };
    check(None, None, 5000);
    check(None, Some(200), 200);
    check(Some(10), None, 10_000);
    check(Some(0), None, 1000);
    check(Some(3600), None, 30_000);
    check(Some(10), Some(2000), 2000);
    check(Some(10), Some(60_000), 10_000);
}

#[test]
fn weights_are_shares_and_priorities_labels() {
    let service = |priority, weight, host: u8| {
        let target = format!("h{host}");
        (Service { priority, weight, port: 80, target }, BTreeSet::from([IpAddr::from([10, 0, 0, host])]))
    };
    let found =
        [service(1, 30, 1), service(1, 10, 2), service(2, 0, 3), service(2, 0, 4), service(3, 9, 5), service(1, 0, 6)];
    let shown: Vec<String> = of_services(&found, &Template::default())
        .iter()
        .map(|replica| format!("{} {} {}", replica.name, replica.weight, replica.labels[PRIORITY]))
        .collect();
    assert_eq!(
        shown,
        [
            "h1/10.0.0.1:80 225 1",
            "h2/10.0.0.2:80 75 1",
            "h3/10.0.0.3:80 100 2",
            "h4/10.0.0.4:80 100 2",
            "h5/10.0.0.5:80 100 3",
            "h6/10.0.0.6:80 1 1"
        ]
    );
}

/// A name server that knows some names. Answers over UDP are cut off where `is_long`, so that they are asked for over TCP.
struct NameServer {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

/// A name as it stands on the wire.
fn wire_name(name: &str) -> Vec<u8> {
    let labels = name
        .split('.')
        .filter(|label| !label.is_empty())
        .flat_map(|label| [&[label.len() as u8][..], label.as_bytes()].concat());
    labels.chain([0]).collect()
}

fn record(name: &str, kind: u16, ttl_s: u32, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16).to_be_bytes();
    [&wire_name(name)[..], &kind.to_be_bytes(), &[0, 1], &ttl_s.to_be_bytes(), &length, data].concat()
}

fn srv(name: &str, ttl_s: u32, (priority, weight, port): (u16, u16, u16), target: &str) -> Vec<u8> {
    let numbers = [priority, weight, port].map(u16::to_be_bytes).concat();
    record(name, 33, ttl_s, &[numbers, wire_name(target)].concat())
}

/// The answer to a question: the records whose name and type were asked for, and the addresses of what they name.
fn answered(question: &[u8], records: &[(&str, u16, Vec<u8>)], asked: &Mutex<Vec<String>>) -> Vec<u8> {
    let mut at = 12;
    let mut labels = Vec::new();
    while question[at] != 0 {
        let length = usize::from(question[at]);
        labels.push(String::from_utf8(question[at + 1..=at + length].to_vec()).unwrap());
        at += length + 1;
    }
    let (name, kind) = (labels.join("."), u16::from_be_bytes([question[at + 1], question[at + 2]]));
    asked.lock().unwrap().push(format!("{name} {kind}"));
    let fitting: Vec<&[u8]> =
        records.iter().filter(|record| (record.0, record.1) == (&name, kind)).map(|record| &record.2[..]).collect();
    let mut answer = question[..at + 5].to_vec();
    let exists = records.iter().any(|record| record.0 == name);
    answer[2..4].copy_from_slice(&[0x81, if exists { 0x80 } else { 0x83 }]);
    answer[6..12].copy_from_slice(&[0, fitting.len() as u8, 0, 0, 0, 0]);
    answer.extend(fitting.concat());
    answer
}

impl NameServer {
    async fn start(records: Vec<(&'static str, u16, Vec<u8>)>, is_long: bool) -> NameServer {
        let (tcp, udp) = loop {
            let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
            if let Ok(udp) = UdpSocket::bind(tcp.local_addr().unwrap()).await {
                break (tcp, udp);
            }
        };
        let (address, asked) = (tcp.local_addr().unwrap(), Arc::default());
        let server = NameServer { address, asked: Arc::clone(&asked) };
        tokio::spawn(async move {
            let mut question = [0; 512];
            loop {
                tokio::select! {
                    got = udp.recv_from(&mut question) => {
                        let (count, from) = got.unwrap();
                        let mut answer = answered(&question[..count], &records, &asked);
                        // Somebody who guesses is not heard.
                        let forged = [&[answer[0] ^ 1][..], &answer[1..]].concat();
                        udp.send_to(&forged, from).await.unwrap();
                        if is_long {
                            answer[2] |= 2;
                            answer.truncate(answer.len() - 1);
                        }
                        udp.send_to(&answer, from).await.unwrap();
                    }
                    got = tcp.accept() => {
                        let mut stream = got.unwrap().0;
                        let mut asked_at_length = vec![0; usize::from(stream.read_u16().await.unwrap())];
                        stream.read_exact(&mut asked_at_length).await.unwrap();
                        let answer = answered(&asked_at_length, &records, &asked);
                        stream.write_all(&[&(answer.len() as u16).to_be_bytes()[..], &answer].concat()).await.unwrap();
                    }
                }
            }
        });
        server
    }

    async fn look(&self, name: DnsName) -> Result<(Vec<String>, Option<u32>), String> {
        let dns = Dns { name, server: Some(self.address), interval_ms: None };
        let (replicas, holds_s) = look(&dns, &Template::default()).await?;
        let shown = replicas.iter().map(|replica| format!("{} {} {}", replica.name, replica.url, replica.weight));
        Ok((shown.collect(), holds_s))
    }
}

const POOL: &str = "_openai._tcp.pool.example";

fn pool() -> Vec<(&'static str, u16, Vec<u8>)> {
    vec![
        (POOL, 33, srv(POOL, 60, (1, 3, 8001), "one.pool.example")),
        (POOL, 33, srv(POOL, 60, (1, 1, 8002), "two.pool.example")),
        ("one.pool.example", 1, record("one.pool.example", 1, 20, &[10, 0, 0, 1])),
        (
            "two.pool.example",
            28,
            record("two.pool.example", 28, 40, &[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]),
        ),
        ("gone.example", 33, srv("gone.example", 5, (0, 0, 0), "")),
    ]
}

#[tokio::test]
async fn a_services_hosts_are_replicas_for_as_long_as_that_holds() {
    for is_long in [false, true] {
        let server = NameServer::start(pool(), is_long).await;
        let found = server.look(DnsName::Service(POOL.to_owned())).await;
        let expected = vec![
            "one.pool.example/10.0.0.1:8001 http://10.0.0.1:8001 150".to_owned(),
            "two.pool.example/[fd00::2]:8002 http://[fd00::2]:8002 50".to_owned(),
        ];
        assert_eq!(found, Ok((expected, Some(20))));
        assert!(server.asked.lock().unwrap().len() >= 5);
    }
}

#[tokio::test]
async fn a_hosts_addresses_are_replicas() {
    let server = NameServer::start(pool(), false).await;
    let host = |host: &str| DnsName::Host { host: host.to_owned(), port: 80 };
    let expected = vec!["one.pool.example/10.0.0.1:80 http://10.0.0.1:80 100".to_owned()];
    assert_eq!(server.look(host("one.pool.example")).await, Ok((expected, Some(20))));
    assert_eq!(server.look(host("other.example")).await, Err("other.example has no address".to_owned()));
}

#[tokio::test]
async fn a_service_that_is_not_there_is_said() {
    let server = NameServer::start(pool(), false).await;
    for name in ["gone.example", "none.example"] {
        assert_eq!(server.look(DnsName::Service(name.to_owned())).await, Err(format!("{name} has no host")));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said() {
    let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    drop(silent);
    let dns = Dns { name: DnsName::Service(POOL.to_owned()), server: Some(address), interval_ms: None };
    let error = look(&dns, &Template::default()).await.unwrap_err();
    assert!(error.starts_with(&format!("cannot look {POOL} up: the name server {address}")), "{error}");
}
