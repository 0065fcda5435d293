//! Talks to a running proxy's admin port, and turns what it refuses into one sentence.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use oci_artifact::AgentSettings;
use serde_json::Value;
use ureq::http::{Method, Request, StatusCode};

/// The environment variable with the admin token.
const TOKEN_ENV: &str = "HEADWORKS_ADMIN_TOKEN";
/// One request: a component is compiled and tried out, perhaps pulled before. One with an interpreter in it takes a busy
/// proxy minutes, for that work gives way to requests.
const TIME_MAX: Duration = Duration::from_secs(600);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Which proxy, and who asks.
#[derive(Debug, clap::Args)]
pub struct AdminArgs {
    /// The proxy's admin port
    #[arg(
        long = "admin",
        visible_alias = "to",
        value_name = "URL",
        env = "HEADWORKS_ADMIN_URL",
        default_value = "http://127.0.0.1:8081"
    )]
    url: String,
    /// A file with the admin token; without it HEADWORKS_ADMIN_TOKEN is taken
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// PEM certificates to trust instead of the system's, for a proxy with a certificate of one's own
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Print the proxy's answer as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// A proxy's admin port.
pub(crate) struct Admin {
    agent: ureq::Agent,
    url: String,
    token: Option<String>,
    user: Option<String>,
}

/// What is sent besides the path.
#[derive(Default)]
pub(crate) struct Sent<'a> {
    pub(crate) body: &'a [u8],
    /// `NAME:BASE64`.
    pub(crate) signature: Option<&'a str>,
}

impl AdminArgs {
    pub(crate) fn connect(&self) -> anyhow::Result<Admin> {
        let token = match &self.token_file {
            Some(path) => Some(std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?),
            None => std::env::var(TOKEN_ENV).ok(),
        };
        let authority =
            self.ca_file.as_ref().map(|path| std::fs::read(path).with_context(|| format!("read {}", path.display())));
        let authority = authority.transpose()?;
        let settings = AgentSettings { time_max: TIME_MAX, https_only: false, authority_pem: authority.as_deref() };
        let url = self.url.trim_end_matches('/').to_owned();
        if !url.starts_with("http://") && !url.starts_with("https://") {
            bail!("{url:?} is no URL; write --admin as http://host:port");
        }
        let is_sound = |word: &String| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        Ok(Admin {
            agent: oci_artifact::agent(settings).map_err(|wrong| anyhow!(wrong))?,
            url,
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            user: ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(is_sound),
        })
    }
}

