//! Who may use the data port: keys name tenants before any policy is asked.

use http::{Method, StatusCode};

use crate::fixture::guest::{admit_trapping, placing, replica as on_replica};
use crate::fixture::{CHAT, Proxy, Replica, replicas, shown, text};

/// The tenant `acme`, whose key is `secret`.
const ACME: &str = "[[tenant]]\nname = \"acme\"\n\
                    key_sha256 = [\"2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b\"]\n";
const CHATS: &str = "/v1/chat/completions";

async fn ask(proxy: &Proxy, method: Method, path: &str, key: Option<&str>) -> http::Response<hyper::body::Incoming> {
    let body = if method == Method::POST { CHAT } else { "" };
    let mut request = proxy.request(method, path, body);
    if let Some(key) = key {
        request.headers_mut().insert("authorization", key.parse().unwrap());
    }
    proxy.send(request).await
}

#[tokio::test]
async fn a_key_names_the_tenant_and_stays_with_the_proxy() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("{ACME}{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let (answer, ()) = tokio::join!(ask(&proxy, Method::POST, CHATS, Some("Bearer secret")), async {
        let asked = replica.asked().await;
        assert_eq!(asked.header("authorization"), None);
        asked.answer(200, "{}");
    });
    assert_eq!(text(answer).await, "{}");
    let decisions = proxy.until("decisions", |all| all[0]["outcome"] == "finished").await;
    assert_eq!(decisions[0]["tenant"], "acme");
    assert!(!decisions.to_string().contains("secret"), "no key is kept");
}

#[tokio::test]
async fn without_a_known_key_nothing_is_served_and_no_policy_is_asked() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("{ACME}{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    for (path, component) in [
        ("/admin/v1/policies/placement", placing("to-r0", &on_replica(0))),
        ("/admin/v1/policies/door", admit_trapping("door")),
    ] {
        assert_eq!(proxy.admin(Method::PUT, path, component).await.status(), StatusCode::OK);
    }
    let mut all = String::new();
    for (name, path, key) in [
        ("no key", CHATS, None),
        ("an unknown key", CHATS, Some("Bearer other")),
        ("another scheme", CHATS, Some("Basic secret")),
        ("models", "/v1/models", None),
        ("a model", "/v1/models/tiny", Some("Bearer other")),
    ] {
        let method = if path == CHATS { Method::POST } else { Method::GET };
        all += &format!("# {name}\n{}\n", shown(ask(&proxy, method, path, key).await).await);
    }
    insta::assert_snapshot!(all);
    assert!(replica.is_idle(), "nothing reaches a replica");
    let slots = proxy.document("/admin/v1/policies").await;
    for slot in slots["chain"].as_array().unwrap() {
        assert_eq!(slot["versions"][0]["faults_total"], 0, "the trapping policy was not asked");
    }
    assert_eq!(ask(&proxy, Method::GET, "/v1/models", Some("Bearer secret")).await.status(), StatusCode::OK);
}
