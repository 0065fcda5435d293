// The words of docs/admin-api.md as types.

export type Health = 'healthy' | 'unhealthy' | 'unknown';

/** Closed takes work, open takes none, half open is on trial, busy has said so itself. */
export type Breaker = 'closed' | 'open' | 'half_open' | 'busy';

export interface Replica {
  id: number;
  name: string;
  url: string;
  kind: string;
  /** Who named it: config, lease, admin, or a discovery's name. */
  source: string;
  breaker: Breaker;
  health: Health;
  health_error: string | null;
  draining: boolean;
  models: string[];
  in_flight: number;
  running: number;
  waiting: number;
  kv_blocks_used: number;
  kv_blocks_total: number;
  prefix_hit_permille: number;
  ttft_us: number;
  tpot_us: number;
  /** Null before the first reading. */
  age_ms: number | null;
  requests_total: number;
  failures_total: number;
}

export interface Region {
  id: number;
  name: string;
  local: boolean;
  reachable: boolean;
  error: string | null;
  rtt_us: number;
  /** Null before the first reading. */
  age_ms: number | null;
  queue: number;
  available: number;
  replicas: Replica[];
}

export interface Fleet {
  proxy: { region: string; version: string; started_unix_ms: number; data_url: string };
  regions: Region[];
}

export interface Percentiles {
  p50: number | null;
  p90: number | null;
  p99: number | null;
}

export interface Traffic {
  time_ms: number;
  requests_per_s: number;
  failures_per_s: number;
  output_tokens_per_s: number;
  in_flight: number;
  requests_total: number;
  failures_total: number;
  ttft_ms: Percentiles;
  tpot_ms: Percentiles;
  e2e_ms: Percentiles;
  decide_us: Percentiles;
  spans_dropped_total: number;
}

export type VersionState = 'active' | 'canary' | 'previous' | 'quarantined' | 'rejected';
export type VersionSource = 'file' | 'admin' | 'watch' | 'oci';
export type Json = null | boolean | number | string | Json[] | JsonObject;
export interface JsonObject {
  [name: string]: Json;
}

export interface PolicyVersion {
  number: number;
  /** Rejected: it was rolled back from. */
  state: VersionState;
  name: string;
  version: string;
  digest: string;
  bytes: number;
  hooks: string[];
  mode: string;
  config: JsonObject;
  /** The key's name; null when no signature was checked. */
  signed_by: string | null;
  source: VersionSource;
  /** A path or a reference. */
  source_detail: string | null;
  by: string;
  loaded_unix_ms: number;
  activated_unix_ms: number;
  decisions_total: number;
  faults_total: number;
  last_fault: string | null;
  /** Time of its calls; null members before the first. */
  call_us: { p50: number | null; p99: number | null };
}

/** Which requests a slot is asked about; an empty list means all. */
export interface Scope {
  models: string[];
  tenants: string[];
  endpoints: string[];
}

export interface Budget {
  faults_permille_max: number;
  /** Null: not judged. */
  call_us_p99_max: number | null;
  fuel_max: number | null;
  requests_min: number;
  /** The last calls that it is judged by. */
  window_calls: number;
}

export interface Canary {
  version: number;
  percent: number;
  since_unix_ms: number;
  requests: number;
  faults: number;
  budget: Budget;
}

export type HistoryWhat = 'activated' | 'canary' | 'promoted' | 'rolled_back' | 'quarantined' | 'configured' | 'refused';

export interface HistoryEntry {
  time_ms: number;
  what: HistoryWhat;
  by: string;
  from: number | null;
  to: number | null;
  digest: string | null;
  why: string | null;
}

export type OnError = 'reject' | 'fallback';

export interface Slot {
  slot: string;
  scope: Scope;
  on_error: { admit: OnError; place: OnError };
  /** The active version's; empty for none. */
  config: JsonObject;
  /** JSON Schema of the active version; null when it has none. */
  config_schema: JsonObject | null;
  canary: Canary | null;
  /** Newest first. */
  versions: PolicyVersion[];
  /** Newest first. */
  history: HistoryEntry[];
}

export interface Policies {
  chain: Slot[];
  fallback: string;
}

export type Outcome = 'running' | 'finished' | 'failed' | 'cancelled' | 'refused';

/** One call of one policy for one request. */
export interface PolicyCall {
  slot: string;
  policy: string;
  digest: string;
  hook: 'admit' | 'place';
  verdict: string;
  us: number;
  /** Null where fuel is not counted. */
  fuel: number | null;
  canary: boolean;
}

export interface Decision {
  id: string;
  time_ms: number;
  trace_id: string | null;
  endpoint: string;
  model: string;
  tenant: string;
  stream: boolean;
  slot: string | null;
  policy: string;
  policy_version: string;
  digest: string | null;
  verdict: string;
  target: string | null;
  reason: string | null;
  decide_us: number;
  /** In the order they were made. */
  calls: PolicyCall[];
  /** Of what policies could see of the request: equal requests, equal digests. */
  facts_digest: string;
  fleet_version: number;
  /** A canary gave the verdict. */
  canary: boolean;
  attempts: number;
  faults: string[];
  outcome: Outcome;
  status: number | null;
  prompt_tokens: number | null;
  output_tokens: number | null;
  ttft_ms: number | null;
  duration_ms: number | null;
}

/** The current recording, or the last one. */
export interface Recording {
  on: boolean;
  file: string | null;
  prompts: boolean;
  bytes: number;
  bytes_max: number;
  calls: number;
  dropped: number;
}
