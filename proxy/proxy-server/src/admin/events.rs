//! The live stream: the current state first, then what changes, at most four times a second.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use http::StatusCode;
use openai_api::ErrorBody;
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;

use crate::admin::decisions::DecisionDoc;
use crate::admin::docs::{FleetDoc, PoliciesDoc, TrafficDoc};
use crate::admin::{DECISIONS_LIMIT, error};
use crate::proxy::Proxy;

/// Between two looks at what changed.
const INTERVAL: Duration = Duration::from_millis(250);

pub(super) async fn events(State(proxy): State<Arc<Proxy>>) -> Response {
    let Ok(room) = proxy.admin_streams.clone().try_acquire_owned() else {
        let message = format!("{} streams are open already; close one", proxy.limits.admin_streams_max);
        return error(StatusCode::SERVICE_UNAVAILABLE, ErrorBody::server(message).code("too_many_streams"));
    };
    let stop = proxy.stopping.clone().begun();
    let live = Live { proxy, ticks: tokio::time::interval(INTERVAL), sent: Sent::default(), _room: room };
    let batches = stream::unfold(live, |mut live| async move {
        live.ticks.tick().await;
        Some((stream::iter(live.changes().into_iter().map(Ok::<_, Infallible>)), live))
    });
    // Connections that live for ever would hold up the shutdown.
    Sse::new(batches.flatten().take_until(stop)).keep_alive(KeepAlive::default()).into_response()
}

/// One client's stream.
struct Live {
    proxy: Arc<Proxy>,
    ticks: tokio::time::Interval,
    sent: Sent,
    _room: OwnedSemaphorePermit,
}

/// What the client has been sent.
#[derive(Default)]
struct Sent {
    fleet: String,
    policies: String,
    traffic_ms: Option<u64>,
    decisions_change: Option<u64>,
}

impl Live {
    fn changes(&mut self) -> Vec<Event> {
        let fleet = renewed("fleet", &FleetDoc::of(&self.proxy), &mut self.sent.fleet);
        let policies = renewed("policies", &PoliciesDoc::of(&self.proxy), &mut self.sent.policies);
        [fleet, self.traffic(), policies, self.decisions()].into_iter().flatten().collect()
    }

    fn traffic(&mut self) -> Option<Event> {
        let point = self.proxy.traffic.last().filter(|point| self.sent.traffic_ms != Some(point.time_ms))?;
        self.sent.traffic_ms = Some(point.time_ms);
        Some(event("traffic", &json(&TrafficDoc::of(&point, &self.proxy))))
    }

    fn decisions(&mut self) -> Option<Event> {
        let first = self.sent.decisions_change.is_none();
        let since = self.sent.decisions_change.unwrap_or(0);
        let (records, change) = self.proxy.decisions.since(since, DECISIONS_LIMIT);
        self.sent.decisions_change = Some(change);
        let docs: Vec<DecisionDoc> = records.into_iter().map(DecisionDoc::of).collect();
        (first || !docs.is_empty()).then(|| event("decisions", &json(&docs)))
    }
}

fn renewed(name: &'static str, doc: &impl Serialize, sent: &mut String) -> Option<Event> {
    let text = json(doc);
    let changed = text != *sent;
    *sent = text;
    changed.then(|| event(name, sent))
}

fn event(name: &'static str, text: &str) -> Event {
    Event::default().event(name).data(text)
}

fn json(doc: &impl Serialize) -> String {
    serde_json::to_string(doc).expect("the documents have string keys and finite numbers")
}
