//! Finds replicas behind a Kubernetes service: its EndpointSlices are listed once and then watched.

mod api;
mod slices;

use std::time::Duration;

use crate::config::{Service, Template};
use crate::discovery::Finder;
use api::Api;
use slices::{Event, Slices};

/// Between two tries after a failure.
const RETRY: Duration = Duration::from_secs(1);
/// Seconds that one watch lasts; the next one takes up where it ended.
const WATCH_S: u64 = 300;
/// A watch that is open for longer has been forgotten by the server.
const WATCH_TIME_MAX: Duration = Duration::from_secs(WATCH_S + 30);
/// Bytes of a whole list, and of one event.
const LIST_BYTES_MAX: usize = 16 << 20;
const EVENT_BYTES_MAX: usize = 4 << 20;

/// Follows a service's slices. While the API cannot be reached those found before stay.
pub(super) async fn find(finder: Finder, service: Service, template: Template) {
    loop {
        match tokio::time::timeout(WATCH_TIME_MAX, follow(&finder, &service, &template)).await {
            Ok(Ok(())) | Err(_) => {}
            Ok(Err(error)) => {
                finder.failed(error);
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Lists, and then watches until the server ends the watch.
async fn follow(finder: &Finder, service: &Service, template: &Template) -> Result<(), String> {
    let api = Api::of(service).await?;
    let path = format!("/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices", api.namespace);
    let selector = format!("labelSelector=kubernetes.io%2Fservice-name%3D{}", service.name);
    let list = api.get(&format!("{path}?{selector}")).await?.whole(LIST_BYTES_MAX).await?;
    let mut slices = Slices::of_list(&list)?;
    finder.found(&slices.replicas(service, template));
    let version = slices.version.clone();
    let watch = format!("{path}?{selector}&watch=1&resourceVersion={version}&timeoutSeconds={WATCH_S}");
    let mut events = api.get(&watch).await?;
    while let Some(line) = events.line(EVENT_BYTES_MAX).await? {
        match slices.take(&line)? {
            Event::Changed => finder.found(&slices.replicas(service, template)),
            Event::Nothing => {}
            // It has forgotten what came after our list: list again.
            Event::Outdated => return Ok(()),
        }
    }
    Ok(())
}
