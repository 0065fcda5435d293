// The smallest true facts, for tests to change one of.

import type { Canary, Decision, Percentiles, PolicyVersion, Region, Replica, Slot, Traffic } from '../api/contract';

const NONE: Percentiles = { p50: null, p90: null, p99: null };

export function decision(change: Partial<Decision> = {}): Decision {
  return {
    id: '1', time_ms: 1000, trace_id: null, endpoint: '/v1/chat/completions', model: 'tiny', tenant: 'anonymous', stream: true, slot: 'placement', policy: 'round-robin', policy_version: '0.1.0',
    digest: 'sha256:ab', verdict: 'replica', target: 'us-0', reason: 'next in turn', decide_us: 3, calls: [], facts_digest: 'f00d', fleet_version: 1, canary: false, attempts: 1, faults: [], outcome: 'finished', status: 200, prompt_tokens: 1, output_tokens: 2, ttft_ms: 1, duration_ms: 2, ...change,
  };
}

export function traffic(time_ms: number, change: Partial<Traffic> = {}): Traffic {
  return { time_ms, requests_per_s: 1, failures_per_s: 0, output_tokens_per_s: 1, in_flight: 0, requests_total: 1, failures_total: 0, ttft_ms: NONE, tpot_ms: NONE, e2e_ms: NONE, decide_us: NONE, spans_dropped_total: 0, ...change };
}

export function version(number: number, state: PolicyVersion['state'], change: Partial<PolicyVersion> = {}): PolicyVersion {
  return { number, state, name: 'round-robin', version: '0.1.0', digest: `sha256:${number}`, bytes: 1, hooks: ['place'], mode: 'pooled', config: {}, signed_by: null, source: 'file', source_detail: null, by: 'file', loaded_unix_ms: 0, activated_unix_ms: 0, decisions_total: 0, faults_total: 0, last_fault: null, call_us: { p50: null, p99: null }, ...change };
}

export function replica(change: Partial<Replica> = {}): Replica {
  return { id: 0, name: 'us-0', url: 'http://127.0.0.1:1', kind: 'headworks', source: 'config', breaker: 'closed', health: 'healthy', health_error: null, draining: false, models: ['tiny'], in_flight: 0, running: 0, waiting: 0, kv_blocks_used: 0, kv_blocks_total: 0, prefix_hit_permille: 0, ttft_us: 0, tpot_us: 0, age_ms: 0, requests_total: 0, failures_total: 0, ...change };
}

export function region(name: string, change: Partial<Region> = {}): Region {
  return { id: 0, name, local: false, reachable: true, error: null, rtt_us: 0, age_ms: 0, queue: 0, available: 0, replicas: [], ...change };
}

export function slot(change: Partial<Slot> = {}): Slot {
  return { slot: 'placement', scope: { models: [], tenants: [], endpoints: [] }, on_error: { admit: 'reject', place: 'fallback' }, config: {}, config_schema: null, canary: null, versions: [], history: [], ...change };
}

export function canary(change: Partial<Canary> = {}): Canary {
  return { version: 2, percent: 10, since_unix_ms: 0, requests: 100, faults: 0, budget: { faults_permille_max: 10, call_us_p99_max: 1000, fuel_max: null, requests_min: 50, window_calls: 1000 }, ...change };
}
