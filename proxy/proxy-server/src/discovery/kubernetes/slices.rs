//! What a service's EndpointSlices say, kept slice by slice as events change them.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;

use crate::config::{PortOf, Replica, Service, Template};

/// Slices by their names.
pub(super) struct Slices {
    /// What a watch takes up at.
    pub version: String,
    by_name: BTreeMap<String, Slice>,
}

/// What an event means for the fleet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    Changed,
    Nothing,
    Outdated,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListDoc {
    metadata: ListMeta,
    items: Vec<Slice>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
}

#[derive(Deserialize)]
struct EventDoc {
    r#type: String,
    object: serde_json::Value,
}

#[derive(Deserialize)]
struct Slice {
    metadata: Named,
    #[serde(default)]
    endpoints: Option<Vec<Endpoint>>,
    #[serde(default)]
    ports: Option<Vec<Port>>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Endpoint {
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Conditions,
    target_ref: Option<TargetRef>,
}

#[derive(Default, Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct TargetRef {
    name: Option<String>,
}

#[derive(Deserialize)]
struct Port {
    name: Option<String>,
    port: Option<u16>,
}

impl Slices {
    pub fn of_list(body: &[u8]) -> Result<Slices, String> {
        let ListDoc { metadata, items } =
            serde_json::from_slice(body).map_err(|error| format!("the API gave no list of EndpointSlices: {error}"))?;
        let by_name = items.into_iter().map(|slice| (slice.metadata.name.clone(), slice)).collect();
        Ok(Slices { version: metadata.resource_version, by_name })
    }

    /// Takes one event of a watch.
    pub fn take(&mut self, line: &[u8]) -> Result<Event, String> {
        let wrong = |error: serde_json::Error| format!("the API gave an event that is none: {error}");
        let EventDoc { r#type, object } = serde_json::from_slice(line).map_err(wrong)?;
        match r#type.as_str() {
            "ADDED" | "MODIFIED" => {
                let slice: Slice = serde_json::from_value(object).map_err(wrong)?;
                self.by_name.insert(slice.metadata.name.clone(), slice);
                Ok(Event::Changed)
            }
            "DELETED" => {
                let slice: Slice = serde_json::from_value(object).map_err(wrong)?;
                self.by_name.remove(&slice.metadata.name);
                Ok(Event::Changed)
            }
            "ERROR" => Ok(Event::Outdated),
            _ => Ok(Event::Nothing),
        }
    }

    /// A replica for each endpoint that is ready, in an order that does not depend on the slices'. An endpoint may be
    /// in two slices while it moves from one to the other.
    pub fn replicas(&self, service: &Service, template: &Template) -> Vec<Replica> {
        let host = match &service.namespace {
            Some(namespace) => format!("{}.{namespace}.svc", service.name),
            None => service.name.clone(),
        };
        let mut replicas: BTreeMap<String, Replica> = BTreeMap::new();
        for slice in self.by_name.values() {
            let Some(port) = slice.port(&service.port) else { continue };
            for endpoint in slice.endpoints.iter().flatten() {
                // What says nothing of its readiness is to be taken for ready.
                if endpoint.conditions.ready == Some(false) {
                    continue;
                }
                // Addresses after the first are the same endpoint's.
                let Some(Ok(address)) = endpoint.addresses.first().map(|address| address.parse::<IpAddr>()) else {
                    continue;
                };
                let address = SocketAddr::new(address, port);
                let pod = endpoint.target_ref.as_ref().and_then(|target| target.name.clone());
                let name = pod.unwrap_or_else(|| format!("{}/{address}", service.name));
                let replica = template.replica(name.clone(), address, &host);
                replicas.entry(name).or_insert(replica);
            }
        }
        replicas.into_values().collect()
    }
}

impl Slice {
    fn port(&self, wanted: &PortOf) -> Option<u16> {
        let mut ports = self.ports.iter().flatten();
        match wanted {
            PortOf::Number(number) => Some(*number),
            PortOf::Name(name) => ports.find(|port| port.name.as_ref() == Some(name))?.port,
            PortOf::First => ports.next()?.port,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"metadata":{"resourceVersion":"41"},"items":[
        {"metadata":{"name":"vllm-a"},"addressType":"IPv4","ports":[{"name":"metrics","port":9100},{"name":"http","port":8000}],
         "endpoints":[{"addresses":["10.0.0.2"],"conditions":{"ready":true},"targetRef":{"kind":"Pod","name":"vllm-1"}},
                      {"addresses":["10.0.0.1"],"conditions":{},"targetRef":{"kind":"Pod","name":"vllm-0"}},
                      {"addresses":["10.0.0.3"],"conditions":{"ready":false,"terminating":true}}]},
        {"metadata":{"name":"vllm-b"},"endpoints":null,"ports":null}]}"#;

    fn service(port: PortOf) -> Service {
        Service { name: "vllm".to_owned(), namespace: None, port, api: None, account: "/none".into() }
    }

    #[track_caller]
    fn check(slices: &Slices, port: PortOf, expected: &[&str]) {
        let replicas = slices.replicas(&service(port), &Template::default());
        let shown: Vec<String> = replicas.iter().map(|replica| format!("{} {}", replica.name, replica.url)).collect();
        assert_eq!(shown, expected);
    }

    fn http() -> PortOf {
        PortOf::Name("http".to_owned())
    }

    #[test]
    fn endpoints_that_are_ready_are_replicas() {
        let slices = Slices::of_list(LIST.as_bytes()).unwrap();
        assert_eq!(slices.version, "41");
        check(&slices, http(), &["vllm-0 http://10.0.0.1:8000", "vllm-1 http://10.0.0.2:8000"]);
        check(&slices, PortOf::Number(80), &["vllm-0 http://10.0.0.1:80", "vllm-1 http://10.0.0.2:80"]);
        check(&slices, PortOf::First, &["vllm-0 http://10.0.0.1:9100", "vllm-1 http://10.0.0.2:9100"]);
        check(&slices, PortOf::Name("grpc".to_owned()), &[]);
    }

    #[test]
    fn events_change_their_slices() {
        let mut slices = Slices::of_list(LIST.as_bytes()).unwrap();
        let added = r#"{"type":"ADDED","object":{"metadata":{"name":"vllm-c"},"ports":[{"name":"http","port":8000}],
            "endpoints":[{"addresses":["fd00::7"]}]}}"#;
        assert_eq!(slices.take(added.as_bytes()), Ok(Event::Changed));
        let gone = r#"{"type":"DELETED","object":{"metadata":{"name":"vllm-a"}}}"#;
        assert_eq!(slices.take(gone.as_bytes()), Ok(Event::Changed));
        check(&slices, http(), &["vllm/[fd00::7]:8000 http://[fd00::7]:8000"]);
        assert_eq!(slices.take(br#"{"type":"BOOKMARK","object":{}}"#), Ok(Event::Nothing));
        assert_eq!(slices.take(br#"{"type":"ERROR","object":{"code":410}}"#), Ok(Event::Outdated));
        assert!(slices.take(b"{}").is_err() && slices.take(br#"{"type":"ADDED","object":{}}"#).is_err());
    }
}
