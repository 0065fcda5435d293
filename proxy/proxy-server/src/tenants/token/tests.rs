//! Which tokens count: signed by a key of the set, by an algorithm that is allowed, for us, now.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, Sender, channel};

use base64::Engine;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair, RsaPublicKeyComponents,
};
use serde_json::json;

use super::*;

const NOW: u64 = 1_700_000_000;

/// Made for these tests (`openssl genpkey -algorithm RSA -outform DER`): ring signs with RSA, but makes no such keys.
const RSA: &[u8] = include_bytes!("rsa2048.der");

/// An issuer with a key pair of each kind.
struct Issuer {
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
    rsa: RsaKeyPair,
    folder: tempfile::TempDir,
}

fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

impl Issuer {
    fn new() -> Issuer {
        let chance = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &chance).unwrap();
        let p256 = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &chance).unwrap();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&chance).unwrap();
        let ed25519 = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let rsa = RsaKeyPair::from_der(RSA).unwrap();
        Issuer { p256, ed25519, rsa, folder: tempfile::tempdir().unwrap() }
    }

    /// The RSA key's numbers, as key sets have them.
    fn rsa_key(&self, more: &Value) -> Value {
        let RsaPublicKeyComponents { n, e } = RsaPublicKeyComponents::<Vec<u8>>::from(self.rsa.public());
        let mut key = json!({"kty": "RSA", "n": encoded(&n), "e": encoded(&e)});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key
    }

    fn keys(&self) -> Value {
        let point = self.p256.public_key().as_ref();
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "p", "use": "sig", "alg": "ES256",
             "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "e", "x": encoded(self.ed25519.public_key().as_ref())},
            {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
            self.rsa_key(&json!({"kid": "r"})),
            self.rsa_key(&json!({"kid": "only-rs", "alg": "RS256"})),
            self.rsa_key(&json!({"kid": "for-secrets", "use": "enc"})),
            self.rsa_key(&json!({"kid": "to-sign", "key_ops": ["sign"]})),
        ]})
    }

    fn rules(&self, keys: &Value) -> TokenRules {
        let file = self.folder.path().join("jwks.json");
        std::fs::write(&file, keys.to_string()).unwrap();
        TokenRules {
            issuer: "https://id.example".to_owned(),
            audience: "headworks".to_owned(),
            algorithms: vec![Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256, Algorithm::PS256],
            tenant_claim: "tenant".to_owned(),
            leeway_s: 30,
            any_tenant: false,
            keys: KeySource::File(file),
            refresh_ms: 1000,
        }
    }

    fn sign(&self, head: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", encoded(head.to_string().as_bytes()), encoded(claims.to_string().as_bytes()));
        let signature = match head["alg"].as_str() {
            Some("EdDSA") => self.ed25519.sign(message.as_bytes()).as_ref().to_vec(),
            Some("RS256") => self.sign_rsa(&RSA_PKCS1_SHA256, &message),
            Some("PS256") => self.sign_rsa(&RSA_PSS_SHA256, &message),
            // With what everybody knows, as if it were a secret.
            Some("HS256") => {
                let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, self.ed25519.public_key().as_ref());
                ring::hmac::sign(&key, message.as_bytes()).as_ref().to_vec()
            }
            Some("none") => Vec::new(),
            _ => self.p256.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", encoded(&signature))
    }

    fn sign_rsa(&self, how: &'static dyn RsaEncoding, message: &str) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public().modulus_len()];
        self.rsa.sign(how, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        signature
    }
}

fn head() -> Value {
    json!({"alg": "ES256", "kid": "p", "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": "https://id.example", "aud": ["other", "headworks"], "exp": NOW + 60, "nbf": NOW - 5, "tenant": "acme"})
}

#[track_caller]
fn check(head: &Value, claims: &Value, expected: Result<&str, &str>) {
    let issuer = Issuer::new();
    let tokens = Tokens::open(issuer.rules(&issuer.keys())).unwrap();
    let token = issuer.sign(head, claims);
    for _ in 0..2 {
        match (tokens.tenant(&token, NOW), expected) {
            (Ok(tenant), Ok(name)) => assert_eq!(&*tenant, name),
            (Err(BadToken(why)), Err(part)) => assert!(why.contains(part), "{why}"),
            (found, expected) => panic!("{found:?}, and not {expected:?}"),
        }
    }
}

#[track_caller]
fn check_with(change: impl Fn(&mut Value, &mut Value), expected: Result<&str, &str>) {
    let (mut head, mut claims) = (head(), claims());
    change(&mut head, &mut claims);
    check(&head, &claims, expected);
}

