//! Which part of the fleet, and which policies, a request is for: the first route whose conditions it meets.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use dispatch::{Chain, Pattern};
use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, Uri};
use policy_api::{FleetView, ReplicaId};

use crate::fleet::Fleet;

/// Views of parts of the fleet that are kept: a few moments of each route's.
const VIEWS_MAX: usize = 256;

/// A route, checked.
#[derive(Debug, PartialEq)]
pub(crate) struct Route {
    pub name: Arc<str>,
    pub path: Option<PathRule>,
    /// Any of these.
    pub hosts: Vec<Pattern>,
    /// All of these.
    pub headers: Vec<(HeaderName, Pattern)>,
    /// What a request asks for that names no model.
    pub model: Option<String>,
    pub subset: Subset,
    /// The slots that are asked, in this order; without them, those that everybody's requests are.
    pub slots: Option<Arc<[String]>>,
}

/// Which paths.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PathRule {
    Exact(String),
    Prefix(String),
}

/// A part of the fleet.
#[derive(Debug)]
pub(crate) struct Subset {
    /// Any of these; none: all.
    names: Vec<Pattern>,
    /// All of these.
    labels: Arc<BTreeMap<String, String>>,
    /// Tells it from all others.
    id: u64,
}

/// The routes of this moment, and what they last saw of the fleet.
pub(crate) struct Routes {
    now: ArcSwap<Vec<Arc<Route>>>,
    views: Mutex<HashMap<(u64, u64), Arc<FleetView>>>,
}

impl PathRule {
    fn fits(&self, path: &str) -> bool {
        match self {
            PathRule::Exact(exact) => path == exact,
            PathRule::Prefix(prefix) => path.starts_with(prefix),
        }
    }
}

impl PartialEq for Subset {
    fn eq(&self, other: &Subset) -> bool {
        (&self.names, &self.labels) == (&other.names, &other.labels)
    }
}

