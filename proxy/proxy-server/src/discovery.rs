//! Looks for replicas at run time, and hands what it finds to the fleet.

mod dns;
mod file;
mod kubernetes;
mod watched_file;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{Discovery, Place, Replica};
use crate::fleet::{JoinError, Source};
use crate::proxy::Proxy;
use crate::tasks::Task;

pub(crate) use watched_file::WatchedFile;

/// The places that are looked at, and what the last looks gave.
#[derive(Default)]
pub(crate) struct Discoveries(Mutex<Vec<Running>>);

struct Running {
    discovery: Discovery,
    said: Arc<Mutex<Said>>,
    /// Ends the looking when dropped.
    _task: Task,
}

/// What the last looks at a place gave.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    /// Replicas that the last good look found.
    pub found: usize,
    /// Why the last look was not good, or what of it could not be taken in.
    pub error: Option<String>,
    /// When the last good look was, in monotonic milliseconds.
    pub read_ms: Option<u64>,
}

impl Discoveries {
    /// Looks at these places from now on, and at no others.
    pub fn set(&self, proxy: &Arc<Proxy>, wanted: &[Discovery]) {
        let mut running = self.running();
        let (kept, ended): (Vec<Running>, Vec<Running>) =
            running.drain(..).partition(|one| wanted.contains(&one.discovery));
        *running = kept;
        for one in ended {
            let source = Source::Discovery(one.discovery.name.clone());
            let goes_on = wanted.iter().any(|other| other.name == one.discovery.name);
            drop(one);
            // Where only the template is another, the next look says who stays.
            if !goes_on {
                proxy.sync_replicas(&source, &[]);
            }
        }
        for discovery in wanted {
            if !running.iter().any(|one| one.discovery == *discovery) {
                running.push(begin(proxy, discovery.clone()));
            }
        }
    }

    /// Each place by its name, and what the last looks gave.
    pub fn said(&self) -> Vec<(Arc<str>, Said)> {
        let said = |one: &Running| one.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.running().iter().map(|one| (one.discovery.name.clone(), said(one))).collect()
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin(proxy: &Arc<Proxy>, discovery: Discovery) -> Running {
    let said = Arc::new(Mutex::new(Said::default()));
    let finder = Finder { proxy: proxy.clone(), source: Source::Discovery(discovery.name.clone()), said: said.clone() };
    let Discovery { name, place, template } = discovery.clone();
    let task = proxy.tasks.spawn_task(format!("discover {name}"), async move {
        match place {
            Place::File(path) => file::find(finder, path, template).await,
            Place::Kubernetes(service) => kubernetes::find(finder, service, template).await,
            Place::Dns(name) => dns::find(finder, name, template).await,
        }
    });
    Running { discovery, said, _task: task }
}

/// What a finder tells its finds.
pub(crate) struct Finder {
    pub proxy: Arc<Proxy>,
    source: Source,
    said: Arc<Mutex<Said>>,
}

impl Finder {
    /// These are all there are.
    pub fn found(&self, replicas: &[Replica]) {
        let refused = self.proxy.sync_replicas(&self.source, replicas);
        let error = refused.first().map(JoinError::to_string);
        self.say(Said { found: replicas.len(), error, read_ms: Some(self.proxy.clock.now_ms()) });
    }

    /// The look failed: whoever was found before stays.
    pub fn failed(&self, error: String) {
        let last = self.said.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if last.error.as_ref() != Some(&error) {
            tracing::warn!(source = %self.source, error, "looking for replicas failed; those found before stay");
        }
        self.say(Said { error: Some(error), ..last });
    }

    fn say(&self, said: Said) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }
}
