//! What the replica answers, byte for byte, made once.

use std::time::Duration;

/// Bytes of the JSON answer's body.
pub const WHOLE_BYTES: usize = 400;

/// What completions get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A JSON body of [`WHOLE_BYTES`], at once.
    Whole,
    /// Events, each written alone.
    Stream {
        /// How many, `[DONE]` not counted.
        events: u32,
        /// Between one and the next; zero: as fast as they are taken.
        spacing: Duration,
    },
}

/// The bytes.
pub(crate) struct Bytes {
    pub(crate) whole: Vec<u8>,
    pub(crate) stream_head: Vec<u8>,
    pub(crate) event: Vec<u8>,
    pub(crate) done: Vec<u8>,
}

impl Bytes {
    pub(crate) fn new() -> Bytes {
        let event = r#"data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1767225600,"model":"bench-model","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}"#;
        let mut done = chunk("data: [DONE]\n\n");
        done.extend(b"0\r\n\r\n");
        Bytes {
            whole: reply("200 OK", "application/json", &whole()),
            stream_head: b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n".to_vec(),
            event: chunk(&format!("{event}\n\n")),
            done,
        }
    }
}

/// An OpenAI completion of exactly [`WHOLE_BYTES`].
pub(crate) fn whole() -> String {
    let around = |text: &str| {
        format!(
            r#"{{"id":"chatcmpl-bench","object":"chat.completion","created":1767225600,"model":"bench-model","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":256,"completion_tokens":64,"total_tokens":320}}}}"#
        )
    };
    around(&"x".repeat(WHOLE_BYTES - around("").len()))
}

/// What everything but completions gets: enough for each peer to find a healthy replica of one model.
pub(crate) fn other(method: &str, path: &str) -> Vec<u8> {
    let json = "application/json";
    match path.split('?').next().unwrap_or_default() {
        "/health" | "/health_generate" | "/ping" | "/readyz" => reply("200 OK", json, "{}"),
        "/v1/models" => reply(
            "200 OK",
            json,
            r#"{"object":"list","data":[{"id":"bench-model","object":"model","created":1767225600,"owned_by":"bench","max_model_len":32768}]}"#,
        ),
        "/version" => reply("200 OK", json, r#"{"version":"0.11.0"}"#),
        "/get_server_info" | "/server_info" => reply(
            "200 OK",
            json,
            r#"{"model_path":"bench-model","served_model_name":"bench-model","tp_size":1,"dp_size":1,"version":"0.5.6","max_running_requests":4096,"internal_states":[{"load":0}]}"#,
        ),
        "/get_model_info" | "/model_info" => reply(
            "200 OK",
            json,
            r#"{"model_path":"bench-model","tokenizer_path":"bench-model","is_generation":true,"model_type":"llama","architectures":["LlamaForCausalLM"]}"#,
        ),
        "/get_load" | "/v1/loads" => {
            reply("200 OK", json, r#"[{"dp_rank":0,"num_reqs":0,"num_waiting_reqs":0,"num_tokens":0}]"#)
        }
        "/metrics" => reply("200 OK", "text/plain; version=0.0.4", METRICS),
        _ if method == "GET" || method == "HEAD" => reply("404 Not Found", json, r#"{"error":"no such page"}"#),
        _ => reply("404 Not Found", json, r#"{"error":"not served here"}"#),
    }
}

/// By the names that vLLM gives them.
const METRICS: &str = "# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine=\"0\",model_name=\"bench-model\"} 0.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine=\"0\",model_name=\"bench-model\"} 0.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine=\"0\",model_name=\"bench-model\"} 0.0
# TYPE vllm:gpu_cache_usage_perc gauge
vllm:gpu_cache_usage_perc{engine=\"0\",model_name=\"bench-model\"} 0.0
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size=\"16\",num_gpu_blocks=\"65536\",enable_prefix_caching=\"True\"} 1.0
";

fn reply(status: &str, kind: &str, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn chunk(content: &str) -> Vec<u8> {
    format!("{:x}\r\n{content}\r\n", content.len()).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_json_of_the_promised_length() {
        let whole = whole();
        assert_eq!(whole.len(), WHOLE_BYTES);
        serde_json::from_str::<serde_json::Value>(&whole).unwrap();
    }

    #[test]
    fn an_event_is_one_chunk_of_one_event() {
        let event = String::from_utf8(Bytes::new().event).unwrap();
        assert_eq!(event.matches("\n\n").count(), 1);
        let json = event.split("data: ").nth(1).unwrap().trim();
        serde_json::from_str::<serde_json::Value>(json).unwrap();
    }
}
