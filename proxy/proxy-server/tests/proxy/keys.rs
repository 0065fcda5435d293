//! Tenants and their keys while the proxy runs: from a file, over the admin API, by tokens; what they may, and spend.

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::fixture::{CHAT, Proxy, Replica, body, replicas, shown, text};

const CHATS: &str = "/v1/chat/completions";
/// Of the key `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";
/// Of the token `read-token`.
const READ: &str = "sha256 = \"%READ%\"";

async fn ask(proxy: &Proxy, key: &str) -> Response<Incoming> {
    let mut request = proxy.request(Method::POST, CHATS, CHAT);
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    proxy.send(request).await
}

async fn get(proxy: &Proxy, path: &str, key: &str) -> Response<Incoming> {
    let mut request = proxy.request(Method::GET, path, "");
    request.headers_mut().insert("x-api-key", key.parse().unwrap());
    proxy.send(request).await
}

async fn json_of(answer: Response<Incoming>) -> Value {
    serde_json::from_slice(&body(answer).await).unwrap()
}

fn with_file(folder: &Path, list: &[&Replica]) -> String {
    format!("[tenants]\nfile = {:?}\n{}", folder.join("tenants.toml"), replicas(list.iter().copied()))
}

#[tokio::test]
async fn keys_come_and_go_over_the_admin_api() {
    let folder = tempfile::tempdir().unwrap();
    let mut replica = Replica::start().await;
    replica.answer_all("{}");
    let lines = with_file(folder.path(), &[&replica]);
    let mut proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    assert_eq!(ask(&proxy, "secret").await.status(), StatusCode::UNAUTHORIZED, "nobody is a tenant yet");

    let unknown = proxy.admin(Method::POST, "/admin/v1/tenants/acme/keys", "").await;
    assert_eq!(unknown.status(), StatusCode::NOT_FOUND);
    let rules = r#"{"priority":2,"budget":{"requests_per_day":1000}}"#;
    assert_eq!(proxy.admin(Method::PUT, "/admin/v1/tenants/acme", rules).await.status(), StatusCode::OK);
    let made = proxy.admin(Method::POST, "/admin/v1/tenants/acme/keys", "").await;
    assert_eq!(made.status(), StatusCode::CREATED);
    let made = json_of(made).await;
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    assert_eq!(ask(&proxy, key).await.status(), StatusCode::OK);

    let tenants = proxy.document("/admin/v1/tenants").await;
    assert_eq!(tenants["tenants"][0]["keys"], json!([{"id": id}]));
    assert_eq!(tenants["tenants"][0]["used"]["requests_today"], 1);
    let written = std::fs::read_to_string(folder.path().join("tenants.toml")).unwrap();
    assert!(!tenants.to_string().contains(key) && !written.contains(key), "a key is shown once");

    // What was written is what the next proxy goes by.
    proxy.stop().await.unwrap().unwrap();
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    assert_eq!(ask(&proxy, key).await.status(), StatusCode::OK);
    assert_eq!(proxy.document("/admin/v1/tenants").await["tenants"][0]["used"]["requests_today"], 2);
    let path = format!("/admin/v1/tenants/acme/keys/{id}");
    assert_eq!(proxy.admin(Method::DELETE, &path, "").await.status(), StatusCode::OK);
    assert_eq!(ask(&proxy, key).await.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(proxy.admin(Method::DELETE, &path, "").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(proxy.admin(Method::DELETE, "/admin/v1/tenants/acme", "").await.status(), StatusCode::OK);
    assert_eq!(proxy.document("/admin/v1/tenants").await["tenants"], json!([]));
}

#[tokio::test]
async fn a_file_that_changes_is_read_again_and_one_that_is_wrong_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenants.toml");
    let mut replica = Replica::start().await;
    replica.answer_all("{}");
    let proxy = Proxy::start(&with_file(folder.path(), &[&replica])).await;
    proxy.until_healthy(1).await;
    std::fs::write(&file, format!("[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{SECRET}\"]\n")).unwrap();
    while ask(&proxy, "secret").await.status() != StatusCode::OK {}
    std::fs::write(&file, "[[tenant]]\nname = 3\n").unwrap();
    let refused = proxy.admin(Method::PUT, "/admin/v1/tenants/acme", r#"{"models":"all"}"#).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(&proxy, "secret").await.status(), StatusCode::OK);
    std::fs::write(&file, "").unwrap();
    while ask(&proxy, "secret").await.status() != StatusCode::UNAUTHORIZED {}
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_so_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut replica = Replica::start().await;
    replica.answer_all(r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#);
    let lines = format!(
        "[tenants]\nused_file = {:?}\n[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{SECRET}\"]\n\
         budget = {{ tokens_total = 7 }}\n{}",
        folder.path().join("used.json"),
        replicas([&replica])
    );
    let mut proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    // What does not exist costs nothing.
    let mut unknown = proxy.request(Method::POST, CHATS, CHAT.replace("tiny", "other"));
    unknown.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
    assert_eq!(proxy.send(unknown).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(text(ask(&proxy, "secret").await).await, r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#);
    proxy.until("decisions", |all| all[0]["outcome"] == "finished").await;
    let used = proxy.document("/admin/v1/tenants").await["tenants"][0]["used"].clone();
    assert_eq!(used, json!({"requests_today": 1, "tokens_today": 7, "tokens_total": 7, "tokens_reserved": 0}));
    proxy.stop().await.unwrap().unwrap();
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    insta::assert_snapshot!(shown(ask(&proxy, "secret").await).await);
    assert_eq!(get(&proxy, "/v1/models", "secret").await.status(), StatusCode::OK, "to look costs nothing");
}

#[tokio::test]
async fn requests_that_are_in_flight_together_keep_the_budget() {
    let mut replica = Replica::start().await;
    let lines = format!(
        "[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{SECRET}\"]\nbudget = {{ tokens_total = 100 }}\n{}",
        replicas([&replica])
    );
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    // One token of a prompt, and what it lets be made.
    let wanting = async |more: &str| {
        let body = CHAT.replace("]}", &format!("],{more}}}"));
        let mut request = proxy.request(Method::POST, CHATS, body);
        request.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
        proxy.send(request).await
    };
    let reserved =
        async || proxy.document("/admin/v1/tenants").await["tenants"][0]["used"]["tokens_reserved"].as_u64().unwrap();
    let (first, refused) = tokio::join!(wanting(r#""max_tokens":29,"n":2"#), async {
        let first = replica.asked().await;
        assert_eq!(reserved().await, 59);
        let refused = shown(wanting(r#""max_tokens":41"#).await).await;
        let too_large = shown(wanting(r#""max_tokens":100"#).await).await;
        let (second, ()) = tokio::join!(wanting(r#""max_tokens":40"#), async {
            let second = replica.asked().await;
            assert_eq!(reserved().await, 100);
            second.answer(200, r#"{"usage":{"prompt_tokens":1,"completion_tokens":9}}"#);
        });
        assert_eq!(body(second).await.len(), 51);
        first.answer(200, r#"{"usage":{"prompt_tokens":1,"completion_tokens":20}}"#);
        format!("{refused}\n\n{too_large}")
    });
    assert_eq!(body(first).await.len(), 52);
    proxy.until("decisions", |all| all.as_array().unwrap().iter().all(|one| one["outcome"] == "finished")).await;
    let used = proxy.document("/admin/v1/tenants").await["tenants"][0]["used"].clone();
    assert_eq!(used, json!({"requests_today": 2, "tokens_today": 31, "tokens_total": 31, "tokens_reserved": 0}));
    insta::assert_snapshot!(refused);
}

#[tokio::test]
async fn a_days_budget_says_when_there_is_more() {
    let mut replica = Replica::start().await;
    replica.answer_all("{}");
    let lines = format!(
        "[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{SECRET}\"]\nbudget = {{ requests_per_day = 1 }}\n{}",
        replicas([&replica])
    );
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    assert_eq!(ask(&proxy, "secret").await.status(), StatusCode::OK);
    let refused = ask(&proxy, "secret").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let retry_after_s: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(retry_after_s <= 24 * 60 * 60);
    let said = json_of(refused).await;
    assert_eq!(said["error"]["code"], "budget_exceeded");
    assert!(said["error"]["message"].as_str().unwrap().contains("requests_per_day is 1"), "{said}");
}

#[tokio::test]
async fn a_tenant_sees_its_own_models_and_no_others() {
    let mut replica = Replica::serving(&["tiny", "big-1", "big-2"]).await;
    replica.answer_all("{}");
    let lines = format!(
        "[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{SECRET}\"]\nmodels = [\"big-*\"]\n{}",
        replicas([&replica])
    );
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    let models = json_of(get(&proxy, "/v1/models", "secret").await).await;
    let ids: Vec<&str> = models["data"].as_array().unwrap().iter().filter_map(|model| model["id"].as_str()).collect();
    assert_eq!(ids, ["big-1", "big-2"]);
    assert_eq!(get(&proxy, "/v1/models/tiny", "secret").await.status(), StatusCode::NOT_FOUND);
    let refused = json_of(ask(&proxy, "secret").await).await;
    assert_eq!(refused["error"]["code"], "model_not_found");
    let mut allowed = proxy.request(Method::POST, CHATS, CHAT.replace("tiny", "big-1"));
    allowed.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
    assert_eq!(proxy.send(allowed).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_role_bounds_what_an_admin_token_may() {
    let digest = |token: &str| {
        let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let token = |name: &str, role: &str| {
        let line = READ.replace("%READ%", &digest(name));
        format!("[[admin.token]]\nname = \"{name}\"\n{line}\nrole = \"{role}\"\n")
    };
    let proxy = Proxy::start(&format!("{}{}", token("watch", "read"), token("drive", "operate"))).await;
    let path = "/admin/v1/tenants/acme";
    let status = async |token: &str, method: Method, path: &str| {
        proxy.admin_as(token, method, path, "{}").await.status().as_u16()
    };
    assert_eq!(status("watch", Method::GET, "/metrics").await, 200);
    assert_eq!(status("drive", Method::GET, "/metrics").await, 200);
    assert_eq!(status("other", Method::GET, "/metrics").await, 401);
    assert_eq!(status("watch", Method::PUT, path).await, 403);
    assert_eq!(status("other", Method::PUT, path).await, 401);
    assert_eq!(status("drive", Method::PUT, path).await, 409, "there is no file to write it to");
}

/// An identity provider's key pair, its key set in a file, and a token that it signed.
fn issued(folder: &Path, claims: &Value) -> String {
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let encoded = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": encoded(pair.public_key().as_ref())}]});
    std::fs::write(folder.join("jwks.json"), keys.to_string()).unwrap();
    let head = json!({"alg": "EdDSA", "typ": "JWT"});
    let message = format!("{}.{}", encoded(head.to_string().as_bytes()), encoded(claims.to_string().as_bytes()));
    format!("{message}.{}", encoded(pair.sign(message.as_bytes()).as_ref()))
}

fn jwt_lines(folder: &Path) -> String {
    format!(
        "[jwt]\nissuer = \"https://id.example\"\naudience = \"headworks\"\njwks_file = {:?}\n\
         [[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{SECRET}\"]\n",
        folder.join("jwks.json")
    )
}

#[tokio::test]
async fn a_token_of_the_identity_provider_is_as_good_as_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let claims = json!({"iss": "https://id.example", "aud": "headworks", "exp": u32::MAX, "tenant": "acme"});
    let token = issued(folder.path(), &claims);
    let mut replica = Replica::start().await;
    replica.answer_all("{}");
    let proxy = Proxy::start(&format!("{}{}", jwt_lines(folder.path()), replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    assert_eq!(ask(&proxy, &token).await.status(), StatusCode::OK);
    assert_eq!(ask(&proxy, "secret").await.status(), StatusCode::OK);
    let decisions = proxy.document("/admin/v1/decisions").await;
    assert_eq!(decisions["decisions"][0]["tenant"], "acme");
    let (start, _) = token.rsplit_once('.').unwrap();
    insta::assert_snapshot!(shown(ask(&proxy, &format!("{start}.AAAA")).await).await);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_secret_is_in_a_log_or_at_the_admin_port() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("trace")
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _here = tracing::subscriber::set_default(subscriber);
    let folder = tempfile::tempdir().unwrap();
    let claims = json!({"iss": "https://id.example", "aud": "headworks", "exp": u32::MAX, "tenant": "acme"});
    let token = issued(folder.path(), &claims);
    let mut replica = Replica::start().await;
    replica.answer_all("{}");
    let config = format!(
        "admin.token_file = {:?}\n{}{}",
        folder.path().join("token"),
        jwt_lines(folder.path()),
        replicas([&replica])
    );
    std::fs::write(folder.path().join("token"), "admin-hunter2").unwrap();
    let mut proxy = Proxy::start(&config).await;
    let admin = async |path: &str| text(proxy.admin_as("admin-hunter2", Method::GET, path, "").await).await;
    while !admin("/admin/v1/fleet").await.contains("\"healthy\"") {}
    let secrets = ["secret", "wrong-hunter2", token.as_str(), "admin-hunter2"];
    for key in &secrets[..3] {
        ask(&proxy, key).await;
        get(&proxy, "/v1/models", key).await;
    }
    assert_eq!(proxy.admin_as("wrong-hunter2", Method::GET, "/metrics", "").await.status(), StatusCode::UNAUTHORIZED);
    let mut all = String::new();
    for path in ["fleet", "traffic", "policies", "decisions", "recording", "region", "tenants"] {
        all += &admin(&format!("/admin/v1/{path}")).await;
    }
    all += &admin("/metrics").await;
    proxy.stop().await.unwrap().unwrap();
    all += &String::from_utf8(std::mem::take(&mut *lines.0.lock().unwrap())).unwrap();
    assert!(all.contains("healthy") && all.len() > 10_000, "there is something to look through");
    for secret in secrets {
        let at = all.find(&format!("{secret}\"")).or_else(|| all.find(&format!(" {secret}")));
        assert_eq!(at.map(|at| &all[at.saturating_sub(80)..at]), None, "{secret} is shown");
    }
    assert!(!all.contains(&token) && !all.contains("hunter2"));
}
