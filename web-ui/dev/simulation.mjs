// A seeded make-believe proxy: a fleet that breathes, requests that are decided, policies that are swapped.

import { Chain } from './chain.mjs';

/** Mulberry32: small, seeded, good enough to look alive. */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

const HISTORY = 300;
const DECISIONS_MAX = 2000;
const TENANTS = ['acme', 'globex', 'initech', 'umbrella', 'hooli', 'anonymous'];
const MODELS = ['tiny', 'tiny', 'llama-8b'];

export class Simulation {
  constructor({ seed, empty, plain, background, nowMs, dataUrl }) {
    this.chance = seeded(seed);
    this.empty = empty;
    this.background = background;
    this.nowMs = nowMs;
    this.startedMs = nowMs();
    this.dataUrl = dataUrl;
    this.regions = empty ? [region(0, 'us', true, [])] : [
      region(0, 'us', true, [replica(0, 'us-0'), replica(1, 'us-1')]),
      region(1, 'eu', false, [replica(2, 'eu-0'), replica(3, 'eu-1'), replica(4, 'eu-2')]),
      region(2, 'ap', false, [replica(5, 'ap-0')]),
    ];
    if (!empty) {
      Object.assign(this.regions[1].replicas[2], { kind: 'vllm', source: 'dns:vllm.pool.example:8000', breaker: 'open', health: 'unhealthy', health_error: 'GET /health answered 503: model is loading' });
      this.regions[1].replicas[1].draining = true;
      Object.assign(this.regions[2], { reachable: false, error: 'connect to http://10.3.0.1:8081: timed out after 2000 ms' });
    }
    this.chain = new Chain({ chance: this.chance, nowMs });
    if (!empty) this.chain.seed(this.startedMs, plain);
    this.recording = { on: false, file: null, prompts: false, bytes: 0, bytes_max: 64 * 1024 * 1024, calls: 0, dropped: 0 };
    this.points = [];
    this.decisions = [];
    this.running = [];
    this.changed = new Map();
    this.totals = { requests: 0, failures: 0, tokens: 0 };
    this.recent = [];
    this.next = 1;
    if (!empty && background) for (let back = HISTORY; back > 0; back -= 1) this.second(this.startedMs - back * 1000);
  }

  fleet() {
    return {
      proxy: { region: 'us', version: '0.1.0', started_unix_ms: this.startedMs, data_url: this.dataUrl },
      regions: this.regions.map((entry) => ({ ...entry, available: entry.replicas.filter((one) => one.health === 'healthy' && !one.draining).length })),
    };
  }

  policies() {
    return { chain: this.chain.view(), fallback: 'native-least-load' };
  }

  /** One second of make-believe traffic and the point it leaves. */
  second(nowMs = this.nowMs()) {
    const wave = 6 + 4 * Math.sin(nowMs / 40_000) + 2 * Math.sin(nowMs / 7_000);
    const requests = this.background && !this.empty ? Math.max(0, Math.round(wave + this.chance() * 3)) : 0;
    for (let made = 0; made < requests; made += 1) this.decide(nowMs - Math.floor(this.chance() * 900), {});
    this.settle(nowMs);
    for (const one of this.regions.flatMap((entry) => entry.replicas)) this.breathe(one);
    this.recent = this.recent.filter((entry) => entry.at > nowMs - 60_000);
    const lastSecond = this.recent.filter((entry) => entry.at > nowMs - 1000);
    const point = {
      time_ms: nowMs,
      requests_per_s: lastSecond.length,
      failures_per_s: lastSecond.filter((entry) => entry.failed).length,
      output_tokens_per_s: lastSecond.reduce((sum, entry) => sum + entry.tokens, 0),
      in_flight: this.running.length,
      requests_total: this.totals.requests,
      failures_total: this.totals.failures,
      ttft_ms: percentiles(this.recent.map((entry) => entry.ttft)),
      tpot_ms: percentiles(this.recent.map((entry) => entry.tpot)),
      e2e_ms: percentiles(this.recent.map((entry) => entry.e2e)),
      decide_us: percentiles(this.recent.map((entry) => entry.decide)),
      spans_dropped_total: 0,
    };
    this.points = [...this.points, point].slice(-HISTORY);
    return point;
  }

