//! Routes: requests go to a part of the fleet, and to policies of their own, by path, host and header.

use std::path::Path;

use http::{Method, StatusCode};

use crate::fixture::guest::{placing, replica as on_replica};
use crate::fixture::{CHAT, LISTEN, Proxy, Replica, shown, text};

const CHATS: &str = "/v1/chat/completions";

/// What one of the two says.
const ANYBODY: [&str; 2] = ["plain", "gold"];

/// Two replicas, of which each says its name; the second one is labelled `gold`.
async fn named() -> [Replica; 2] {
    let mut replicas = [Replica::start().await, Replica::start().await];
    replicas[0].answer_all("plain");
    replicas[1].answer_all("gold");
    replicas
}

fn fleet(replicas: &[Replica; 2]) -> String {
    let [plain, gold] = replicas.each_ref().map(|replica| replica.address);
    format!(
        "[[replica]]\nname = \"plain-0\"\nurl = \"http://{plain}\"\n\
         [[replica]]\nname = \"gold-0\"\nurl = \"http://{gold}\"\nlabels = {{ tier = \"gold\" }}\n"
    )
}

async fn over(replicas: &[Replica; 2], routes: &str) -> Proxy {
    let proxy = Proxy::start(&format!("{routes}{}", fleet(replicas))).await;
    proxy.until_healthy(2).await;
    proxy
}

