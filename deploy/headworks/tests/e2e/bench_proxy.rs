//! The replicas and the load of `cargo xtask bench proxy`, with our proxy between them: what it relays is whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bench_proxy::client::{Expected, Load, Window, drive};
use bench_proxy::mock::{Answer, Mock, WHOLE_BYTES};
use bench_proxy::prompts::{Ask, Requests};

use crate::processes::proxy;

const EVENTS: u32 = 50;

/// Replicas on a thread, until it is dropped.
struct Replicas {
    addresses: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
}

impl Replicas {
    fn start(answer: Answer) -> Replicas {
        let mock = Mock::bind(2).unwrap();
        let (addresses, stop) = (mock.addresses().to_vec(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::clone(&stop);
        std::thread::spawn(move || mock.serve(answer, &seen).unwrap());
        Replicas { addresses, stop }
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

#[track_caller]
fn check(answer: Answer, ask: Ask, body_bytes: usize, expected: Expected) -> Window {
    let replicas = Replicas::start(answer);
    let tables: String = (replicas.addresses.iter().enumerate())
        .map(|(index, at)| format!("[[replica]]\nname = \"r{index}\"\nurl = \"http://{at}\"\nkind = \"openai\"\n"))
        .collect();
    let proxy = proxy(&[], "prefix-tree", &tables);
    let target: SocketAddr = proxy.url.strip_prefix("http://").unwrap().parse().unwrap();
    let window = Duration::from_millis(500);
    let load =
        Load { targets: &[target], connections: 8, expected, warm: Duration::from_millis(100), window, tick: window };
    let counted = drive(&load, &mut Requests::new(ask, body_bytes, 1), |_| ()).unwrap();
    assert_eq!(counted.errors, [].into());
    counted
}

#[test]
fn whole_answers_pass_whole_at_any_size_of_prompt() {
    for body_bytes in [1 << 10, 64 << 10] {
        let counted = check(Answer::Whole, Ask::Whole, body_bytes, Expected::Bytes(WHOLE_BYTES));
        assert!(counted.finished > 0, "some requests of {body_bytes} bytes are answered");
    }
}

#[test]
fn streams_pass_with_all_of_their_events() {
    for spacing in [Duration::ZERO, Duration::from_millis(2)] {
        let answer = Answer::Stream { events: EVENTS, spacing };
        let counted = check(answer, Ask::Stream, 1 << 10, Expected::Events(EVENTS));
        assert!(counted.events > 0, "some events pass, {spacing:?} apart");
    }
}
