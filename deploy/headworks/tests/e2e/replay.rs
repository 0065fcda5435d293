//! A proxy records, and its recording is replayed, compared and explained from the command line.

use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::http::{self, chat};
use crate::processes::{Server, component, engine, folder, headworks, proxy};

fn recording(proxy: &Server, wanted: Value) -> Value {
    let answer = http::post(&format!("{}/admin/v1/recording", proxy.admin), wanted.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn ask(url: &str, prompt: &str) {
    let body = chat(prompt, 2, false).to_string();
    let answer = http::post(&format!("{url}/v1/chat/completions"), body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn policy(verb: &[&str], file: &Path, more: &[&str]) -> Output {
    headworks().arg("policy").args(verb).arg(file).args(more).output().unwrap()
}

#[track_caller]
fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The ids of a proxy's decisions, newest first.
fn decisions(proxy: &Server, query: &str) -> Vec<String> {
    let decisions = proxy.admin_json(&format!("/admin/v1/decisions?{query}"));
    let ids = decisions["decisions"].as_array().unwrap().iter();
    ids.map(|decision| decision["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_a_proxy_records_is_replayed_bit_for_bit() {
    let (one, other) = (engine(&[]), engine(&[]));
    let dir = folder();
    let more = format!("[recording]\nfolder = {:?}\n", dir.path());
    let proxy = proxy(&[&one.url, &other.url], "round-robin", &more);
    ask(&proxy.url, "before anybody records");
    let unrecorded = decisions(&proxy, "")[0].clone();
    assert_eq!(proxy.admin_json("/admin/v1/recording")["on"], false);
    assert_eq!(recording(&proxy, json!({"on": true}))["on"], true);
    let again = http::post(&format!("{}/admin/v1/recording", proxy.admin), br#"{"on":true}"#);
    assert_eq!((again.status, again.json()["error"]["code"].as_str()), (409, Some("already_recording")));
    let url = &proxy.url;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || (0..5).for_each(|_| ask(url, "a secret, told to nobody")));
        }
    });
    let decided = decisions(&proxy, "policy=round-robin&verdict=replica&limit=20");
    assert_eq!(decided.len(), 20);
    assert_eq!(decisions(&proxy, "slot=elsewhere"), Vec::<String>::new());

    let one = proxy.admin_json(&format!("/admin/v1/decisions/{}", decided[0]));
    assert_eq!((&one["id"], &one["canary"]), (&json!(decided[0]), &json!(false)));
    let call = &one["calls"][0];
    assert_eq!(
        (&call["hook"], &call["verdict"], &call["policy"]),
        (&json!("place"), &json!("replica"), &json!("round-robin"))
    );
    assert!(call["us"].is_f64() && one["facts_digest"].as_str().unwrap().len() == 16);
    for (path, code, why) in [
        ("beef", "unknown_decision", "not of this run of the proxy"),
        ("ffffffffffffffff", "unknown_decision", "no request has had that id yet"),
        ("beef/replay", "not_recorded", "not of this run of the proxy"),
        (&format!("{unrecorded}/replay"), "not_recorded", "was made while nothing was recorded"),
    ] {
        let answer = http::get(&format!("{}/admin/v1/decisions/{path}", proxy.admin));
        let error = &answer.json()["error"];
        assert_eq!((answer.status, error["code"].as_str()), (404, Some(code)));
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }

    let explained = headworks().args(["policy", "explain", &decided[0], "--admin", &proxy.admin]).output().unwrap();
    let explained = said(&explained);
    for part in ["placement place: ", "round-robin 0.1.0", "it asks", "buckets.count", "next in turn", "bit for bit"] {
        assert!(explained.contains(part), "no {part:?} in\n{explained}");
    }
    let target = one["target"].as_str().unwrap();
    assert!(explained.contains(&format!("({target})")) && explained.contains("0 us-0"), "names are shown\n{explained}");
    let request = ["policy", "explain", one["request_id"].as_str().unwrap(), "--admin", &proxy.admin];
    assert_eq!(said(&headworks().args(request).output().unwrap()), explained);
    let unknown = headworks().args(["policy", "explain", "no-such-request", "--admin", &proxy.admin]).output().unwrap();
    let unknown = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.contains("has the id or the x-request-id no-such-request"), "{unknown}");

    let ended = recording(&proxy, json!({"on": false}));
    assert_eq!((&ended["on"], &ended["calls"], &ended["dropped"]), (&json!(false), &json!(20), &json!(0)));
    let file = PathBuf::from(ended["file"].as_str().unwrap());
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("told to nobody"), "prompts are not wanted");
    assert!(said(&policy(&["replay"], &file, &[])).contains("20: 20 the same, bit for bit"));
    let least_load = component("least-load");
    let compared = said(&policy(&["replay"], &file, &["--policy", least_load.to_str().unwrap(), "--json"]));
    let compared: Value = serde_json::from_str(&compared).unwrap();
    assert_eq!(compared["same"].as_u64().unwrap() + compared["differ"].as_u64().unwrap(), 20);
    let explained = said(&policy(&["explain", &decided[3], "--recording"], &file, &[]));
    assert!(explained.contains("the same, bit for bit"), "{explained}");

    let forged = dir.path().join("forged.jsonl");
    std::fs::write(&forged, text.replacen("next in turn", "last in turn", 1)).unwrap();
    let output = policy(&["replay"], &forged, &[]);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("1 of 20 calls came out otherwise"), "{stderr}");
}

