//! What the operator is told when the configuration cannot be used.

use std::path::Path;

use super::*;
use crate::policies::Place;

const SOUND: &str = r#"
region = "us"
listen = "127.0.0.1:8080"
policy_headers = ["X-Team"]
policy_cache_folder = "cache"

[admin]
listen = "127.0.0.1:8081"

[[replica]]
name = "us-0"
url = "http://127.0.0.1:9000"

[[replica]]
name = "vllm"
url = "http://10.0.0.7:8000/gpu/"
kind = "openai"
region = "eu"
weight = 200

[[region_peer]]
name = "eu"
data_url = "http://127.0.0.1:8180"
admin_url = "http://127.0.0.1:8181"

[[policy]]
slot = "placement"
component = "policies/least-load.wasm"
on_error = "reject"
models = ["llama-*"]
[policy.config]
scan = "full"
[policy.budget]
requests_min = 10
[policy.quarantine]
faults_max = 5

[[policy]]
slot = "limits"
component = "/policies/rate-limit.wasm"
on_error = { place = "reject" }

[policies]
watch = "drafts"

[limits]
body_bytes_max = 1000

[telemetry]
otlp_endpoint = "http://127.0.0.1:4318"
protocol = "grpc"
sample_ratio = 0.5
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("/etc/headworks/proxy.toml"))
}

