//! Takes another configuration while requests run: replicas, discovery, tenants, policies, and the bounds that can.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Config;
use crate::discovery::WatchedFile;
use crate::fleet::{JoinError, Source};
use crate::proxy::Proxy;
use crate::tls::renew_certificates;

/// The configuration in force, and what became of the last reload.
pub(crate) struct Reloads {
    /// Where it is read from; a configuration that was made from text has no file.
    path: Option<PathBuf>,
    in_force: Mutex<Arc<Config>>,
    last: Mutex<Option<Reloaded>>,
    /// One reload at a time.
    turn: tokio::sync::Mutex<()>,
}

/// What became of a reload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Reloaded {
    pub time_ms: u64,
    /// The file could be used. What of it could not be brought about is in `errors`.
    pub taken: bool,
    /// What was wrong; where `taken` is false, the old configuration is in force.
    pub errors: Vec<String>,
    /// Keys that differ and that only a start can change.
    pub needs_restart: Vec<String>,
}

impl Reloads {
    pub fn new(config: Config) -> Reloads {
        let path = config.file().map(Path::to_owned);
        Reloads {
            path,
            in_force: Mutex::new(Arc::new(config)),
            last: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// What became of the last reload, if there was one.
    pub fn last(&self) -> Option<Reloaded> {
        lock(&self.last).clone()
    }

    /// The file that is read.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reloads whenever the configuration's file is another.
pub(crate) async fn watch_config(proxy: Arc<Proxy>, path: PathBuf, text: String) {
    let mut watched = WatchedFile::known(path, text);
    loop {
        if watched.changed().await.is_ok() {
            proxy.reload().await;
        } else {
            // It may be on its way to its place; what is in force stays in force.
            tracing::debug!("the configuration's file cannot be read at the moment");
        }
    }
}

/// Reloads on SIGHUP.
pub(crate) async fn reload_on_hangup(proxy: Arc<Proxy>) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            tracing::warn!(%error, "cannot listen for SIGHUP; a change of the file reloads the configuration too");
            return;
        }
    };
    while hangups.recv().await.is_some() {
        tracing::info!("SIGHUP: reloading the configuration");
        proxy.reload().await;
    }
}

impl Proxy {
    /// Reads the configuration's file again and takes what can be taken. A file that cannot be used changes nothing.
    pub async fn reload(self: &Arc<Self>) -> Reloaded {
        let _turn = self.reloads.turn.lock().await;
        let reloaded = match self.read_again().await {
            Ok(config) => self.take(config).await,
            Err(error) => Reloaded { errors: vec![error], ..Reloaded::default() },
        };
        let reloaded = Reloaded { time_ms: self.clock.now_unix_ms(), ..reloaded };
        self.tell_of(&reloaded);
        *lock(&self.reloads.last) = Some(reloaded.clone());
        reloaded
    }

    async fn read_again(&self) -> Result<Config, String> {
        let Some(path) = self.reloads.path.clone() else {
            return Err("the configuration was not read from a file".to_owned());
        };
        let read = tokio::task::spawn_blocking(move || Config::load(path)).await;
        read.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    async fn take(self: &Arc<Self>, new: Config) -> Reloaded {
        let old = lock(&self.reloads.in_force).clone();
        let (limits, fixed) = self.limits.renewed(&new.limits);
        let mut needs_restart = old.differs_for_good(&new);
        needs_restart.extend(fixed.iter().map(|key| format!("limits.{key}")));
        self.limits.set(limits);
        let refused = self.sync_replicas(&Source::Config, &new.replicas);
        let mut errors: Vec<String> = refused.iter().map(JoinError::to_string).collect();
        if old.tenancy.own != new.tenancy.own {
            errors.extend(self.tenants.replace_own(new.tenancy.own.clone()).err());
        }
        self.discoveries.set(self, &new.discoveries);
        errors.extend(self.reload_policies(old, &new).await);
        errors.extend(renew_certificates(self).await);
        *lock(&self.reloads.in_force) = Arc::new(new);
        Reloaded { time_ms: 0, taken: true, errors, needs_restart }
    }

    async fn reload_policies(&self, old: Arc<Config>, new: &Config) -> Vec<String> {
        let (turn, sources, wanted) = (self.policies.turn().await, self.sources.clone(), new.policies.clone());
        let reload =
            move |policies: &crate::policies::Policies| policies.reload(&turn, &old.policies, &wanted, &sources);
        match self.policies.clone().change_blocking(reload).await {
            Ok(wrongs) => wrongs,
            Err(broke) => vec![broke.to_string()],
        }
    }

    fn tell_of(&self, reloaded: &Reloaded) {
        let Reloaded { taken, errors, needs_restart, .. } = reloaded;
        let outcome = if !taken {
            "refused"
        } else if errors.is_empty() {
            "taken"
        } else {
            "partly"
        };
        self.metrics.reloads.with_label_values(&[outcome]).inc();
        for error in errors {
            match taken {
                true => tracing::error!(error, "part of the configuration could not be taken"),
                false => tracing::error!(error, "the configuration was not reloaded; the old one stays in force"),
            }
        }
        if !needs_restart.is_empty() {
            tracing::warn!(keys = needs_restart.join(", "), "these keys changed; only a restart takes them");
        }
        if *taken {
            tracing::info!(outcome, "configuration reloaded");
        }
    }
}
