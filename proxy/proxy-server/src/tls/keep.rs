//! Takes new certificates as their files change, without dropping a connection.

use std::sync::Arc;
use std::time::Duration;

use crate::proxy::Proxy;
use crate::tls::files::Renews;

/// Between two looks at the files; a change is taken when two looks in a row agree about it.
const INTERVAL: Duration = Duration::from_millis(500);

/// Looks at the files of all certificates again and again.
pub(crate) async fn keep_certificates(proxy: Arc<Proxy>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    loop {
        ticks.tick().await;
        let changed = all(&proxy).into_iter().filter(|one| one.watched().look()).collect();
        renew(&proxy, changed).await;
    }
}

/// Reads all of them again, changed or not. Says what could not be read.
pub(crate) async fn renew_certificates(proxy: &Proxy) -> Vec<String> {
    renew(proxy, all(proxy)).await
}

/// Each once, those of replicas that are known now.
fn all(proxy: &Proxy) -> Vec<Arc<dyn Renews>> {
    let replicas = proxy.fleet.replicas();
    let regions = proxy.fleet.peers.iter().flat_map(|peer| peer.tls());
    let mut servers: Vec<_> = replicas.iter().filter_map(|replica| replica.link.tls.clone()).chain(regions).collect();
    servers.sort_by_key(Arc::as_ptr);
    servers.dedup_by_key(|tls| Arc::as_ptr(tls));
    let ports = proxy.port_tls.iter().cloned().map(|tls| -> Arc<dyn Renews> { tls });
    ports.chain(servers.into_iter().map(|tls| -> Arc<dyn Renews> { tls })).collect()
}

async fn renew(proxy: &Proxy, changed: Vec<Arc<dyn Renews>>) -> Vec<String> {
    if changed.is_empty() {
        return Vec::new();
    }
    let read = tokio::task::spawn_blocking(move || {
        let read = |one: Arc<dyn Renews>| {
            one.watched().begin_read();
            (one.watched().shown(), one.read_again())
        };
        changed.into_iter().map(read).collect::<Vec<_>>()
    });
    let mut wrong = Vec::new();
    for (files, read) in read.await.unwrap_or_default() {
        let result = if read.is_ok() { "taken" } else { "refused" };
        proxy.metrics.certificate_reloads.with_label_values(&[result]).inc();
        match read {
            Ok(()) => tracing::info!(files, "certificates were read again"),
            Err(error) => {
                tracing::error!(%error, "new certificates cannot be used; the old ones stay");
                wrong.push(format!("TLS: {error}; the old certificates stay"));
            }
        }
    }
    wrong
}