  /** Decides one request: kept as running until `settle` finds its time has come. */
  decide(nowMs, { model = MODELS[Math.floor(this.chance() * MODELS.length)], endpoint = '/v1/chat/completions', stream = true, trace = null, tenant = TENANTS[Math.floor(this.chance() ** 2 * TENANTS.length)] }) {
    const local = this.regions[0].replicas;
    const odd = this.chance();
    const chosen = local[this.totals.requests % Math.max(1, local.length)];
    const asked = this.ask(this.background && odd < 0.01);
    const refused = asked.denied || (this.background && odd < 0.02) || chosen === undefined;
    const region = !refused && odd < 0.08;
    const by = asked.decider;
    const decision = {
      id: `req-${this.next++}`, time_ms: nowMs, trace_id: trace ?? hex(this.chance, 32), endpoint, model, tenant, stream,
      slot: by ? by.place.slot : null, policy: by ? by.version.name : 'native-least-load', policy_version: by ? by.version.version : '0.1.0', digest: by ? by.version.digest : null,
      verdict: asked.denied ? 'deny' : refused ? 'reject' : region ? 'region' : 'replica', target: refused ? null : region ? 'eu' : chosen.name,
      reason: asked.denied ? `${tenant} sent 601 requests in this minute; 600 are let in` : refused ? 'no replica takes work' : region ? 'queue 12 is over 8: sent to the region with the shortest queue' : reasonFor(by?.version, local, chosen),
      decide_us: Math.round(asked.calls.reduce((sum, call) => sum + call.us, 1)), calls: asked.calls, facts_digest: hex(this.chance, 16), fleet_version: Math.floor(nowMs / 250) % 1_000_000, canary: by?.canary ?? false,
      attempts: refused ? 0 : odd > 0.96 ? 2 : 1, faults: asked.faults,
      outcome: refused ? 'refused' : 'running', status: asked.denied ? 429 : refused ? 503 : null, prompt_tokens: refused ? null : 12 + Math.floor(this.chance() * 400), output_tokens: null, ttft_ms: null, duration_ms: refused ? 0.4 : null,
    };
    this.totals.requests += 1;
    if (refused) this.totals.failures += 1;
    else {
      const tokens = 8 + Math.floor(this.chance() * 90), ttft = 6 + this.chance() ** 3 * 60, tpot = 1.4 + this.chance() * 1.2;
      this.running.push({ decision, replica: chosen, ends: nowMs + ttft + tokens * tpot * 6, tokens, ttft, tpot, failed: odd > 0.975 && odd < 0.985, left: odd > 0.94 && odd < 0.95 });
    }
    this.record(decision);
    this.note(decision);
    return decision;
  }

  /** Asks every slot in turn, admission before placement, as far as the first verdict. */
  ask(deny) {
    const asked = { calls: [], faults: [], decider: null, denied: false };
    for (const hook of ['admit', 'place']) {
      for (const place of this.chain.slots) {
        const { version, canary } = this.chain.versionFor(place);
        if (!version?.hooks.includes(hook) || asked.denied || (hook === 'place' && asked.decider)) continue;
        const us = version.hidden.callUs * (0.7 + this.chance() * 0.6 + (this.chance() > 0.97 ? 3 : 0));
        const faulty = version.hidden.faulty ? this.chance() < 0.34 : this.background && this.chance() > 0.9995;
        const fault = faulty ? `trapped in ${hook}: unreachable executed` : null;
        const verdict = fault ? 'fault' : hook === 'place' ? 'replica' : deny ? 'deny' : 'pass';
        asked.calls.push({ slot: place.slot, policy: version.name, digest: version.digest, hook, verdict, us, fuel: null, canary });
        this.chain.called(place, version, { canary, us, fault });
        if (fault) asked.faults.push(`${version.name}: ${fault}`);
        else if (hook === 'place' || deny) Object.assign(asked, { decider: { place, version, canary }, denied: deny });
      }
    }
    return asked;
  }

  record(decision) {
    if (!this.recording.on) return;
    const bytes = 900 + decision.calls.length * 350;
    if (this.recording.bytes + bytes > this.recording.bytes_max) this.recording.dropped += decision.calls.length;
    else Object.assign(this.recording, { bytes: this.recording.bytes + bytes, calls: this.recording.calls + decision.calls.length });
  }