#[test]
fn a_sound_token_names_its_tenant() {
    check_with(|_, _| {}, Ok("acme"));
    check_with(|_, claims| claims["aud"] = json!("headworks"), Ok("acme"));
    check_with(|head, _| *head = json!({"alg": "EdDSA", "kid": "e"}), Ok("acme"));
    check_with(|head, _| *head = json!({"alg": "ES256"}), Ok("acme"));
    check_with(|head, _| *head = json!({"alg": "RS256", "kid": "r"}), Ok("acme"));
    check_with(|head, _| *head = json!({"alg": "PS256", "kid": "r"}), Ok("acme"));
    check_with(|head, _| *head = json!({"alg": "RS256", "kid": "only-rs"}), Ok("acme"));
    check_with(|head, _| *head = json!({"alg": "PS256"}), Ok("acme"));
}

#[test]
fn who_says_what_it_should_not_is_refused() {
    check_with(|head, _| head["alg"] = json!("none"), Err("algorithm"));
    check_with(|head, _| head["alg"] = json!("HS256"), Err("algorithm"));
    check_with(|head, _| *head = json!({"alg": "HS256", "kid": "e"}), Err("algorithm"));
    check_with(|head, _| head["alg"] = json!("None"), Err("algorithm"));
    check_with(|head, _| head["alg"] = json!("es256"), Err("algorithm"));
    check_with(|head, _| head["alg"] = json!("RS512"), Err("algorithm"));
    check_with(|head, _| head["alg"] = json!(["ES256"]), Err("cannot be read"));
    check_with(|head, _| head["alg"] = json!("RS256"), Err("signature is wrong"));
    check_with(|head, _| *head = json!({"alg": "PS256", "kid": "only-rs"}), Err("signature is wrong"));
    check_with(|head, _| *head = json!({"alg": "RS256", "kid": "for-secrets"}), Err("key that signed it"));
    check_with(|head, _| *head = json!({"alg": "RS256", "kid": "to-sign"}), Err("key that signed it"));
    check_with(|head, _| head["kid"] = json!("../../etc/passwd"), Err("key that signed it"));
    check_with(|head, _| head["kid"] = json!("p' OR '1'='1"), Err("key that signed it"));
    check_with(|head, _| head["kid"] = json!(""), Err("key that signed it"));
    check_with(|head, _| head["kid"] = json!(["p"]), Err("cannot be read"));
    // Keys that the token brings with it are nobody's.
    check_with(|head, _| *head = json!({"alg": "ES256", "kid": "x", "jwk": {}, "jku": "http://e/"}), Err("key that"));
    check_with(|head, _| head["kid"] = json!("secret"), Err("key that signed it"));
    check_with(|head, _| head["kid"] = json!("e"), Err("signature is wrong"));
    check_with(|head, _| head["crit"] = json!(["exp"]), Err("extensions"));
    check_with(|_, claims| claims["iss"] = json!("https://evil.example"), Err("issuer"));
    check_with(|_, claims| claims["aud"] = json!("other"), Err("audience"));
    check_with(|_, claims| drop(claims.as_object_mut().unwrap().remove("aud")), Err("audience"));
    check_with(|_, claims| drop(claims.as_object_mut().unwrap().remove("exp")), Err("no `exp`"));
    check_with(|_, claims| claims["exp"] = json!("9999999999"), Err("cannot be read"));
    check_with(|_, claims| claims["exp"] = json!(NOW - 31), Err("expired"));
    check_with(|_, claims| claims["exp"] = json!(NOW - 29), Ok("acme"));
    check_with(|_, claims| claims["exp"] = json!(-1), Err("expired"));
    check_with(|_, claims| claims["exp"] = json!(1e300), Ok("acme"));
    check_with(|_, claims| claims["exp"] = Value::Null, Err("no `exp`"));
    check_with(|_, claims| claims["nbf"] = json!(NOW + 31), Err("not valid yet"));
    check_with(|_, claims| claims["nbf"] = json!(NOW + 29), Ok("acme"));
    check_with(|_, claims| claims["nbf"] = json!("soon"), Err("cannot be read"));
    check_with(|_, claims| claims["iss"] = json!(["https://id.example"]), Err("cannot be read"));
    check_with(|_, claims| claims["iss"] = json!("https://id.example/"), Err("issuer"));
    check_with(|_, claims| claims["aud"] = json!([]), Err("audience"));
    check_with(|_, claims| claims["aud"] = json!("headworks-admin"), Err("audience"));
    check_with(|_, claims| claims["aud"] = json!({"headworks": true}), Err("cannot be read"));
    check_with(|_, claims| claims["tenant"] = json!("anonymous"), Err("no tenant"));
    check_with(|_, claims| claims["tenant"] = json!("a\nb"), Err("no tenant"));
    check_with(|_, claims| claims["more"] = json!("x".repeat(TOKEN_BYTES_MAX)), Err("too long"));
    check_with(|_, claims| claims["tenant"] = json!(["acme"]), Err("no tenant"));
    check_with(|_, claims| claims["tenant"] = json!(""), Err("no tenant"));
}