impl Subset {
    pub fn new(names: Vec<Pattern>, labels: Arc<BTreeMap<String, String>>) -> Subset {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Subset { names, labels, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Whether it is the whole fleet.
    pub fn is_all(&self) -> bool {
        self.names.is_empty() && self.labels.is_empty()
    }

    fn has(&self, name: &str, labels: &BTreeMap<String, String>) -> bool {
        (self.names.is_empty() || self.names.iter().any(|pattern| pattern.matches(name)))
            && self.labels.iter().all(|(label, value)| labels.get(label) == Some(value))
    }
}

impl Route {
    fn fits(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let has = |(name, value): &(HeaderName, Pattern)| {
            headers.get_all(name).iter().any(|sent| sent.to_str().is_ok_and(|sent| value.matches(sent)))
        };
        self.path.as_ref().is_none_or(|rule| rule.fits(uri.path()))
            && (self.hosts.is_empty() || is_one_of(&self.hosts, uri, headers))
            && self.headers.iter().all(has)
    }

    /// The policies that its requests are for.
    pub fn chain(&self, all: Arc<Chain>) -> Arc<Chain> {
        match &self.slots {
            None => all,
            Some(slots) => Arc::new(all.only(slots)),
        }
    }
}

/// By the name, whatever the port and the case.
fn is_one_of(hosts: &[Pattern], uri: &Uri, headers: &HeaderMap) -> bool {
    let named: Option<Authority> = headers.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let Some(host) = uri.authority().or(named.as_ref()).map(|authority| authority.host().to_ascii_lowercase()) else {
        return false;
    };
    hosts.iter().any(|pattern| pattern.matches(&host))
}

impl Routes {
    pub fn new(routes: &[Arc<Route>]) -> Routes {
        Routes { now: ArcSwap::from_pointee(routes.to_vec()), views: Mutex::default() }
    }

    pub fn set(&self, routes: &[Arc<Route>]) {
        self.now.store(Arc::new(routes.to_vec()));
    }

    /// The first route that is for a request with this head.
    pub fn find(&self, uri: &Uri, headers: &HeaderMap) -> Option<Arc<Route>> {
        self.now.load().iter().find(|route| route.fits(uri, headers)).cloned()
    }

    /// What a route's requests see of the fleet, out of what everybody sees.
    pub fn view(&self, fleet: &Fleet, all: &Arc<FleetView>, subset: &Subset) -> Arc<FleetView> {
        if subset.is_all() {
            return all.clone();
        }
        let key = (subset.id, all.version);
        if let Some(known) = self.views.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let has = |row: &usize| {
            fleet.replica(ReplicaId(all.id[*row])).is_some_and(|replica| subset.has(&replica.name, &replica.labels))
        };
        let kept: Vec<usize> = (0..all.len()).filter(has).collect();
        let view = match kept.len() == all.len() {
            true => all.clone(),
            false => fleet.part(all, &kept),
        };
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        if views.len() >= VIEWS_MAX {
            views.clear();
        }
        views.entry(key).or_insert(view).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(path: Option<PathRule>, hosts: &[&str], headers: &[(&'static str, &str)]) -> Route {
        Route {
            name: "r".into(),
            path,
            hosts: hosts.iter().copied().map(Pattern::new).collect(),
            headers: headers
                .iter()
                .map(|(name, value)| (HeaderName::from_static(name), Pattern::new(*value)))
                .collect(),
            model: None,
            subset: Subset::new(Vec::new(), Arc::default()),
            slots: None,
        }
    }

    #[track_caller]
    fn check(route: &Route, target: &str, headers: &[(&'static str, &str)], expected: bool) {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        assert_eq!(route.fits(&target.parse().unwrap(), &headers.collect()), expected, "{target}");
    }

    #[test]
    fn a_path_is_exact_or_begins_so() {
        let exact = route(Some(PathRule::Exact("/tokenize".to_owned())), &[], &[]);
        check(&exact, "/tokenize", &[], true);
        check(&exact, "/tokenize?x=1", &[], true);
        check(&exact, "/tokenize/", &[], false);
        check(&exact, "/Tokenize", &[], false);
        let prefix = route(Some(PathRule::Prefix("/v1/audio/".to_owned())), &[], &[]);
        check(&prefix, "/v1/audio/speech", &[], true);
        check(&prefix, "/v1/audio", &[], false);
        check(&prefix, "/v1/audiobooks", &[], false);
    }

    #[test]
    fn a_host_is_told_by_its_name_alone() {
        let hosts = route(None, &["api.example", "*.gold.example"], &[]);
        check(&hosts, "/x", &[("host", "api.example")], true);
        check(&hosts, "/x", &[("host", "API.Example:8080")], true);
        check(&hosts, "/x", &[("host", "a.b.gold.example")], true);
        check(&hosts, "http://api.example:80/x", &[], true);
        check(&hosts, "/x", &[("host", "gold.example")], false);
        check(&hosts, "/x", &[("host", "api.example.evil")], false);
        check(&hosts, "/x", &[], false);
    }

    #[test]
    fn all_headers_must_be_there() {
        let headers = route(None, &[], &[("x-tier", "gold*"), ("x-team", "*")]);
        check(&headers, "/x", &[("x-tier", "golden"), ("x-team", "a")], true);
        check(&headers, "/x", &[("x-tier", "golden")], false);
        check(&headers, "/x", &[("x-tier", "silver"), ("x-team", "a")], false);
    }

    #[test]
    fn a_part_of_the_fleet_is_named_and_labelled() {
        let labels = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
        };
        let part = Subset::new(vec![Pattern::new("gpu-*")], Arc::new(labels(&[("tier", "gold")])));
        assert!(part.has("gpu-1", &labels(&[("tier", "gold"), ("rack", "7")])));
        assert!(!part.has("gpu-1", &labels(&[("tier", "silver")])));
        assert!(!part.has("gpu-1", &labels(&[])));
        assert!(!part.has("cpu-1", &labels(&[("tier", "gold")])));
    }
}