/// What is said about the sound file with one text replaced by another.
#[track_caller]
fn refused(sound: &str, unsound: &str) -> String {
    assert!(SOUND.contains(sound), "{sound:?} is in the sound file");
    // An authority that is there.
    let unsound = unsound.replace("CA", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/tls/ca.pem"));
    parse(&SOUND.replacen(sound, &unsound, 1)).expect_err("it is not sound").to_string()
}

#[test]
fn a_sound_file_says_what_it_says() {
    let config = parse(SOUND).unwrap();
    assert_eq!(config.region(), "us");
    assert_eq!(config.replicas[1].region, RegionId(1));
    assert_eq!(config.replicas[1].url.endpoint("/health").to_string(), "http://10.0.0.7:8000/gpu/health");
    assert_eq!(config.policies[0].component, Place::File("/etc/headworks/policies/least-load.wasm".into()));
    assert_eq!(config.policies[0].config_json, r#"{"scan":"full"}"#);
    let rules = &config.policies[0].rules;
    assert_eq!((rules.on_admit_error, rules.on_place_error), (OnError::Reject, OnError::Reject));
    assert_eq!(rules.scope.models, [dispatch::Pattern::new("llama-*")]);
    assert_eq!(rules.budget, dispatch::Budget { requests_min: 10, ..dispatch::Budget::default() });
    assert_eq!(rules.quarantine, dispatch::Quarantine { faults_max: 5, window_calls: 100 });
    let rules = &config.policies[1].rules;
    assert_eq!((rules.on_admit_error, rules.on_place_error), (OnError::Reject, OnError::Reject));
    assert_eq!(config.watch.as_deref(), Some(Path::new("/etc/headworks/drafts")));
    assert_eq!(config.limits, Limits { body_bytes_max: 1000, ..Limits::default() });
    assert_eq!(config.policy_headers, ["x-team"]);
    assert_eq!(config.policy_cache_folder.as_deref(), Some(Path::new("/etc/headworks/cache")));
    let telemetry = config.telemetry().unwrap();
    assert_eq!((telemetry.sample_ratio, telemetry.protocol), (0.5, telemetry::Protocol::Grpc));
}

#[test]
fn the_least_file_will_do() {
    let config = parse("listen = \"127.0.0.1:0\"\nadmin.listen = \"[::1]:0\"").unwrap();
    assert_eq!((config.region(), &config.limits), ("local", &Limits::default()));
    assert!(Limits::default().body_bytes_max < 10 << 20, "ten mebibytes are refused by default");
}

#[test]
fn an_error_names_the_key_and_the_line() {
    let cases = [
        ("an unknown key", "weight = 200", "wieght = 200"),
        ("an unknown table", "[limits]", "[limit]"),
        ("a wrong type", "body_bytes_max = 1000", "body_bytes_max = \"1000\""),
        ("an unknown kind", "kind = \"openai\"", "kind = \"ollama\""),
        ("no port", "listen = \"127.0.0.1:8080\"", "listen = \"127.0.0.1\""),
        ("no scheme", "http://127.0.0.1:9000", "127.0.0.1:9000"),
        ("no scheme that is known", "http://127.0.0.1:9000", "ftp://127.0.0.1:9000"),
        ("TLS in the clear", "url = \"http://127.0.0.1:9000\"", "url = \"http://127.0.0.1:9000\"\ntls = {}"),
        ("an authority that is not there", "[limits]", "[upstream_tls]\nca_file = \"no/such\"\n[limits]"),
        ("a certificate without its key", "[limits]", "[upstream_tls]\nclient_certificate = \"a\"\n[limits]"),
        ("a key without its certificate", "[limits]", "[upstream_tls]\nclient_key = \"a\"\n[limits]"),
        (
            "a certificate's name that is none",
            "url = \"http://127.0.0.1:9000\"",
            "url = \"https://127.0.0.1:9000\"\ntls = { ca_file = \"CA\", server_name = \"a b\" }",
        ),
        ("an odd HTTP", "weight = 200", "http2 = \"yes\""),
        (
            "a port that clients show nothing",
            "[limits]",
            "[tls]\ncert = \"a\"\nkey = \"b\"\nclient_ca_ports = \"none\"\n[limits]",
        ),
        (
            "TLS of what is found in the clear",
            "[limits]",
            "[[discovery]]\nkind = \"file\"\npath = \"x\"\n[discovery.template]\ntls = {}\n[limits]",
        ),
        ("a collector by TLS", "http://127.0.0.1:4318", "https://127.0.0.1:4318"),
        ("a path of the endpoints", "http://127.0.0.1:9000", "http://127.0.0.1:9000/v1"),
        ("a missing key", "slot = \"placement\"", ""),
        ("not TOML", "[admin]", "[admin"),
        ("a name used twice", "name = \"vllm\"", "name = \"us-0\""),
        ("an unknown region", "region = \"eu\"", "region = \"mars\""),
        ("no weight", "weight = 200", "weight = 0"),
        ("a model that none is", "weight = 200", "models = [\"\"]"),
        ("a discovery of no kind", "[limits]", "[[discovery]]\npath = \"x\"\n[limits]"),
        ("a discovery of another kind", "[limits]", "[[discovery]]\nkind = \"consul\"\n[limits]"),
        ("a discovery's unknown key", "[limits]", "[[discovery]]\nkind = \"file\"\npath = \"x\"\nevery = 3\n[limits]"),
        ("no port to look for", "[limits]", "[[discovery]]\nkind = \"dns\"\nhost = \"x\"\nport = 0\n[limits]"),
        ("no name to look up", "[limits]", "[[discovery]]\nkind = \"dns\"\nhost = \"a b\"\nport = 1\n[limits]"),
        (
            "a hasty look-up",
            "[limits]",
            "[[discovery]]\nkind = \"dns\"\nhost = \"x\"\nport = 1\ninterval_ms = 1\n[limits]",
        ),
        (
            "two alike",
            "[limits]",
            "[[discovery]]\nkind = \"file\"\npath = \"x\"\n[[discovery]]\nkind = \"file\"\npath = \"x\"\n[limits]",
        ),
        (
            "a template's unknown region",
            "[limits]",
            "[[discovery]]\nkind = \"file\"\npath = \"x\"\n[discovery.template]\nregion = \"mars\"\n[limits]",
        ),
        ("no tries", "body_bytes_max = 1000", "tries_max = 0"),
        ("a small head", "body_bytes_max = 1000", "header_bytes_max = 100"),
        ("more than a semaphore has", "body_bytes_max = 1000", "queue_max = 9223372036854775807"),
        ("longer than a clock goes", "body_bytes_max = 1000", "answer_ms_max = 18446744073709551"),
        ("port 0 of a replica", "http://127.0.0.1:9000", "http://127.0.0.1:0"),
        ("a port that cannot be", "http://127.0.0.1:9000", "http://127.0.0.1:99999"),
        ("a user", "http://127.0.0.1:9000", "http://user:pass@127.0.0.1:9000"),
        ("no name", "name = \"us-0\"", "name = \"\""),
        ("no region's name", "region = \"us\"", "region = \" \""),
        ("one port twice", "listen = \"127.0.0.1:8081\"", "listen = \"127.0.0.1:8080\""),
        ("a step in a path", "slot = \"placement\"", "slot = \"..\""),
        ("credentials", "X-Team", "Authorization"),
        ("half a percent", "sample_ratio = 0.5", "sample_ratio = 50"),
        ("an odd slot", "slot = \"placement\"", "slot = \"a/b\""),
        ("an on_error that is none", "on_error = \"reject\"", "on_error = \"ignore\""),
        ("an on_error of no hook", "{ place = \"reject\" }", "{ observe = \"reject\" }"),
        ("an empty pattern", "[\"llama-*\"]", "[\"\"]"),
        ("fuel that nobody meters", "requests_min = 10", "fuel_max = 10"),
        ("a window below its least", "requests_min = 10", "window_calls = 10"),
        ("faults that cannot happen", "faults_max = 5", "faults_max = 5\nwindow_calls = 4"),
        ("no faults at all", "faults_max = 5", "faults_max = 0"),
        ("no fuel", "body_bytes_max = 1000", "policy_fuel_max = 0"),
        ("reachable without a token", "listen = \"127.0.0.1:8081\"", "listen = \"0.0.0.0:8081\""),
        (
            "a token that is not there",
            "listen = \"127.0.0.1:8081\"",
            "listen = \"0.0.0.0:8081\"\ntoken_env = \"HEADWORKS_NO_SUCH\"",
        ),
        (
            "a file that is not there",
            "listen = \"127.0.0.1:8081\"",
            "listen = \"0.0.0.0:8081\"\ntoken_file = \"no/such\"",
        ),
    ];
    let shown = cases.map(|(name, sound, unsound)| format!("# {name}\n{}\n", refused(sound, unsound)));
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn what_is_not_said_of_a_replicas_tls_is_as_it_is_said_of_all() {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/tls"));
    let text = r#"
        listen = "127.0.0.1:0"
        admin.listen = "127.0.0.1:0"
        upstream_tls = { ca_file = "ca.pem", client_certificate = "client.pem", client_key = "client.key" }
        [[replica]]
        name = "plain"
        url = "http://a"
        [[replica]]
        name = "as-all"
        url = "https://a"
        [[replica]]
        name = "own"
        url = "https://a"
        tls = { ca_file = "strangers.pem", server_name = "b" }
        [[discovery]]
        kind = "dns"
        host = "pool.example"
        port = 443
        [discovery.template]
        scheme = "https"
        http2 = "always"
    "#;
    let config = Config::parse(text, &folder.join("proxy.toml")).unwrap();
    let [plain, all, own] = &config.replicas[..] else { panic!("three are configured") };
    let tls = |replica: &Replica| replica.transport.tls.clone().map(|tls| tls.files.clone());
    assert_eq!(tls(plain), None);
    let (as_all, as_own) = (tls(all).unwrap(), tls(own).unwrap());
    assert_eq!(as_all.ca.as_deref(), Some(&*folder.join("ca.pem")));
    assert_eq!(as_own.ca.as_deref(), Some(&*folder.join("strangers.pem")));
    assert!(as_all.identity.is_some() && as_all.identity == as_own.identity);
    assert_eq!(own.transport.server_name.as_ref().unwrap().to_str(), "b");
    let found = config.discoveries[0].template.replica("x".to_owned(), ([10, 0, 0, 1], 443).into(), "pool.example");
    assert_eq!((found.url.to_string().as_str(), tls(&found)), ("https://10.0.0.1:443", tls(all)));
    assert_eq!(found.transport.server_name.unwrap().to_str(), "pool.example");
    assert_eq!(found.transport.http2, upstream::Http2::Always);
}

#[test]
fn a_secret_is_not_shown() {
    assert_eq!(format!("{:?}", Secret("hunter2".to_owned())), "Secret(…)");
}
