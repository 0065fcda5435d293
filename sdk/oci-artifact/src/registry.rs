//! One registry, asked under bounds: time, bytes, and credentials that only it gets to see.

use std::fmt;
use std::io::Read;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use ureq::http::{Method, Request, Response};
use ureq::{Agent, Body, SendBody};

use crate::agent::{AgentSettings, agent};
use crate::challenge::{self, Challenge};
use crate::manifest::shown;
use crate::{OciError, Reference};

/// Bytes of an answer that is read for its words: a token, an error, a manifest.
pub(crate) const WORDS_BYTES_MAX: u64 = 1 << 20;

/// How a registry may be asked.
#[derive(Clone, Debug)]
pub struct Access {
    /// Who asks.
    pub login: Login,
    /// Plain http, though the registry is not on this machine.
    pub plain_http: bool,
    /// The whole of a pull or push.
    pub time_max: Duration,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// Who has this token.
    Token(String),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Login::Anonymous => "Anonymous",
            Login::Password { .. } => "Password(…)",
            Login::Token(_) => "Token(…)",
        })
    }
}

/// A registry while one artefact is pulled or pushed.
pub(crate) struct Registry<'a> {
    pub reference: &'a Reference,
    access: &'a Access,
    agent: Agent,
    deadline: Instant,
    authorization: Option<String>,
}

/// One request of it.
pub(crate) struct Ask<'a> {
    pub method: Method,
    /// From `/v2/` on, or a whole URL.
    pub target: &'a str,
    pub accept: &'static str,
    /// Its kind and bytes.
    pub body: Option<(&'static str, &'a [u8])>,
}

