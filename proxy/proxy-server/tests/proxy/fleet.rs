//! Replicas that come and go while requests run.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::fixture::{Proxy, Replica, replicas, shown, text};

fn names(fleet: &Value) -> Vec<&str> {
    let all = fleet["regions"][0]["replicas"].as_array().unwrap();
    all.iter().map(|replica| replica["name"].as_str().unwrap()).collect()
}

async fn join(proxy: &Proxy, said: Value) -> (StatusCode, Value) {
    let answer = proxy.admin(Method::POST, "/admin/v1/replicas", said.to_string()).await;
    (answer.status(), serde_json::from_str(&text(answer).await).unwrap_or_default())
}

fn lease(name: &str, replica: &Replica, lease_ms: u64) -> Value {
    json!({"name": name, "url": format!("http://{}", replica.address), "lease_ms": lease_ms})
}

#[tokio::test]
async fn one_that_registers_takes_work_until_it_gives_its_lease_back() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start("").await;
    let (status, member) = join(&proxy, lease("r0", &replica, 60_000)).await;
    assert_eq!((status, &member["source"]), (StatusCode::CREATED, &json!("lease")));
    proxy.until_healthy(1).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async { replica.asked().await.answer(200, "{}") });
    assert_eq!(answer.status(), 200);
    let (status, again) = join(&proxy, lease("r0", &replica, 60_000)).await;
    assert_eq!((status, &again["id"]), (StatusCode::OK, &member["id"]), "a renewal");
    let (status, _) = join(&proxy, lease("r0", &replica, 0)).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    proxy.until("fleet", |fleet| names(fleet).is_empty()).await;
    assert_eq!(proxy.chat().await.status(), 404);
}

#[tokio::test]
async fn a_lease_that_is_not_renewed_ends() {
    let replica = Replica::start().await;
    let proxy = Proxy::start("").await;
    join(&proxy, lease("r0", &replica, 500)).await;
    proxy.until_healthy(1).await;
    proxy.until("fleet", |fleet| names(fleet).is_empty()).await;
}

#[tokio::test]
async fn what_is_under_way_at_one_that_leaves_is_finished_there() {
    let (mut old, mut new) = (Replica::start().await, Replica::start().await);
    let proxy = Proxy::start("").await;
    join(&proxy, json!({"name": "r0", "url": format!("http://{}", old.address)})).await;
    proxy.until_healthy(1).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        let under_way = old.asked().await;
        let removed = proxy.admin(Method::DELETE, "/admin/v1/replicas/r0", "").await;
        assert_eq!(removed.status(), StatusCode::ACCEPTED);
        // Its successor has the same name, and another id.
        let (status, member) = join(&proxy, json!({"name": "r0", "url": format!("http://{}", new.address)})).await;
        assert_eq!((status, &member["id"]), (StatusCode::CREATED, &json!(1)));
        proxy.until_healthy(2).await;
        let (other, ()) = tokio::join!(proxy.chat(), async { new.asked().await.answer(200, "{}") });
        assert_eq!(other.status(), 200);
        under_way.answer(200, "{}");
    });
    assert_eq!(answer.status(), 200);
    proxy.until("fleet", |fleet| names(fleet) == ["r0"]).await;
    assert!(old.is_idle());
}

#[tokio::test]
async fn an_operator_holds_one_back_and_lets_it_go_on() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = Proxy::over(&[&one, &two]).await;
    assert_eq!(proxy.admin(Method::POST, "/admin/v1/replicas/r0/drain", "").await.status(), 200);
    for _ in 0..3 {
        let (_, ()) = tokio::join!(proxy.chat(), async { two.asked().await.answer(200, "{}") });
    }
    assert!(one.is_idle());
    proxy.admin(Method::POST, "/admin/v1/replicas/r0/undrain", "").await;
    proxy.admin(Method::POST, "/admin/v1/replicas/r1/drain", "").await;
    let (_, ()) = tokio::join!(proxy.chat(), async { one.asked().await.answer(200, "{}") });
}

