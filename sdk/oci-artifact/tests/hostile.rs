//! Registries that lie, stall and flood: each ends in one sentence, and none is read further than it may be.
#![expect(clippy::unwrap_used, clippy::type_complexity, reason = "a test panics, and says on the spot what it takes")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use oci_artifact::{Access, Login, OciError, Pulled, Reference, pull};
use sha2::{Digest, Sha256};

const COMPONENT: &[u8] = b"\0asm component";
const BYTES_MAX: u64 = 1000;

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn manifest(size: u64, layer_digest: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"config":{{"mediaType":"application/vnd.wasm.config.v0+json","digest":"sha256:0","size":2}},
            "layers":[{{"mediaType":"application/wasm","digest":"{layer_digest}","size":{size}}}]}}"#
    )
}

/// What a scripted registry answers by path, and the requests it got.
struct Scripted {
    address: String,
    asked: Receiver<String>,
}

type Script = HashMap<String, Box<dyn Fn(&str, &mut TcpStream) + Send>>;

/// A whole answer.
fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let whole = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n", body.len());
    [whole.into_bytes(), body.to_vec()].concat()
}

/// Serves one connection for each request until the test ends.
fn scripted(script: impl FnOnce(&str) -> Script) -> Scripted {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let script = script(&address);
    let (tell, asked) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while reader.read_line(&mut head).is_ok_and(|read| read > 2) {}
            let path = head.split(' ').nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
            // The test may be over.
            let _ = tell.send(head.clone());
            let mut stream = stream;
            match script.get(&path) {
                Some(say) => say(&head, &mut stream),
                None => drop(stream.write_all(&answer("404 Not Found", "", b"{}"))),
            }
        }
    });
    Scripted { address, asked }
}

fn fixed(bytes: Vec<u8>) -> Box<dyn Fn(&str, &mut TcpStream) + Send> {
    Box::new(move |_, stream| {
        // Who has read enough hangs up.
        let _ = stream.write_all(&bytes);
    })
}

/// Writes without end, until the other side has enough.
fn endless(head: &'static str) -> Box<dyn Fn(&str, &mut TcpStream) + Send> {
    Box::new(move |_, stream| {
        let mut open = stream.write_all(head.as_bytes());
        while open.is_ok() {
            open = stream.write_all(&[b' '; 4096]);
        }
    })
}

fn pull_with(registry: &Scripted, login: Login, time_max: Duration) -> Result<Pulled, OciError> {
    let reference: Reference = format!("{}/p:1", registry.address).parse().unwrap();
    pull(&reference, &Access { login, plain_http: false, time_max }, BYTES_MAX)
}

const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
fn refused(script: impl FnOnce(&str) -> Script, says: &str) {
    let said = pull_with(&scripted(script), Login::Anonymous, PATIENCE).unwrap_err().to_string();
    assert!(said.contains(says), "{said}");
}

fn blob_path() -> String {
    format!("/v2/p/blobs/{}", digest(COMPONENT))
}

/// A sound manifest whose blob is answered so.
fn with_blob(size: u64, blob: Box<dyn Fn(&str, &mut TcpStream) + Send>) -> Script {
    let manifest = fixed(answer("200 OK", "", manifest(size, &digest(COMPONENT)).as_bytes()));
    HashMap::from([("/v2/p/manifests/1".to_owned(), manifest), (blob_path(), blob)])
}

#[test]
fn an_honest_registry_is_believed() {
    let size = COMPONENT.len() as u64;
    let registry = scripted(|_| with_blob(size, fixed(answer("200 OK", "", COMPONENT))));
    let pulled = pull_with(&registry, Login::Anonymous, PATIENCE).unwrap();
    assert_eq!(pulled.bytes, COMPONENT);
    assert!(pulled.reference.to_string().contains("/p:1@sha256:"));
}

#[test]
fn more_or_other_bytes_than_were_named_are_refused() {
    let size = COMPONENT.len() as u64;
    let other = vec![b'x'; COMPONENT.len()];
    refused(|_| with_blob(size, fixed(answer("200 OK", "", &other))), "should have the digest");
    refused(|_| with_blob(size, fixed(answer("200 OK", "", &COMPONENT[1..]))), "should have the digest");
    refused(|_| with_blob(size, endless("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")), "should have the digest");
    refused(|_| with_blob(size, fixed(answer("404 Not Found", "", b"{}"))), "answered 404 when asked to send the");
}

