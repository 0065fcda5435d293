//! Attribute names, in one place: the GenAI semantic conventions are being renamed.
//!
//! <https://opentelemetry.io/docs/specs/semconv/gen-ai/> and <https://opentelemetry.io/docs/specs/semconv/http/>.

/// `chat` or `text_completion`.
pub const OPERATION: &str = "gen_ai.operation.name";
/// Who serves: `headworks`, `vllm`, `openai`, …
pub const PROVIDER: &str = "gen_ai.provider.name";
/// The model asked for.
pub const REQUEST_MODEL: &str = "gen_ai.request.model";
/// The client's bound on output tokens.
pub const REQUEST_MAX_TOKENS: &str = "gen_ai.request.max_tokens";
/// Sampling temperature asked for.
pub const REQUEST_TEMPERATURE: &str = "gen_ai.request.temperature";
/// The model that answered.
pub const RESPONSE_MODEL: &str = "gen_ai.response.model";
/// The completion's id.
pub const RESPONSE_ID: &str = "gen_ai.response.id";
/// Why output ended.
pub const RESPONSE_FINISH_REASONS: &str = "gen_ai.response.finish_reasons";
/// Prompt tokens.
pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
/// Output tokens.
pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
/// Prompt tokens answered from the prefix cache.
pub const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";

/// HTTP method.
pub const HTTP_METHOD: &str = "http.request.method";
/// HTTP status.
pub const HTTP_STATUS: &str = "http.response.status_code";
/// URL path.
pub const URL_PATH: &str = "url.path";
/// The other end's address.
pub const SERVER_ADDRESS: &str = "server.address";
/// The kind of failure.
pub const ERROR_TYPE: &str = "error.type";

/// Who asked.
pub const TENANT: &str = "headworks.tenant";
/// The policy's slot in the chain.
pub const POLICY_SLOT: &str = "headworks.policy.slot";
/// The policy's own name.
pub const POLICY_NAME: &str = "headworks.policy.name";
/// The policy's own version.
pub const POLICY_VERSION: &str = "headworks.policy.version";
/// The component's sha256.
pub const POLICY_DIGEST: &str = "headworks.policy.digest";
/// What the policy answered.
pub const VERDICT: &str = "headworks.policy.verdict";
/// Why, in the policy's words.
pub const REASON: &str = "headworks.policy.reason";
/// The replica that was chosen.
pub const REPLICA: &str = "headworks.replica";
/// The region that was chosen, or this proxy's.
pub const REGION: &str = "headworks.region";
/// Which try this is, from 1.
pub const ATTEMPT: &str = "headworks.attempt";