#[tokio::test]
async fn what_an_operator_cannot_mean_is_refused_with_the_reason() {
    let replica = Replica::start().await;
    let proxy = Proxy::start(&replicas([&replica])).await;
    let mut said = Vec::new();
    for body in [
        "nothing",
        r#"{"name":"a"}"#,
        r#"{"name":"a","url":"ftp://x"}"#,
        r#"{"name":"a","url":"http://x:1","wieght":1}"#,
        r#"{"name":"a","url":"http://x:1","region":"mars"}"#,
        r#"{"name":"a","url":"http://x:1","weight":0}"#,
        r#"{"name":"a","url":"http://x:1","lease_ms":5}"#,
        r#"{"name":"r0","url":"http://x:1"}"#,
    ] {
        said.push(format!("# {body}\n{}", shown(proxy.admin(Method::POST, "/admin/v1/replicas", body).await).await));
    }
    for (method, path) in [
        (Method::DELETE, "/admin/v1/replicas/r0"),
        (Method::DELETE, "/admin/v1/replicas/r9"),
        (Method::POST, "/admin/v1/replicas/r9/drain"),
    ] {
        said.push(format!("# {method} {path}\n{}", shown(proxy.admin(method.clone(), path, "").await).await));
    }
    insta::assert_snapshot!(said.join("\n"));
}

#[tokio::test]
async fn a_file_of_replicas_is_followed() {
    let (one, two) = (Replica::start().await, Replica::start().await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("replicas.toml");
    let write = |text: &str| {
        // As a tool should: beside it, and then into its place.
        std::fs::write(folder.path().join("next"), text).unwrap();
        std::fs::rename(folder.path().join("next"), &path).unwrap();
    };
    let entry = |name: &str, replica: &Replica| {
        format!("[[replica]]\nname = \"{name}\"\nurl = \"http://{}\"\n", replica.address)
    };
    write(&entry("a", &one));
    let lines = format!("[[discovery]]\nkind = \"file\"\npath = {path:?}\ntemplate.weight = 50\n");
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    write(&format!("{}{}", entry("a", &one), entry("b", &two)));
    proxy.until_healthy(2).await;
    write("[[replica]]\nname = 7\n");
    let failed = |said: &Value| said["discovery"][0]["error"].as_str().is_some_and(|error| error.contains("line 2"));
    let mut said = proxy.document("/admin/v1/discovery").await;
    while !failed(&said) {
        said = proxy.document("/admin/v1/discovery").await;
    }
    assert_eq!(names(&proxy.document("/admin/v1/fleet").await), ["a", "b"], "a broken file changes nothing");
    write(&entry("b", &two));
    proxy.until("fleet", |fleet| names(fleet) == ["b"]).await;
}

#[tokio::test]
async fn the_addresses_of_a_name_are_replicas() {
    let replica = Replica::start().await;
    let port = replica.address.port();
    let lines = format!("[[discovery]]\nkind = \"dns\"\nhost = \"localhost\"\nport = {port}\ninterval_ms = 100\n");
    let proxy = Proxy::start(&lines).await;
    let found = format!("localhost/127.0.0.1:{port}");
    let is_healthy = |fleet: &Value| {
        let all = fleet["regions"][0]["replicas"].as_array().unwrap();
        all.iter().any(|replica| replica["name"] == json!(found) && replica["health"] == "healthy")
    };
    proxy.until("fleet", is_healthy).await;
}

#[tokio::test]
async fn only_the_models_that_are_wanted_of_one_are_served() {
    let replica = Replica::serving(&["tiny", "other"]).await;
    let lines = format!("{}models = [\"ti*\"]\n", replicas([&replica]));
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    let models = text(proxy.send(proxy.request(Method::GET, "/v1/models", "")).await).await;
    assert!(models.contains("tiny") && !models.contains("other"), "{models}");
}
