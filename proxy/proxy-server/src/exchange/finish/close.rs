//! Closes a request's books: what became of it goes to everybody who keeps count, once.

use std::time::{Duration, Instant};

use http::StatusCode;
use policy_api::{Event, Holds, Usage};
use telemetry::names;

use crate::access_log::Line;
use crate::clock::micros;
use crate::exchange::finish::{Journal, Outcome};
use crate::exchange::peek::Seen;
use crate::traffic::Sample;

impl Journal {
    /// Closes the books. The first closing counts.
    pub fn close(&mut self, outcome: Outcome, status: Option<StatusCode>, seen: Option<Seen>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let seen = seen.unwrap_or_default();
        let now = self.proxy.clock.now();
        let since = |from: Instant, to: Instant| to.saturating_duration_since(from);
        let usage = usage_of(&seen);
        let ttft = seen.first_output.map(|first| since(self.began, first));
        let tpot = match (seen.first_output, seen.last_output, usage.output_tokens) {
            (Some(first), Some(last), tokens @ 2..) => Some(since(first, last) / (tokens - 1)),
            _ => None,
        };
        self.charge(&seen, usage);
        self.tell_policies(outcome, usage);
        self.tell_replica(outcome, tpot);
        self.end_spans(outcome, &seen, usage);
        let sample = Sample { outcome, e2e: since(self.began, now), ttft, tpot, usage, decide_us: self.decide_us() };
        self.proxy.traffic.count(&self.proxy.clock, &sample);
        self.proxy.metrics.count(&sample);
        self.note(&sample, status, &seen);
        if self.decided {
            let record = &mut self.record;
            record.outcome = outcome;
            record.status = status.map(|status| status.as_u16());
            record.prompt_tokens = seen.usage.map(|usage| usage.prompt_tokens);
            record.output_tokens = seen.output_tokens();
            record.ttft_ms = ttft.map(in_ms);
            record.duration_ms = Some(in_ms(sample.e2e));
            let record = std::mem::take(record);
            self.keep(record);
        }
        self.room = None;
        (self.admitted, self.placed) = (Holds::default(), Holds::default());
        self.let_go();
    }

    fn note(&self, sample: &Sample, status: Option<StatusCode>, seen: &Seen) {
        let record = &self.record;
        self.proxy.access_log.note(|| Line {
            time_ms: record.time_ms,
            request_id: self.request_id.to_str().ok(),
            trace_id: record.trace_id.as_deref(),
            method: self.method.as_str(),
            path: &record.endpoint,
            tenant: said(&record.tenant),
            model: said(&record.model),
            stream: record.stream,
            route: self.route.as_ref().map(|route| &*route.name),
            outcome: sample.outcome.word(),
            status: status.map(|status| status.as_u16()),
            error: self.refused,
            replica: record.target.as_deref(),
            attempts: record.attempts,
            prompt_tokens: seen.usage.map(|usage| usage.prompt_tokens),
            output_tokens: seen.output_tokens(),
            decide_us: sample.decide_us,
            ttft_ms: sample.ttft.map(in_ms),
            duration_ms: in_ms(sample.e2e),
        });
    }

    /// Of an answer that does not tell, the prompt's tokens are estimated.
    fn charge(&mut self, seen: &Seen, usage: Usage) {
        let Some(reserved) = self.reserved.take() else { return };
        let prompt_tokens = match seen.usage {
            Some(usage) => usage.prompt_tokens,
            None if seen.outputs > 0 => self.prompt_tokens,
            None => 0,
        };
        reserved.end(u64::from(prompt_tokens) + u64::from(usage.output_tokens), self.proxy.clock.now_unix_ms());
    }

    fn tell_policies(&self, outcome: Outcome, usage: Usage) {
        if !self.asked {
            return;
        }
        let replica = self.ran_on;
        let outcome = match outcome {
            Outcome::Finished => policy_api::Outcome::Finished,
            Outcome::Cancelled => policy_api::Outcome::Cancelled,
            Outcome::Refused => policy_api::Outcome::Refused,
            Outcome::Failed | Outcome::Running => policy_api::Outcome::Failed,
        };
        self.proxy.tell(|| Event::Ended { subject: self.subject.clone(), replica, outcome, usage });
    }

    fn tell_replica(&self, outcome: Outcome, tpot: Option<Duration>) {
        let (Some(ticket), Some(sent), Some(first)) = (&self.ticket, self.sent, self.first_here) else { return };
        if outcome == Outcome::Finished {
            ticket.replica.observe(micros(first.saturating_duration_since(sent)), tpot.map(micros));
        }
    }

    fn end_spans(&mut self, outcome: Outcome, seen: &Seen, usage: Usage) {
        let Some(span) = self.relay_span.take() else { return };
        span.set(names::OUTPUT_TOKENS, i64::from(usage.output_tokens));
        for (key, value) in [(names::RESPONSE_ID, &seen.id), (names::RESPONSE_MODEL, &seen.model)] {
            if let Some(value) = value {
                self.span.set(key, value.clone());
            }
        }
        if let Some(reason) = &seen.finish_reason {
            self.span.set(names::RESPONSE_FINISH_REASONS, reason.clone());
        }
        if let Some(usage) = seen.usage {
            self.span.set(names::INPUT_TOKENS, i64::from(usage.prompt_tokens));
            self.span.set(names::CACHED_TOKENS, i64::from(usage.cached_tokens));
        }
        self.span.set(names::OUTPUT_TOKENS, i64::from(usage.output_tokens));
        if outcome == Outcome::Cancelled {
            self.span.set(names::ERROR_TYPE, "client_left");
        }
    }
}

fn said(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn in_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn usage_of(seen: &Seen) -> Usage {
    Usage {
        prompt_tokens: seen.usage.map_or(0, |usage| usage.prompt_tokens),
        cached_tokens: seen.usage.map_or(0, |usage| usage.cached_tokens),
        output_tokens: seen.output_tokens().unwrap_or(0),
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        let seen = self.seen.take();
        self.close(Outcome::Cancelled, None, seen);
    }
}
