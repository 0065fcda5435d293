//! Registers an engine with a proxy, renews the lease, and gives it back at the end.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Renewals within one lease: two may be lost.
const RENEWALS_PER_LEASE: u32 = 3;
/// Longest pause before another try.
const RETRY_MAX: Duration = Duration::from_secs(1);
/// Longest wait for one answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read, for what it says is wrong.
const ANSWER_BYTES_MAX: usize = 16 << 10;

/// Where an engine registers, and as what.
#[derive(Clone, Debug)]
pub struct Registration {
    /// The proxy's admin port, `http://host:port`.
    pub proxy: String,
    /// What the proxy wants to see, if anything.
    pub token: Option<Token>,
    /// The replica's name there.
    pub name: String,
    /// Where the proxy reaches this engine.
    pub url: String,
    /// How long the proxy keeps an engine that it does not hear of.
    pub lease: Duration,
}

/// A token that is not shown.
#[derive(Clone)]
pub struct Token(String);

impl Token {
    /// One that can be sent in a header; else what is wrong with it.
    pub fn new(token: &str) -> Result<Token, String> {
        match HeaderValue::from_str(token) {
            Ok(_) if !token.trim().is_empty() => Ok(Token(token.trim().to_owned())),
            _ => Err("is empty, or has characters that a header cannot carry".to_owned()),
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Registration {
    /// Keeps the engine registered until `stop` ends, then gives the lease back. Fails at once only where trying again
    /// is no use.
    pub async fn keep(self, stop: impl Future<Output = ()>) -> Result<(), String> {
        let uri: Uri = format!("{}/admin/v1/replicas", self.proxy.trim_end_matches('/'))
            .parse()
            .map_err(|error| format!("{:?} is no URL ({error}); write it as http://host:port", self.proxy))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!("{:?} must be the proxy's admin port, as http://host:port", self.proxy));
        }
        let client = Client::builder(TokioExecutor::new()).build_http();
        tokio::select! {
            () = self.renew(&client, &uri) => {}
            () = stop => {}
        }
        if let Err(error) = self.say(&client, &uri, Duration::ZERO).await {
            tracing::warn!(error, "could not give the lease back; it runs out by itself");
        }
        Ok(())
    }

    async fn renew(&self, client: &Client<HttpConnector, Full<Bytes>>, uri: &Uri) {
        let mut last_error: Option<String> = Some(String::new());
        loop {
            let error = self.say(client, uri, self.lease).await.err();
            match &error {
                None if last_error.is_some() => tracing::info!(proxy = self.proxy, name = self.name, "registered"),
                Some(error) if last_error.as_ref() != Some(error) => {
                    tracing::warn!(proxy = self.proxy, error, "could not register; trying again");
                }
                _ => {}
            }
            let pause = self.lease / RENEWALS_PER_LEASE;
            tokio::time::sleep(if error.is_some() { pause.min(RETRY_MAX) } else { pause }).await;
            last_error = error;
        }
    }

    async fn say(&self, client: &Client<HttpConnector, Full<Bytes>>, uri: &Uri, lease: Duration) -> Result<(), String> {
        let said = client.request(self.request(uri, lease));
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, said).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", ANSWER_TIME_MAX.as_secs()))?;
        let answer = answer.map_err(|error| format!("the proxy cannot be reached: {error}"))?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let body = tokio::time::timeout(ANSWER_TIME_MAX, Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect());
        let body = body.await.ok().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
        Err(format!("the proxy answered {status}: {}", String::from_utf8_lossy(&body)))
    }

    fn request(&self, uri: &Uri, lease: Duration) -> Request<Full<Bytes>> {
        let said = serde_json::json!({
            "name": self.name, "url": self.url, "kind": "headworks", "lease_ms": lease.as_millis() as u64,
        });
        let mut request = Request::new(Full::new(Bytes::from(said.to_string())));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = uri.clone();
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(Token(token)) = &self.token {
            let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("Token::new has checked it");
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown_and_must_fit_into_a_header() {
        assert_eq!(format!("{:?}", Token::new("hunter2").unwrap()), "Token(…)");
        assert!(Token::new("a\nb").is_err() && Token::new(" ").is_err());
    }

    #[tokio::test]
    async fn a_proxy_that_cannot_be_meant_is_refused_at_once() {
        for proxy in ["", "127.0.0.1:8081", "https://127.0.0.1:8081"] {
            let registration = Registration {
                proxy: proxy.to_owned(),
                token: None,
                name: "r0".to_owned(),
                url: "http://127.0.0.1:1".to_owned(),
                lease: Duration::from_secs(1),
            };
            assert!(registration.keep(std::future::pending()).await.is_err(), "{proxy:?}");
        }
    }
}