#[test]
fn an_author_records_lists_and_replays_from_the_command_line() {
    let engine = engine(&[]);
    let dir = folder();
    let proxy = proxy(&[&engine.url], "least-load", &format!("[recording]\nfolder = {:?}\n", dir.path()));
    let verb = |words: &[&str]| headworks().arg("policy").args(words).args(["--admin", &proxy.admin]).output().unwrap();
    assert!(said(&verb(&["record"])).contains("nothing was recorded"));
    assert!(said(&verb(&["record", "--begin"])).contains("recording into"));
    ask(&proxy.url, "hello");
    let out = dir.path().join("fetched.jsonl");
    let ended = said(&verb(&["record", "--end", "--out", out.to_str().unwrap()]));
    assert!(ended.contains("1 calls") && ended.contains("fetched: "), "{ended}");
    assert!(said(&policy(&["replay"], &out, &[])).contains("1: 1 the same, bit for bit"));
    let again = verb(&["record", "--end", "--out", out.to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("not written over another file"));

    let listed = said(&verb(&["decisions", "--policy", "least-load"]));
    let id = &decisions(&proxy, "limit=1")[0];
    for part in [id.as_str(), "least-load 0.1.0", "replica us-0", "finished", "the only one that takes work"] {
        assert!(listed.contains(part), "no {part:?} in\n{listed}");
    }
    assert!(said(&verb(&["decisions", "--tenant", "nobody"])).contains("no decision that is kept"));
    let listed: Value = serde_json::from_str(&said(&verb(&["list", "--json"]))).unwrap();
    assert!(listed["chain"][0]["versions"][0]["memory_bytes"].as_u64().unwrap() > 0, "{listed}");
}

#[test]
fn a_recording_goes_on_to_the_last_request_and_is_whole_when_the_proxy_ends() {
    let engine = engine(&[]);
    let dir = folder();
    let more = format!("[recording]\nfolder = {:?}\nprompts = true\n", dir.path());
    let mut proxy = proxy(&[&engine.url], "least-load", &more);
    let file = PathBuf::from(recording(&proxy, json!({"on": true}))["file"].as_str().unwrap());
    (0..3).for_each(|_| ask(&proxy.url, "hello"));
    assert!(proxy.stop());
    let replayed = said(&policy(&["replay"], &file, &[]));
    assert!(replayed.contains("3: 3 the same") && !replayed.contains("note"), "{replayed}");
}

#[test]
fn without_a_folder_there_is_no_recording() {
    let engine = engine(&[]);
    let proxy = proxy(&[&engine.url], "round-robin", "");
    let answer = http::post(&format!("{}/admin/v1/recording", proxy.admin), br#"{"on":true}"#);
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (409, Some("no_recording_folder")));
    let answer = http::post(&format!("{}/admin/v1/recording", proxy.admin), b"on");
    assert_eq!((answer.status, answer.json()["error"]["code"].as_str()), (400, Some("bad_recording")));
}