impl Admin {
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, &Sent::default())
    }

    pub(crate) fn put(&self, path: &str, sent: &Sent<'_>) -> anyhow::Result<Value> {
        self.ask(Method::PUT, path, sent)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask(Method::POST, path, &Sent { body: body.as_bytes(), signature: None })
    }

    /// The same, into a file or the like; an answer of more than `bytes_max` is an error.
    pub(crate) fn get_into(&self, path: &str, into: &mut impl Write, bytes_max: u64) -> anyhow::Result<u64> {
        let mut reader = self.asked(Method::GET, path, &Sent::default(), bytes_max.saturating_add(1))?;
        let bytes = io::copy(&mut reader, into).map_err(|error| anyhow!("{}{path} broke off: {error}", self.url))?;
        if bytes > bytes_max {
            bail!("{}{path} has more than the {bytes_max} bytes that it may have", self.url);
        }
        Ok(bytes)
    }

    /// What is no JSON, such as a recording.
    pub(crate) fn get_bytes(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.ask_bytes(Method::GET, path, &Sent::default())
    }

    fn ask(&self, method: Method, path: &str, sent: &Sent<'_>) -> anyhow::Result<Value> {
        let body = self.ask_bytes(method, path, sent)?;
        serde_json::from_slice(&body)
            .with_context(|| format!("{} is no Headworks proxy's admin port: read its answer", self.url))
    }

    fn ask_bytes(&self, method: Method, path: &str, sent: &Sent<'_>) -> anyhow::Result<Vec<u8>> {
        let mut body = Vec::new();
        let mut reader = self.asked(method, path, sent, ANSWER_BYTES_MAX)?;
        reader.read_to_end(&mut body).map_err(|error| self.no_answer(&error.into()))?;
        Ok(body)
    }

    /// The answer's body, of which no more than `bytes_max` are read.
    fn asked(&self, method: Method, path: &str, sent: &Sent<'_>, bytes_max: u64) -> anyhow::Result<impl Read + use<>> {
        let url = format!("{}{path}", self.url);
        let mut request = Request::builder().method(method).uri(&url);
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let headers = [
            ("authorization", bearer.as_deref()),
            ("x-headworks-user", self.user.as_deref()),
            ("x-headworks-signature", sent.signature),
        ];
        for (name, value) in headers {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let answer = match sent.body {
            [] => self.agent.run(request.body(()).with_context(|| format!("ask {url}"))?),
            body => self.agent.run(request.body(body).with_context(|| format!("ask {url}"))?),
        };
        let answer = answer.map_err(|error| self.no_answer(&error))?;
        let status = answer.status();
        let mut reader =
            answer.into_body().into_with_config().limit(bytes_max.saturating_add(1)).reader().take(bytes_max);
        if status.is_success() {
            return Ok(reader);
        }
        let mut body = Vec::new();
        reader.read_to_end(&mut body).map_err(|error| self.no_answer(&error.into()))?;
        Err(self.refusal(status, &body))
    }

    fn no_answer(&self, error: &ureq::Error) -> anyhow::Error {
        let why = match error {
            ureq::Error::Timeout(ureq::Timeout::Global) => {
                let (url, seconds) = (&self.url, TIME_MAX.as_secs());
                return anyhow!(
                    "{url} has not answered within {seconds} s; a proxy may still be at it: `headworks policy list` shows \
                     what came of it"
                );
            }
            ureq::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        };
        anyhow!("no proxy answers at {}: {why}; start one, or name its admin port with --admin", self.url)
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        if status == StatusCode::UNAUTHORIZED {
            return match self.token {
                None => anyhow!("the proxy at {} wants its admin token; set {TOKEN_ENV} or --token-file", self.url),
                Some(_) => anyhow!("the proxy at {} has another admin token than the one given", self.url),
            };
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        match body["error"]["message"].as_str() {
            Some(message) => anyhow!("the proxy refused: {message}"),
            None => anyhow!("{} answered {status}, which is no answer of a Headworks proxy's admin port", self.url),
        }
    }
}

/// The path of a slot's endpoint; a canary's share of the requests goes into the query.
pub(crate) fn slot_path(slot: &str, verb: &str, canary: Option<u8>) -> String {
    let mut path = "/admin/v1/policies/".to_owned();
    // What may not name a slot is refused there, but must not become another path here.
    path.push_str(&encoded(slot));
    path.push_str(verb);
    if let Some(percent) = canary {
        path.push_str(&format!("?canary={percent}"));
    }
    path
}

/// A path and the parameters that are given.
pub(crate) fn with_query(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given = parameters.iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(value.as_ref()?))));
    let query = given.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

fn encoded(text: &str) -> String {
    let letter = |byte: u8| match byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::{slot_path, with_query};

    #[test]
    fn only_what_is_given_is_asked_for() {
        assert_eq!(with_query("/a", &[("x", None)]), "/a");
        let given = [("x", None), ("y", Some("a&b=c".to_owned())), ("z", Some("1".to_owned()))];
        assert_eq!(with_query("/a", &given), "/a?y=a%26b%3Dc&z=1");
    }

    #[test]
    fn a_slots_name_stays_one_step_of_the_path() {
        assert_eq!(slot_path("placement", "", None), "/admin/v1/policies/placement");
        assert_eq!(slot_path("a/../b?c", "/rollback", None), "/admin/v1/policies/a%2F..%2Fb%3Fc/rollback");
        assert_eq!(slot_path("p", "/pull", Some(10)), "/admin/v1/policies/p/pull?canary=10");
    }
}