  /** Starts a new file, or ends the one that is written. */
  setRecording({ on, prompts = false }) {
    if (on && this.recording.on) return { status: 409, code: 'already_recording', message: 'a recording is being written; end it first' };
    if (on) Object.assign(this.recording, { on, file: `/var/lib/headworks/recordings/${new Date(this.nowMs()).toISOString().replaceAll(/[:.]/g, '-')}${prompts ? '-prompts' : ''}.jsonl`, prompts, bytes: 0, calls: 0, dropped: 0 });
    else this.recording.on = false;
    return { status: 200, recording: this.recording };
  }

  /** The decisions that every given word matches, newest first. */
  found(query) {
    const exact = ['slot', 'policy', 'digest', 'model', 'tenant', 'verdict', 'outcome'].filter((name) => query.has(name));
    const [before, since] = [Number(query.get('before_ms') ?? Infinity), Number(query.get('since_ms') ?? 0)];
    const matching = this.decisions.filter((one) => exact.every((name) => String(one[name] ?? '') === query.get(name)) && one.time_ms < before && one.time_ms >= since);
    return matching.slice(0, Number(query.get('limit') ?? 100));
  }

  settle(nowMs) {
    const done = this.running.filter((entry) => entry.ends <= nowMs);
    this.running = this.running.filter((entry) => entry.ends > nowMs);
    for (const entry of done) this.finish(entry);
  }

  finish({ decision, replica: chosen, ends, tokens, ttft, tpot, failed, left }) {
    const e2e = ttft + tokens * tpot;
    Object.assign(decision, { outcome: failed ? 'failed' : left ? 'cancelled' : 'finished', status: failed ? 502 : 200, output_tokens: failed ? 0 : tokens, ttft_ms: failed ? null : ttft, duration_ms: e2e });
    this.recent.push({ at: ends, failed, tokens, ttft, tpot, e2e, decide: decision.decide_us });
    chosen.requests_total += 1;
    if (failed) { chosen.failures_total += 1; this.totals.failures += 1; }
    chosen.ttft_us = Math.round(ttft * 1000);
    chosen.tpot_us = Math.round(tpot * 1000);
    this.note(decision);
  }

  note(decision) {
    this.changed.set(decision.id, decision);
    if (!this.decisions.includes(decision)) this.decisions = [decision, ...this.decisions].slice(0, DECISIONS_MAX);
  }

  takeChanged() {
    const changed = [...this.changed.values()];
    this.changed.clear();
    return changed;
  }

  breathe(one) {
    if (one.health !== 'healthy') { one.age_ms += 1000; return; }
    const mine = this.running.filter((entry) => entry.replica === one).length;
    one.in_flight = one.running = mine;
    one.waiting = Math.max(0, Math.round((this.chance() - 0.7) * 8));
    one.kv_blocks_used = Math.min(512, mine * 24 + Math.floor(this.chance() * 40) + 60);
    one.prefix_hit_permille = Math.round(Math.min(900, Math.max(0, one.prefix_hit_permille + (this.chance() - 0.5) * 40)));
    one.age_ms = Math.floor(this.chance() * 120);
  }
}

function region(id, name, local, replicas) {
  return { id, name, local, reachable: true, error: null, rtt_us: local ? 0 : 84_000 + id * 1300, age_ms: local ? 0 : 110, queue: 0, available: 0, replicas };
}

function replica(id, name) {
  return { id, name, url: `http://127.0.0.1:${9000 + id}`, kind: 'headworks', source: 'config', breaker: 'closed', health: 'healthy', health_error: null, draining: false, models: ['tiny', 'llama-8b'], in_flight: 0, running: 0, waiting: 0, kv_blocks_used: 0, kv_blocks_total: 512, prefix_hit_permille: 300, ttft_us: 0, tpot_us: 0, age_ms: 20, requests_total: 0, failures_total: 0 };
}

function reasonFor(active, local, chosen) {
  if (active?.name === 'prefix-tree') return `${chosen.name} holds 14 of 18 blocks of this prompt; the queues differ by ${Math.abs(local[0].waiting - (local[1]?.waiting ?? 0))}`;
  if (active?.name === 'round-robin') return 'next in turn';
  return `lowest load ${chosen.running} of ${local.map((one) => `${one.name}=${one.running + one.waiting}`).join(', ')}`;
}

function percentiles(values) {
  if (values.length === 0) return { p50: null, p90: null, p99: null };
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99) };
}

function hex(chance, digits) {
  return Array.from({ length: digits }, () => Math.floor(chance() * 16).toString(16)).join('');
}
