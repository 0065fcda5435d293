//! The peers' configurations: what their own manuals say about a fast gateway to a few replicas.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;

/// Threads or workers, where the peer lets one say: one for each core of the machine that figures come from.
const THREADS: usize = 2;

/// Ours. Bounds are as wide as the widest case needs.
pub(super) fn headworks(replicas: &[SocketAddr], component: Option<&Path>) -> String {
    let mut text = String::from(
        "listen = \"127.0.0.1:0\"\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n[limits]\nconnections_max = 65536\nin_flight_max = 16384\n\
         replica_in_flight_max = 16384\nreplica_idle_max = 4096\nheader_ms_max = 3600000\n",
    );
    for (index, address) in replicas.iter().enumerate() {
        write!(text, "\n[[replica]]\nname = \"r{index}\"\nurl = \"http://{address}\"\nkind = \"openai\"\n")
            .expect("a String takes every write");
    }
    if let Some(component) = component {
        write!(text, "\n[[policy]]\nslot = \"placement\"\ncomponent = \"{}\"\n", component.display())
            .expect("a String takes every write");
    }
    text
}

pub(super) fn nginx(port: u16, replicas: &[SocketAddr], folder: &Path) -> String {
    let servers: String = replicas.iter().map(|address| format!("        server {address};\n")).collect();
    let folder = folder.display();
    format!(
        "daemon off;
worker_processes {THREADS};
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log warn;
events {{
    worker_connections 16384;
}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_body_buffer_size 256k;
    client_max_body_size 8m;
    keepalive_timeout 3600s;
    keepalive_requests 1000000000;
    tcp_nodelay on;
    upstream replicas {{
{servers}        keepalive 1024;
        keepalive_requests 1000000000;
        keepalive_timeout 3600s;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096 reuseport;
        location / {{
            proxy_pass http://replicas;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffering off;
        }}
    }}
}}
"
    )
}

pub(super) fn haproxy(port: u16, replicas: &[SocketAddr]) -> String {
    let servers: String = replicas
        .iter()
        .enumerate()
        .map(|(index, address)| format!("    server r{index} {address} pool-max-conn 1024\n"))
        .collect();
    format!(
        "global
    nbthread {THREADS}
defaults
    mode http
    option http-no-delay
    option http-keep-alive
    http-reuse always
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    timeout http-keep-alive 1h
frontend data
    bind 127.0.0.1:{port} backlog 4096
    default_backend replicas
backend replicas
    balance roundrobin
{servers}"
    )
}

pub(super) fn envoy(port: u16, replicas: &[SocketAddr]) -> String {
    let endpoints: Vec<serde_json::Value> = replicas
        .iter()
        .map(|address| {
            let (ip, port) = (address.ip().to_string(), address.port());
            serde_json::json!({ "endpoint": { "address": { "socket_address": { "address": ip, "port_value": port } } } })
        })
        .collect();
    let breakers = serde_json::json!({ "thresholds": [{
        "max_connections": 65536, "max_pending_requests": 65536, "max_requests": 65536,
    }] });
    let router = serde_json::json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
    });
    let manager = serde_json::json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "data",
            "stream_idle_timeout": "0s",
            "common_http_protocol_options": { "idle_timeout": "3600s" },
            "route_config": { "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [
                { "match": { "prefix": "/" }, "route": { "cluster": "replicas", "timeout": "0s" } },
            ] }] },
            "http_filters": [router],
        },
    });
    let config = serde_json::json!({ "static_resources": {
        "listeners": [{
            "name": "data",
            "address": { "socket_address": { "address": "127.0.0.1", "port_value": port } },
            "filter_chains": [{ "filters": [manager] }],
        }],
        "clusters": [{
            "name": "replicas",
            "type": "STATIC",
            "connect_timeout": "5s",
            "lb_policy": "ROUND_ROBIN",
            "circuit_breakers": breakers,
            "load_assignment": { "cluster_name": "replicas", "endpoints": [{ "lb_endpoints": endpoints }] },
        }],
    } });
    serde_json::to_string_pretty(&config).expect("it is JSON")
}

/// The arguments of Envoy, whose threads are not in its configuration.
pub(super) fn envoy_arguments() -> Vec<String> {
    ["--concurrency", &THREADS.to_string(), "--disable-hot-restart", "--log-level", "warning"]
        .map(str::to_owned)
        .to_vec()
}

/// The arguments of the routers: no retries to hide losses behind, no bound that a case would meet, logs of trouble only.
pub(super) fn router(router: super::Router, policy: &str, ports: [u16; 2], replicas: &[SocketAddr]) -> Vec<String> {
    let [port, metrics] = ports.map(|port| port.to_string());
    let mut words = vec!["--host", "127.0.0.1", "--port", &port, "--policy", policy, "--prometheus-port", &metrics];
    match router {
        super::Router::Sglang | super::Router::Smg => words.insert(0, "launch"),
        super::Router::Vllm => {}
    }
    words.extend(["--prometheus-host", "127.0.0.1", "--worker-startup-timeout-secs", "60"]);
    words.extend(["--worker-startup-check-interval", "1", "--health-check-interval-secs", "60"]);
    words.extend(["--max-concurrent-requests", "65536", "--queue-size", "65536"]);
    let level = if router == super::Router::Vllm { "warning" } else { "warn" };
    if router == super::Router::Smg {
        words.push("--disable-tokenizer-autoload");
    }
    words.extend(["--log-level", level, "--worker-urls"]);
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    words.extend(replicas.iter().map(|address| format!("http://{address}")));
    words
}

#[cfg(test)]
mod tests {
    use super::super::Router;
    use super::*;

    fn replicas() -> Vec<SocketAddr> {
        [9001, 9002].map(|port| ([127, 0, 0, 1], port).into()).to_vec()
    }

    #[test]
    fn configurations() {
        let replicas = replicas();
        insta::assert_snapshot!("headworks", headworks(&replicas, Some(Path::new("/dist/prefix-tree.wasm"))));
        insta::assert_snapshot!("nginx", nginx(9000, &replicas, Path::new("/bench/nginx")));
        insta::assert_snapshot!("haproxy", haproxy(9000, &replicas));
        insta::assert_snapshot!("envoy", envoy(9000, &replicas));
        let arguments = [Router::Sglang, Router::Smg, Router::Vllm]
            .map(|one| router(one, "cache_aware", [9000, 9009], &replicas).join(" "));
        insta::assert_snapshot!("routers", arguments.join("\n"));
    }
}
