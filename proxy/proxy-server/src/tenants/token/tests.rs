//! Which tokens count: signed by a key of the set, by an algorithm that is allowed, for us, now.

use base64::Engine;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::json;

use super::*;

const NOW: u64 = 1_700_000_000;

/// An issuer with a key pair of each curve.
struct Issuer {
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
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
        Issuer { p256, ed25519, folder: tempfile::tempdir().unwrap() }
    }

    fn keys(&self) -> Value {
        let point = self.p256.public_key().as_ref();
        json!({"keys": [
            {"kty": "EC", "crv": "P-256", "kid": "p", "use": "sig", "alg": "ES256",
             "x": encoded(&point[1..33]), "y": encoded(&point[33..])},
            {"kty": "OKP", "crv": "Ed25519", "kid": "e", "x": encoded(self.ed25519.public_key().as_ref())},
            {"kty": "oct", "kid": "secret", "k": "c2VjcmV0"},
        ]})
    }

    fn rules(&self, keys: &Value) -> TokenRules {
        let file = self.folder.path().join("jwks.json");
        std::fs::write(&file, keys.to_string()).unwrap();
        TokenRules {
            issuer: "https://id.example".to_owned(),
            audience: "headworks".to_owned(),
            algorithms: vec![Algorithm::ES256, Algorithm::EdDSA],
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
            _ => self.p256.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec(),
        };
        format!("{message}.{}", encoded(&signature))
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
}

#[test]
fn who_says_what_it_should_not_is_refused() {
    check_with(|head, _| head["alg"] = json!("none"), Err("algorithm"));
    check_with(|head, _| head["alg"] = json!("HS256"), Err("algorithm"));
    check_with(|head, _| head["alg"] = json!("RS256"), Err("algorithm"));
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
    check_with(|_, claims| claims["nbf"] = json!(NOW + 31), Err("not valid yet"));
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