async fn ask(proxy: &Proxy, method: Method, path: &str, headers: &[(&'static str, &str)]) -> String {
    let body = if method == Method::GET { "" } else { CHAT };
    let mut request = proxy.request(method, path, body);
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let answer = proxy.send(request).await;
    match answer.status() {
        StatusCode::OK => text(answer).await,
        status => status.as_str().to_owned(),
    }
}

const GOLD: &str =
    "[[route]]\nname = \"gold\"\nheaders = { x-tier = \"gold\" }\nreplicas = { labels = { tier = \"gold\" } }\n";

#[tokio::test]
async fn a_header_sends_a_request_to_a_part_of_the_fleet() {
    let replicas = named().await;
    let proxy = over(&replicas, GOLD).await;
    for _ in 0..8 {
        assert_eq!(ask(&proxy, Method::POST, CHATS, &[("x-tier", "gold")]).await, "gold");
    }
    // The others are anybody's.
    assert!(ANYBODY.contains(&&*ask(&proxy, Method::POST, CHATS, &[("x-tier", "silver")]).await));
}

#[tokio::test]
async fn a_host_and_a_path_do_too_and_the_first_route_counts() {
    let replicas = named().await;
    let proxy = over(
        &replicas,
        "[[route]]\nname = \"one\"\npath = \"/v1/audio/speech\"\nreplicas = { names = [\"gold-*\"] }\n\
         [[route]]\nname = \"all\"\npath = \"/v1/audio/*\"\nreplicas = { names = [\"plain-*\"] }\n\
         [[route]]\nname = \"host\"\nhosts = [\"*.gold.example\"]\nreplicas = { names = [\"gold-0\"] }\n",
    )
    .await;
    assert_eq!(ask(&proxy, Method::POST, "/v1/audio/speech", &[]).await, "gold");
    assert_eq!(ask(&proxy, Method::GET, "/v1/audio/voices", &[]).await, "plain");
    assert_eq!(ask(&proxy, Method::POST, CHATS, &[("host", "api.gold.example:8080")]).await, "gold");
    assert!(ANYBODY.contains(&&*ask(&proxy, Method::POST, CHATS, &[("host", "gold.example")]).await));
}

#[tokio::test]
async fn a_path_that_is_none_of_ours_goes_where_its_route_says() {
    let mut replicas = named().await;
    replicas[1] = Replica::serving(&["embedder"]).await;
    let route = "[[route]]\nname = \"tokenize\"\npath = \"/tokenize\"\nmodel = \"embedder\"\n";
    let proxy = over(&replicas, route).await;
    let mut request = proxy.request(Method::POST, "/tokenize?x=1", r#"{"content":"hi"}"#);
    request.headers_mut().insert("x-own", "kept".parse().unwrap());
    let (answer, ()) = tokio::join!(proxy.send(request), async {
        let asked = replicas[1].asked().await;
        assert_eq!(asked.head.uri, "/tokenize?x=1");
        assert_eq!((asked.header("x-own"), &asked.body[..]), (Some("kept"), &br#"{"content":"hi"}"#[..]));
        asked.answer(200, "[1,2]");
    });
    assert_eq!(text(answer).await, "[1,2]");
    assert_eq!(proxy.document("/admin/v1/decisions").await["decisions"][0]["model"], "embedder");
    // What no route names is as it was.
    assert_eq!(ask(&proxy, Method::POST, "/detokenize", &[]).await, "404");
    assert_eq!(ask(&proxy, Method::GET, "/healthz", &[]).await, "ok");
}

#[tokio::test]
async fn a_route_has_policies_of_its_own() {
    let replicas = named().await;
    let folder = tempfile::tempdir().unwrap();
    // Each names a place in what it sees: the first one of the two, and of the whole fleet the second.
    std::fs::write(folder.path().join("first.wasm"), placing("first", &on_replica(0))).unwrap();
    std::fs::write(folder.path().join("second.wasm"), placing("second", &on_replica(1))).unwrap();
    let config = folder.path().join("proxy.toml");
    let policy = |slot: &str, more: &str| format!("[[policy]]\nslot = \"{slot}\"\ncomponent = \"{slot}.wasm\"\n{more}");
    let lines = format!(
        "limits.poll_interval_ms = 20\n{LISTEN}\n{}{}\
         [[route]]\nname = \"gold\"\nheaders = {{ x-tier = \"gold\" }}\npolicies = [\"second\"]\n\
         [[route]]\nname = \"none\"\nheaders = {{ x-tier = \"none\" }}\npolicies = []\n{}",
        policy("second", "routes_only = true\n"),
        policy("first", ""),
        fleet(&replicas)
    );
    std::fs::write(&config, lines).unwrap();
    let proxy = Proxy::of_file(Path::new(&config)).await;
    proxy.until_healthy(2).await;
    let by = async |tier: &'static str| {
        let answer = ask(&proxy, Method::POST, CHATS, &[("x-tier", tier)]).await;
        let decisions = proxy.document("/admin/v1/decisions").await;
        (answer, decisions["decisions"][0]["slot"].as_str().map(str::to_owned))
    };
    assert_eq!(by("silver").await, ("plain".to_owned(), Some("first".to_owned())), "that slot is for routes only");
    assert_eq!(by("gold").await, ("gold".to_owned(), Some("second".to_owned())));
    assert_eq!(by("none").await.1, None, "nobody is asked but the fallback");
}

#[tokio::test]
async fn a_part_that_takes_no_work_is_not_left_for_another() {
    let replicas = named().await;
    let proxy = over(&replicas, GOLD).await;
    replicas[1].set_healthy(false);
    proxy.until_healthy(1).await;
    let mut request = proxy.request(Method::POST, CHATS, CHAT);
    request.headers_mut().insert("x-tier", "gold".parse().unwrap());
    let said = shown(proxy.send(request).await).await;
    assert!(
        said.starts_with("503 Service Unavailable retry-after: 1\n") && said.contains("no_healthy_replica"),
        "{said}"
    );
    replicas[1].set_healthy(true);
    proxy.until_healthy(2).await;
    assert_eq!(ask(&proxy, Method::POST, CHATS, &[("x-tier", "gold")]).await, "gold");
}

#[tokio::test]
async fn another_configuration_has_other_routes_at_once() {
    let replicas = named().await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("proxy.toml");
    let write = |routes: &str| {
        let lines = format!("limits.poll_interval_ms = 20\n{LISTEN}\n{routes}{}", fleet(&replicas));
        std::fs::write(folder.path().join("next"), lines).unwrap();
        std::fs::rename(folder.path().join("next"), &config).unwrap();
    };
    write("");
    let proxy = Proxy::of_file(&config).await;
    proxy.until_healthy(2).await;
    assert!(ANYBODY.contains(&&*ask(&proxy, Method::POST, CHATS, &[("x-tier", "gold")]).await));
    write(GOLD);
    assert_eq!(proxy.admin(Method::POST, "/admin/v1/reload", "").await.status(), StatusCode::OK);
    assert_eq!(ask(&proxy, Method::POST, CHATS, &[("x-tier", "gold")]).await, "gold");
}