impl<'a> Registry<'a> {
    pub fn new(reference: &'a Reference, access: &'a Access) -> Result<Registry<'a>, OciError> {
        let is_plain = access.plain_http || reference.is_loopback();
        let settings = AgentSettings { time_max: access.time_max, https_only: !is_plain, authority_pem: None };
        let unreachable = |message| OciError::Unreachable { registry: reference.registry().to_owned(), message };
        Ok(Registry {
            reference,
            access,
            agent: agent(settings).map_err(unreachable)?,
            deadline: Instant::now() + access.time_max,
            authorization: None,
        })
    }

    /// `scheme://host:port`.
    fn origin(&self) -> String {
        let is_plain = self.access.plain_http || self.reference.is_loopback();
        format!("{}://{}", if is_plain { "http" } else { "https" }, self.reference.registry())
    }

    /// Asks, once more with credentials when it wants some. What the answer means is the caller's to say, but for
    /// refused credentials.
    pub fn ask(&mut self, ask: &Ask<'_>) -> Result<Response<Body>, OciError> {
        let answer = self.send(ask)?;
        if answer.status() != 401 || self.authorization.is_some() {
            return self.let_in(answer);
        }
        let challenge = answer.headers().get(WWW_AUTHENTICATE).and_then(|value| challenge::read(value.to_str().ok()?));
        self.authorization = self.authorize(challenge)?;
        match self.authorization {
            Some(_) => self.send(ask).and_then(|answer| self.let_in(answer)),
            None => self.let_in(answer),
        }
    }

    fn send(&self, ask: &Ask<'_>) -> Result<Response<Body>, OciError> {
        let origin = self.origin();
        let url = match ask.target.starts_with('/') {
            true => format!("{origin}{}", ask.target),
            false => ask.target.to_owned(),
        };
        let mut request = Request::builder().method(ask.method.clone()).uri(&url).header(ACCEPT, ask.accept);
        // Where an upload goes is the registry's to say, but credentials are for the registry alone.
        let is_registry = url.strip_prefix(&origin).is_some_and(|rest| rest.starts_with('/'));
        if let Some(authorization) = self.authorization.as_ref().filter(|_| is_registry) {
            request = request.header(AUTHORIZATION, authorization);
        }
        let body = match ask.body {
            Some((kind, bytes)) => {
                request = request.header(CONTENT_TYPE, kind);
                SendBody::from_owned_reader(std::io::Cursor::new(bytes.to_vec()))
            }
            None => SendBody::none(),
        };
        if let Some((_, bytes)) = ask.body {
            request = request.header("content-length", bytes.len());
        }
        let request = request.body(body).map_err(|error| self.unreachable(format!("{url:?} is no URL: {error}")))?;
        self.run(request)
    }

    fn run(&self, request: Request<SendBody<'_>>) -> Result<Response<Body>, OciError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(self.too_slow());
        }
        let request = self.agent.configure_request(request).timeout_global(Some(left)).build();
        self.agent.run(request).map_err(|error| self.broken(error))
    }

    /// The `Authorization` that answers a challenge; none where we have nothing to say.
    fn authorize(&self, challenge: Option<Challenge>) -> Result<Option<String>, OciError> {
        let basic = match &self.access.login {
            Login::Token(token) => return Ok(Some(format!("Bearer {token}"))),
            Login::Password { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Login::Anonymous => None,
        };
        match challenge {
            Some(Challenge::Bearer { realm, service, scope }) => self.token(&realm, service, scope, basic).map(Some),
            Some(Challenge::Basic) | None => Ok(basic),
        }
    }

    fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        basic: Option<String>,
    ) -> Result<String, OciError> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let mut request = self.agent.get(realm);
        for (key, value) in [("service", service), ("scope", scope)] {
            if let Some(value) = value {
                request = request.query(key, value);
            }
        }
        if let Some(basic) = basic {
            request = request.header(AUTHORIZATION, basic);
        }
        let left = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        let answer = request.config().timeout_global(Some(left)).build().call().map_err(|error| self.broken(error))?;
        let answer = self.let_in(answer)?;
        if !answer.status().is_success() {
            return Err(self.refused("give a token", answer));
        }
        let bytes = self.read(answer, WORDS_BYTES_MAX)?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token = token.and_then(|answer| answer.token.or(answer.access_token));
        let token = token.ok_or_else(|| self.unreachable("its token service gave no token".to_owned()))?;
        Ok(format!("Bearer {token}"))
    }

    fn let_in(&self, answer: Response<Body>) -> Result<Response<Body>, OciError> {
        let status = answer.status().as_u16();
        if !matches!(status, 401 | 403) {
            return Ok(answer);
        }
        let (who, hint) = match &self.access.login {
            Login::Anonymous => ("strangers".to_owned(), "give it credentials"),
            Login::Password { user, .. } => (format!("{user:?}"), "check user, password and rights"),
            Login::Token(_) => ("this token's bearer".to_owned(), "check the token and its rights"),
        };
        let (registry, repository) = (self.reference.registry().to_owned(), self.reference.repository().to_owned());
        Err(OciError::Denied { registry, who, repository, status, hint })
    }

    /// An answer's bytes, at most `bytes_max` and one more, by which the caller sees that there are too many.
    pub fn read(&self, answer: Response<Body>, bytes_max: u64) -> Result<Vec<u8>, OciError> {
        let mut bytes = Vec::new();
        let reader = answer.into_body().into_with_config().limit(u64::MAX).reader();
        let read = reader.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| self.broken(ureq::Error::from(error)))?;
        Ok(bytes)
    }

    /// An answer that is of no use.
    pub fn refused(&self, step: &'static str, answer: Response<Body>) -> OciError {
        let status = answer.status().as_u16();
        let body = self.read(answer, WORDS_BYTES_MAX).unwrap_or_default();
        let registry = self.reference.registry().to_owned();
        OciError::Refused { registry, step, status, message: said(&body) }
    }

    pub fn unreachable(&self, message: String) -> OciError {
        OciError::Unreachable { registry: self.reference.registry().to_owned(), message }
    }

    fn too_slow(&self) -> OciError {
        let registry = self.reference.registry().to_owned();
        OciError::TooSlow { registry, time_ms_max: self.access.time_max.as_millis() }
    }

    fn broken(&self, error: ureq::Error) -> OciError {
        match error {
            ureq::Error::Timeout(_) => self.too_slow(),
            ureq::Error::RequireHttpsOnly(to) => self.unreachable(format!("it leads to {to:?}, which is not https")),
            ureq::Error::Io(error) => self.unreachable(error.to_string()),
            other => self.unreachable(other.to_string()),
        }
    }
}

/// What a registry's error says, as its specification shapes it.
fn said(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Errors {
        errors: Vec<Said>,
    }
    #[derive(Deserialize)]
    struct Said {
        #[serde(default)]
        message: String,
    }
    let errors: Option<Errors> = serde_json::from_slice(body).ok();
    let message = errors.and_then(|errors| Some(errors.errors.into_iter().next()?.message)).unwrap_or_default();
    if message.is_empty() { String::new() } else { format!(": {}", shown(&message)) }
}
