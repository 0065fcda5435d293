//! Lets each tenant have so many requests, tokens and places at once, and says in the answer's headers how many are left.
//!
//! Token buckets, kept by the host, so that they are exact across instances and swaps. Tokens are taken by an estimate
//! before a request runs and put right when it has ended. The headers are those that OpenAI's clients read
//! (platform.openai.com/docs/guides/rate-limits).

mod config;
mod headers;
mod settle;
mod take;

use headworks_policy::{
    Admission, Admit, Configure, Denial, Event, Fleet, Mode, Observe, Policy, Refusal, Request, buckets, reply,
    telemetry,
};

use config::{Config, Rule};
use settle::{Note, Settlement, settle};
use take::{Kind, Stop, Want, take_all};

/// Keeps its configuration only.
#[derive(Debug, Default)]
pub struct RateLimit {
    config: Config,
}

impl Policy for RateLimit {
    const NAME: &str = "rate-limit";
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    const MODE: Mode = Mode::Pooled;
    const CONFIG_SCHEMA: &str = config::SCHEMA;
}

impl Configure for RateLimit {
    fn configure(&mut self, json: &str) -> Result<(), Refusal> {
        self.config = Config::parse(json)?;
        Ok(())
    }
}

impl Admit for RateLimit {
    fn admit(&mut self, request: &Request<'_>, _fleet: &Fleet) -> Admission {
        let (tenant, model) = (request.tenant(), request.model());
        let Some(rule) = self.config.rule_for(&tenant, &model) else { return Admission::Pass };
        let scope = rule.scope(&tenant, &model);
        let prompt_tokens = request.prompt_tokens_estimate();
        let output_tokens = match request.output_tokens_max() {
            0 => self.config.default_output_tokens,
            most => most.min(self.config.default_output_tokens),
        };
        let wants = take::wants(rule, &scope, prompt_tokens.saturating_add(output_tokens));
        let taken = take_all(
            &wants,
            |want| buckets::take(&want.name, want.shape, want.tokens),
            |want| buckets::give_back(&want.name, want.tokens),
        );
        let stop = match taken {
            Ok(left) => match hold(rule, &scope) {
                Ok(()) => {
                    show(&wants, &left);
                    note(request, &wants, prompt_tokens);
                    return Admission::Pass;
                }
                Err(stop) => {
                    wants.iter().for_each(|want| buckets::give_back(&want.name, want.tokens));
                    stop
                }
            },
            Err(stop) => stop,
        };
        let left: Vec<u32> =
            wants.iter().map(|want| buckets::level(&want.name).unwrap_or(want.shape.tokens_max)).collect();
        show(&wants, &left);
        deny(&stop, &tenant)
    }
}

impl Observe for RateLimit {
    fn observe(&mut self, events: &[Event], _fleet: &Fleet) {
        for event in events {
            let Event::Ended(ended) = event else { continue };
            let Some(note) = Note::read(&ended.subject.note) else { continue };
            match settle(&note, ended) {
                Settlement::Even => {}
                Settlement::GiveBack(tokens) => buckets::give_back(note.bucket, tokens),
                Settlement::Charge(tokens) => buckets::charge(note.bucket, tokens),
            }
        }
    }
}

headworks_policy::export!(RateLimit: configure, admit, observe);

/// A place among those that may run at once, until the request ends.
fn hold(rule: &Rule, scope: &str) -> Result<(), Stop> {
    let Some(places) = rule.concurrent else { return Ok(()) };
    match buckets::hold(&format!("running {scope}"), places) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Stop::Running { places }),
        Err(_) => Err(Stop::TooMany),
    }
}

/// What was taken of the tokens' bucket, for the day of reckoning.
fn note(request: &Request<'_>, wants: &[Want], prompt_tokens: u32) {
    if let Some(want) = wants.iter().find(|want| want.kind == Kind::TokensPerMinute) {
        request.note(&Note { taken: want.tokens, prompt_tokens, bucket: &want.name }.write());
    }
}

fn show(wants: &[Want], left: &[u32]) {
    for (name, value) in headers::headers(wants, left) {
        reply::header(name, &value);
    }
}

fn deny(stop: &Stop, tenant: &str) -> Admission {
    telemetry::count("denied", 1);
    telemetry::explain(&format!("tenant {tenant}: {}", stop.limit()));
    Admission::Deny(Denial { status: 429, retry_after_ms: stop.retry_after_ms(), message: stop.message() })
}
