// The words of docs/admin-api.md as types.

export type Health = 'healthy' | 'unhealthy' | 'unknown';

export interface Replica {
  id: number;
  name: string;
  url: string;
  kind: string;
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

export interface PolicyVersion {
  number: number;
  state: 'active' | 'previous';
  name: string;
  version: string;
  digest: string;
  bytes: number;
  hooks: string[];
  mode: string;
  source: string;
  loaded_unix_ms: number;
  activated_unix_ms: number;
  decisions_total: number;
  faults_total: number;
  last_fault: string | null;
}

export interface Slot {
  slot: string;
  versions: PolicyVersion[];
}

export interface Policies {
  chain: Slot[];
  fallback: string;
}

export type Outcome = 'running' | 'finished' | 'failed' | 'cancelled' | 'refused';

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
  attempts: number;
  faults: string[];
  outcome: Outcome;
  status: number | null;
  prompt_tokens: number | null;
  output_tokens: number | null;
  ttft_ms: number | null;
  duration_ms: number | null;
}