#[test]
fn what_is_too_large_is_not_even_asked_for() {
    let registry = scripted(|_| with_blob(BYTES_MAX + 1, fixed(answer("200 OK", "", COMPONENT))));
    let said = pull_with(&registry, Login::Anonymous, PATIENCE).unwrap_err().to_string();
    assert!(said.contains("has 1001 bytes; at most 1000"), "{said}");
    assert_eq!(registry.asked.try_iter().count(), 1, "the manifest alone");
}

#[test]
fn a_manifest_without_end_is_read_no_further_than_its_bound() {
    let script = |_: &str| {
        let flood = endless("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{");
        HashMap::from([("/v2/p/manifests/1".to_owned(), flood)])
    };
    refused(script, "manifest is larger than");
}

#[test]
fn a_manifest_that_is_none_is_refused() {
    for (body, says) in [("", "cannot be read"), ("[]", "cannot be read"), ("{\"schemaVersion\":2}", "configuration")] {
        let script =
            |_: &str| HashMap::from([("/v2/p/manifests/1".to_owned(), fixed(answer("200 OK", "", body.as_bytes())))]);
        refused(script, says);
    }
}

#[test]
fn a_registry_that_says_nothing_is_waited_for_no_longer_than_the_bound() {
    let (hold, held) = channel::<()>();
    let held = std::sync::Mutex::new(held);
    let silent: Box<dyn Fn(&str, &mut TcpStream) + Send> = Box::new(move |_, _| {
        // Until the test is over.
        let _ = held.lock().unwrap().recv();
    });
    let registry = scripted(|_| HashMap::from([("/v2/p/manifests/1".to_owned(), silent)]));
    let said = pull_with(&registry, Login::Anonymous, Duration::from_millis(50)).unwrap_err().to_string();
    assert!(said.contains("took longer than 50 ms"), "{said}");
    drop(hold);
}

#[test]
fn a_redirect_that_goes_round_ends() {
    let script = |address: &str| {
        let again = format!("location: http://{address}/v2/p/manifests/1\r\n");
        HashMap::from([("/v2/p/manifests/1".to_owned(), fixed(answer("307 Temporary Redirect", &again, b"")))])
    };
    refused(script, "cannot be reached");
}

/// Where a registry sends for tokens, it lets in only who has one.
fn with_tokens(address: &str) -> Script {
    let challenge = format!(
        "www-authenticate: Bearer realm=\"http://{address}/token\",service=\"test\",scope=\"repository:p:pull\"\r\n"
    );
    let sound = answer("200 OK", "", manifest(COMPONENT.len() as u64, &digest(COMPONENT)).as_bytes());
    let strangers = answer("401 Unauthorized", &challenge, b"{}");
    let manifests: Box<dyn Fn(&str, &mut TcpStream) + Send> = Box::new(move |head, stream| {
        let known = head.to_lowercase().contains("authorization: bearer granted");
        stream.write_all(if known { &sound } else { &strangers }).unwrap();
    });
    let tokens: Box<dyn Fn(&str, &mut TcpStream) + Send> = Box::new(|head, stream| {
        // "robot:secret".
        let known = head.contains("Basic cm9ib3Q6c2VjcmV0") && head.contains("scope=repository%3Ap%3Apull");
        let whole = match known {
            true => answer("200 OK", "", br#"{"token":"granted"}"#),
            false => answer("401 Unauthorized", "", b"{}"),
        };
        stream.write_all(&whole).unwrap();
    });
    HashMap::from([
        ("/v2/p/manifests/1".to_owned(), manifests),
        ("/token".to_owned(), tokens),
        (blob_path(), fixed(answer("200 OK", "", COMPONENT))),
    ])
}

#[test]
fn a_token_is_fetched_where_the_registry_sends_for_one() {
    let registry = scripted(with_tokens);
    let login = |password: &str| Login::Password { user: "robot".to_owned(), password: password.to_owned() };
    assert_eq!(pull_with(&registry, login("secret"), PATIENCE).unwrap().bytes, COMPONENT);
    let said = pull_with(&registry, login("guess"), PATIENCE).unwrap_err().to_string();
    assert!(said.contains("check user, password") && !said.contains("guess"), "{said}");
    let said = pull_with(&registry, Login::Anonymous, PATIENCE).unwrap_err().to_string();
    assert!(said.contains("give it credentials"), "{said}");
    let token = Login::Token("granted".to_owned());
    assert_eq!(pull_with(&registry, token, PATIENCE).unwrap().bytes, COMPONENT);
}
