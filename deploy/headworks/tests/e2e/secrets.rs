//! No key, token or password is in a span, a log, a metric, a file that the proxy writes, or what the admin port tells.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::http::{self, chat};
use crate::processes::{Server, engine, folder, headworks, wait_for};
use crate::traces::Collector;

/// What must be nowhere; each is long enough not to be met by chance.
const ADMIN: &str = "admin-hunter2-9f1c";
const REGISTER: &str = "register-hunter2-77ab";
const WRONG: &str = "hw-wrong-hunter2-51d0";
const OCI: &str = "oci-hunter2-3e02";

fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// A key set, and a token that its key signed.
fn issued() -> (String, String) {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref())}]});
    let claims = json!({"iss": "https://id.example", "aud": "headworks", "exp": u32::MAX, "tenant": "acme"});
    let message = format!("{}.{}", encoded(br#"{"alg":"EdDSA"}"#), encoded(claims.to_string().as_bytes()));
    (keys.to_string(), format!("{message}.{}", encoded(pair.sign(message.as_bytes()).as_ref())))
}

/// A key and its digest, as `headworks key new` prints them.
fn new_key() -> (String, String) {
    let made = headworks().args(["key", "new"]).output().unwrap();
    let text = String::from_utf8(made.stdout).unwrap();
    let word = |begins: fn(&str) -> bool| {
        let word = text.split(|c: char| c.is_whitespace() || c == '"').find(|word| begins(word));
        word.unwrap_or_else(|| panic!("not in {text}")).to_owned()
    };
    let is_digest = |word: &str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    (word(|word| word.starts_with("hw-")), word(is_digest))
}

fn get(url: &str, token: &str) -> String {
    let answer = http::agent().get(url).header("authorization", format!("Bearer {token}")).call().unwrap();
    answer.into_body().read_to_string().unwrap()
}

fn ask(proxy: &Server, (header, value): (&str, String), stream: bool) -> u16 {
    let request = http::agent().post(format!("{}/v1/chat/completions", proxy.url));
    let request = request.header("content-type", "application/json").header(header, value);
    let answer = request.send(chat("hello", 3, stream).to_string()).unwrap();
    let status = answer.status().as_u16();
    answer.into_body().read_to_string().unwrap();
    status
}

#[test]
fn no_secret_leaves_the_proxy() {
    let (collector, folder) = (Collector::start(), folder());
    let endpoint = format!("http://{}", collector.http);
    let mut engine = engine(&["--otlp-endpoint", &endpoint, "--otlp-protocol", "http"]);
    let ((keys, token), (key, digest)) = (issued(), new_key());
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("jwks.json"), keys).unwrap();
    std::fs::write(path("token"), ADMIN).unwrap();
    let config = format!(
        "listen = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\ntoken_file = \"token\"\n\
         register_token_env = \"TEST_REGISTER\"\n[telemetry]\notlp_endpoint = \"{endpoint}\"\n\
         [access_log]\nfile = \"access.jsonl\"\n[recording]\nfolder = \"recordings\"\nprompts = true\n\
         [tenants]\nused_file = \"used.json\"\n[[oci.login]]\nregistry = \"r.example\"\nusername = \"u\"\n\
         password_env = \"TEST_OCI\"\n[jwt]\nissuer = \"https://id.example\"\naudience = \"headworks\"\n\
         jwks_file = \"jwks.json\"\n[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{digest}\"]\n\
         [[replica]]\nname = \"us-0\"\nurl = \"{}\"\n",
        engine.url
    );
    std::fs::write(path("proxy.toml"), &config).unwrap();
    let mut command = headworks();
    command.args(["--log-format", "json", "proxy", "--config"]).arg(path("proxy.toml"));
    command.env("RUST_LOG", "trace").env("TEST_REGISTER", REGISTER).env("TEST_OCI", OCI);
    let mut proxy = Server::start(&mut command);
    wait_for("the proxy to be ready", || (http::get(&format!("{}/readyz", proxy.admin)).status == 200).then_some(()));
    let recording = format!("{}/admin/v1/recording", proxy.admin);
    http::agent().post(&recording).header("authorization", format!("Bearer {ADMIN}")).send(r#"{"on":true}"#).unwrap();

    for stream in [false, true] {
        assert_eq!(ask(&proxy, ("authorization", format!("Bearer {key}")), stream), 200);
        assert_eq!(ask(&proxy, ("x-api-key", key.clone()), stream), 200);
        assert_eq!(ask(&proxy, ("authorization", format!("Bearer {token}")), stream), 200);
        assert_eq!(ask(&proxy, ("authorization", format!("Bearer {WRONG}")), stream), 401);
        assert_eq!(ask(&proxy, ("authorization", format!("Bearer {token}x")), stream), 401);
    }
    let register = format!("{}/admin/v1/replicas", proxy.admin);
    let lease = json!({"name": "us-1", "url": engine.url, "lease_ms": 60_000}).to_string();
    http::agent().post(&register).header("authorization", format!("Bearer {REGISTER}")).send(lease).unwrap();
    // A secret where it does not belong is told of, and not told.
    std::fs::write(path("proxy.toml"), format!("{config}password = \"{OCI}\"\n")).unwrap();
    wait_for("the refusal", || {
        get(&format!("{}/admin/v1/reload", proxy.admin), ADMIN).contains("password").then_some(())
    });

    let mut all = String::new();
    let pages = "fleet traffic policies decisions recording region tenants replicas discovery queue reload";
    for page in pages.split(' ') {
        all += &get(&format!("{}/admin/v1/{page}", proxy.admin), ADMIN);
    }
    all += &get(&format!("{}/metrics", proxy.admin), ADMIN);
    all += &get(&format!("{}/metrics", proxy.admin), WRONG);
    assert!(proxy.stop() && engine.stop(), "both end well and flush");
    let (said, engine_said) = (proxy.logged(), engine.logged());
    let received =
        wait_for("the spans", || Some(collector.received()).filter(|spans| spans.matches("relay").count() >= 6));
    all += &[said.as_str(), &engine_said, &received].join("\n");
    let recordings = std::fs::read_dir(path("recordings")).unwrap().map(|entry| entry.unwrap().path());
    for file in [path("access.jsonl"), path("used.json")].into_iter().chain(recordings) {
        all += &String::from_utf8_lossy(&std::fs::read(&file).unwrap());
    }
    for mark in ["invalid_api_key", "\"acme\"", "gen_ai.request.model", "tokens_total", "configuration"] {
        assert!(all.contains(mark), "there is something to look through: {mark}");
    }
    let (_, signature) = token.rsplit_once('.').unwrap();
    for secret in [&key, &token, signature, WRONG, ADMIN, REGISTER, OCI] {
        let at = all
            .find(secret)
            .map(|at| String::from_utf8_lossy(&all.as_bytes()[at.saturating_sub(200)..at]).into_owned());
        assert_eq!(at, None, "{secret} is shown");
    }
    let lines = std::fs::read_to_string(path("access.jsonl")).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().filter(|line| line["tenant"] == "acme" && line["status"] == 200).count(), 6);
}
