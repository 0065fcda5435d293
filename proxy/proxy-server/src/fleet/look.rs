//! One look at a replica: whether it is well, and what it has to do, asked in the way of its kind.

use std::time::{Duration, Instant};

use bytes::Bytes;
use openai_api::ReplicaState;

use crate::config::ReplicaKind;
use crate::fleet::Replica;
use crate::fleet::scrape::{Scraper, read_slots};
use crate::upstream::Probe;

/// A text of metrics is made anew for each who asks, by the server's own threads: asking takes no more than this share
/// of the time.
const SCRAPE_TIMES: u32 = 10;
/// A server that shows no metrics is asked again after this.
const FAILED_SCRAPE: Duration = Duration::from_secs(1);
/// Looks at an SGLang server between two that let it generate a token.
const LOOKS_PER_DEEP_LOOK: u32 = 600;

/// Looks at one replica again and again.
pub(super) struct Looker {
    scraper: Option<Scraper>,
    /// The last text and what it said: the same text is not read again.
    text: Bytes,
    state: ReplicaState,
    load_error: Option<String>,
    scrape_at: Option<Instant>,
    looks_to_deep_look: u32,
}

/// What a good look found.
pub(super) struct Looked {
    pub state: ReplicaState,
    /// Why the load is what it was before.
    pub load_error: Option<String>,
}

impl Looker {
    pub fn of(kind: ReplicaKind) -> Looker {
        Looker {
            scraper: Scraper::of(kind),
            text: Bytes::new(),
            state: ReplicaState::default(),
            load_error: None,
            scrape_at: None,
            looks_to_deep_look: LOOKS_PER_DEEP_LOOK,
        }
    }

    /// An error is ill health. A load that cannot be read is none.
    pub async fn look(&mut self, probe: &Probe, replica: &Replica, now: Instant) -> Result<Looked, String> {
        match replica.kind {
            ReplicaKind::Headworks => {
                probe.get(replica.url.endpoint("/health")).await?;
                let state = probe.get(replica.url.endpoint("/state")).await?;
                let state =
                    serde_json::from_slice(&state).map_err(|error| format!("GET /state gave no state: {error}"))?;
                return Ok(Looked { state, load_error: None });
            }
            // The list of models is its health: its caller reads that.
            ReplicaKind::Openai => return Ok(Looked { state: ReplicaState::default(), load_error: None }),
            ReplicaKind::Sglang => self.health_of_sglang(probe, replica).await?,
            ReplicaKind::Vllm | ReplicaKind::Llamacpp | ReplicaKind::Tgi => {
                probe.get(replica.url.endpoint("/health")).await?;
            }
        }
        if self.scrape_at.is_none_or(|at| at <= now) {
            let scraped = self.scrape(probe, replica).await;
            let took = now.elapsed();
            let pause = if scraped.is_ok() { took * SCRAPE_TIMES } else { FAILED_SCRAPE };
            self.scrape_at = Some(now + pause);
            self.load_error = scraped.err();
        }
        Ok(Looked { state: self.state.clone(), load_error: self.load_error.clone() })
    }

    /// `/health` says that the process lives; only a token shows that its scheduler does.
    async fn health_of_sglang(&mut self, probe: &Probe, replica: &Replica) -> Result<(), String> {
        self.looks_to_deep_look = self.looks_to_deep_look.checked_sub(1).unwrap_or(LOOKS_PER_DEEP_LOOK);
        let is_busy = self.state.running > 0;
        let path = if self.looks_to_deep_look == 0 && !is_busy { "/health_generate" } else { "/health" };
        probe.get(replica.url.endpoint(path)).await.map(drop)
    }

    async fn scrape(&mut self, probe: &Probe, replica: &Replica) -> Result<(), String> {
        let Some(scraper) = &mut self.scraper else { return Ok(()) };
        let text = match (probe.get(replica.url.endpoint("/metrics")).await, replica.kind) {
            (Ok(text), _) => text,
            // It shows its metrics only when it is told to.
            (Err(_), ReplicaKind::Llamacpp) => {
                self.state = read_slots(&probe.get(replica.url.endpoint("/slots")).await?)?;
                return Ok(());
            }
            (Err(error), _) => return Err(error),
        };
        if text != self.text {
            let read = std::str::from_utf8(&text).map_err(|_| "GET /metrics gave no UTF-8".to_owned())?;
            self.state = scraper.read(read)?;
            self.text = text;
        }
        if replica.kind == ReplicaKind::Sglang && self.state.kv_blocks_total == SGLANG_SHARES {
            self.size_sglang(probe, replica).await;
        }
        Ok(())
    }

    /// Servers whose metrics do not tell how many tokens their cache holds tell it elsewhere.
    async fn size_sglang(&mut self, probe: &Probe, replica: &Replica) {
        #[derive(serde::Deserialize)]
        struct ServerInfo {
            max_total_num_tokens: u32,
        }
        let Ok(body) = probe.get(replica.url.endpoint("/get_server_info")).await else { return };
        let Ok(ServerInfo { max_total_num_tokens: tokens }) = serde_json::from_slice(&body) else { return };
        let used = f64::from(self.state.kv_blocks_used) / f64::from(SGLANG_SHARES) * f64::from(tokens);
        self.state.kv_blocks_used = used.round() as u32;
        self.state.kv_blocks_total = tokens;
    }
}

/// What a scrape says where only the share in use is told.
const SGLANG_SHARES: u32 = crate::fleet::scrape::SHARES;