#[test]
fn a_changed_token_does_not_count() {
    let issuer = Issuer::new();
    let tokens = Tokens::open(issuer.rules(&issuer.keys())).unwrap();
    let token = issuer.sign(&head(), &claims());
    let mut others = claims();
    others["tenant"] = json!("rich");
    let [head, _, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let forged = format!("{head}.{}.{signature}", encoded(others.to_string().as_bytes()));
    assert_eq!(tokens.tenant(&forged, NOW), Err(BadToken("its signature is wrong")));
    assert_eq!(tokens.tenant(&format!("{head}.{signature}."), NOW).unwrap_err(), BadToken("its signature is wrong"));
    assert!(tokens.tenant(&format!("{token}=="), NOW).is_err());
}

#[test]
fn a_token_that_counted_ends_with_its_time_and_with_its_key() {
    let issuer = Issuer::new();
    let rules = issuer.rules(&issuer.keys());
    let tokens = Tokens::open(rules.clone()).unwrap();
    let token = issuer.sign(&head(), &claims());
    assert!(tokens.tenant(&token, NOW).is_ok());
    assert_eq!(tokens.tenant(&token, NOW + 91), Err(BadToken("it has expired; get a new one")));
    let other = Issuer::new();
    let KeySource::File(file) = &rules.keys else { panic!("a file") };
    std::fs::write(file, other.keys().to_string()).unwrap();
    tokens.look(1000);
    assert_eq!(tokens.tenant(&token, NOW), Err(BadToken("its signature is wrong")));
    assert!(tokens.tenant(&other.sign(&head(), &claims()), NOW).is_ok());
}

#[test]
fn only_what_looks_like_a_token_is_one() {
    assert!(Tokens::is_one("eyJhbGciOiJub25lIn0.e30."));
    assert!(!Tokens::is_one("hw-abc"));
    assert!(!Tokens::is_one("eyJhbGciOiJub25lIn0.e30"));
}

#[test]
fn a_claim_that_is_said_twice_does_not_count() {
    let issuer = Issuer::new();
    let tokens = Tokens::open(issuer.rules(&issuer.keys())).unwrap();
    let sign = |head: &str, claims: &str| {
        let message = format!("{}.{}", encoded(head.as_bytes()), encoded(claims.as_bytes()));
        format!("{message}.{}", encoded(issuer.ed25519.sign(message.as_bytes()).as_ref()))
    };
    let sound = r#"{"iss":"https://id.example","aud":"headworks","exp":9999999999,"tenant":"acme""#;
    let (head, unread) = (r#"{"alg":"EdDSA","kid":"e"}"#, BadToken("its head or claims cannot be read"));
    assert!(tokens.tenant(&sign(head, &format!("{sound}}}")), NOW).is_ok());
    assert_eq!(tokens.tenant(&sign(head, &format!(r#"{sound},"exp":1}}"#)), NOW), Err(unread));
    assert_eq!(tokens.tenant(&sign(r#"{"alg":"EdDSA","alg":"none"}"#, &format!("{sound}}}")), NOW), Err(unread));
    let deep = format!(r#"{sound},"x":{}"#, "[".repeat(4000));
    assert_eq!(tokens.tenant(&sign(head, &deep), NOW), Err(unread));
}

#[test]
fn a_token_that_names_no_key_has_few_tried_on_it() {
    let issuer = Issuer::new();
    let others: Vec<Value> = (0..TRIED_MAX)
        .map(|_| json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(Issuer::new().ed25519.public_key().as_ref())}))
        .collect();
    let mut keys = issuer.keys();
    keys["keys"].as_array_mut().unwrap().splice(0..0, others);
    let tokens = Tokens::open(issuer.rules(&keys)).unwrap();
    let named = issuer.sign(&json!({"alg": "EdDSA", "kid": "e"}), &claims());
    assert!(tokens.tenant(&named, NOW).is_ok());
    let nameless = issuer.sign(&json!({"alg": "EdDSA"}), &claims());
    assert_eq!(tokens.tenant(&nameless, NOW), Err(BadToken("its signature is wrong")));
}

#[test]
fn weak_and_broken_keys_verify_nothing() {
    let issuer = Issuer::new();
    let token = issuer.sign(&json!({"alg": "RS256"}), &claims());
    for (n, e) in [(vec![0xc1; 128], vec![1, 0, 1]), (vec![1], vec![1]), (vec![0xff; 256], vec![1])] {
        let keys = json!({"keys": [{"kty": "RSA", "n": encoded(&n), "e": encoded(&e)}]});
        let tokens = Tokens::open(issuer.rules(&keys)).unwrap();
        assert_eq!(tokens.tenant(&token, NOW), Err(BadToken("its signature is wrong")));
    }
    for keys in [json!({"keys": []}), json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}), json!([])] {
        assert!(Tokens::open(issuer.rules(&keys)).is_err());
    }
}

/// A server of key sets that says what it is told to, once each, and tells how often it was asked.
struct KeyServer {
    url: String,
    says: Sender<String>,
    asked: Receiver<()>,
}

impl KeyServer {
    fn start() -> KeyServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let ((says, answers), (asks, asked)) = (channel::<String>(), channel());
        std::thread::spawn(move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                // Its head, to the empty line.
                let lines = BufReader::new(stream.try_clone().unwrap()).lines();
                lines.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
                asks.send(()).unwrap();
                // Whoever does not like the answer may leave before it is over.
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        KeyServer { url, says, asked }
    }

    fn says(&self, status: &str, body: &str) {
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
        self.says.send(head + body).unwrap();
    }

    fn was_asked(&self) -> usize {
        self.asked.try_iter().count()
    }
}

#[test]
fn keys_of_a_server_are_got_when_it_is_time_or_a_token_wants_them_and_kept_when_they_cannot_be_had() {
    let (issuer, other, server) = (Issuer::new(), Issuer::new(), KeyServer::start());
    let url = KeySource::Url { url: server.url.clone(), https_only: false };
    let rules = TokenRules { keys: url, refresh_ms: 60_000, ..issuer.rules(&issuer.keys()) };
    // It is not there yet, which is no reason not to start.
    server.says("503 Service Unavailable", "");
    let tokens = Tokens::open(rules).unwrap();
    let token = issuer.sign(&json!({"alg": "RS256", "kid": "r"}), &claims());
    let unknown = Err(BadToken("the key that signed it is not known here"));
    assert_eq!(tokens.tenant(&token, NOW), unknown);
    server.says("200 OK", &issuer.keys().to_string());
    tokens.look(RETRY_MS - 1);
    tokens.look(RETRY_MS);
    assert_eq!(server.was_asked(), 2, "once at the start, once when it was time to try again");
    assert!(tokens.tenant(&token, NOW).is_ok());

    // Another key, of which nothing is known, is looked for, though not at every such token.
    let mut rotated = other.keys();
    rotated["keys"][1]["kid"] = json!("new");
    let new = other.sign(&json!({"alg": "EdDSA", "kid": "new"}), &claims());
    assert_eq!(tokens.tenant(&new, NOW), unknown);
    server.says("200 OK", &rotated.to_string());
    tokens.look(2 * RETRY_MS - 1);
    tokens.look(2 * RETRY_MS);
    tokens.look(3 * RETRY_MS);
    assert_eq!(server.was_asked(), 1);
    assert!(tokens.tenant(&new, NOW).is_ok());

    // What cannot be used changes nothing: an error, no key set, an empty one, one without end.
    let endless = format!(r#"{{"keys":[{}"#, " ".repeat(2 << 20));
    for (number, (status, body)) in
        [("500 Oops", "{}"), ("200 OK", "<html>"), ("200 OK", r#"{"keys":[]}"#), ("200 OK", &endless)]
            .into_iter()
            .enumerate()
    {
        server.says(status, body);
        tokens.look(2 * RETRY_MS + 60_000 * (number as u64 + 1));
        assert_eq!(server.was_asked(), 1);
        assert!(tokens.tenant(&new, NOW).is_ok());
    }
    // What goes by, goes: a key that is no more ends its tokens with it.
    server.says("200 OK", &issuer.keys().to_string());
    tokens.look(2 * RETRY_MS + 60_000 * 5);
    assert_eq!(tokens.tenant(&new, NOW), unknown);
}
