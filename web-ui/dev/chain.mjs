// The make-believe proxy's policies: loaded, tried out, promoted, rolled back, quarantined, and what is remembered of it.

import { createHash } from 'node:crypto';
import { complaint, componentOf } from './components.mjs';

const HISTORY_MAX = 50;
/** After this many faults an active version is quarantined. */
const FAULTS_MAX = 5;
const BUDGET = { faults_permille_max: 10, call_us_p99_max: 1000, fuel_max: null, requests_min: 50, window_calls: 1000 };
const REPLACED = 'the version that it was compared with was replaced';
const EVERYTHING = { models: [], tenants: [], endpoints: [] };

export class Chain {
  constructor({ chance, nowMs }) {
    this.chance = chance;
    this.nowMs = nowMs;
    this.slots = [];
  }

  /** A past worth looking at; a plain one has only begun. */
  seed(startedMs, plain) {
    const hour = 3_600_000;
    if (plain) {
      const begun = this.#slot('placement', EVERYTHING);
      this.#activate(begun, this.#add(begun, 'round-robin', { version: '0.1.0', config: {}, source: 'file', source_detail: '/etc/headworks/round-robin.wasm', by: 'file', at: startedMs }), { what: 'activated', by: 'file', at: startedMs });
      return;
    }
    const limits = this.#slot('limits', { models: [], tenants: [], endpoints: ['/v1/chat/completions', '/v1/completions'] });
    const first = this.#add(limits, 'rate-limit', { content: 'rate-limit', version: '0.2.0', config: { default: { requests_per_min: 600 }, tenants: { acme: { requests_per_min: 6000, tokens_per_min: 2_000_000, concurrent_max: 128 }, globex: { requests_per_min: 1200 } }, exempt: ['internal'] }, source: 'file', source_detail: '/etc/headworks/rate-limit.wasm', by: 'file', at: startedMs - 26 * hour });
    this.#activate(limits, first, { what: 'activated', by: 'file', at: startedMs - 26 * hour });
    const placement = this.#slot('placement', { ...EVERYTHING, models: ['tiny', 'llama-*'] });
    const load = (name, given) => this.#add(placement, name, { content: name, version: '0.1.0', config: {}, source: 'admin', source_detail: null, ...given });
    const one = load('round-robin', { source: 'file', source_detail: '/etc/headworks/round-robin.wasm', by: 'file', at: startedMs - 26 * hour });
    this.#activate(placement, one, { what: 'activated', by: 'file', at: startedMs - 26 * hour });
    const two = load('lmetric', { source: 'oci', source_detail: 'ghcr.io/example/lmetric:0.3', version: '0.3.0', by: 'bob', signed_by: 'release-2026', at: startedMs - 7 * hour });
    this.#activate(placement, two, { what: 'activated', by: 'bob', at: startedMs - 7 * hour });
    Object.assign(two, { decisions_total: 18_204, faults_total: 31, last_fault: 'trapped in place: integer divide by zero', state: 'quarantined' });
    this.#activate(placement, one, { what: 'quarantined', by: 'budget', at: startedMs - 6.6 * hour, from: 2, digest: two.digest, why: 'lmetric 0.3.0 faulted 5 times in a row: trapped in place: integer divide by zero' });
    one.decisions_total = 412_733;
    const three = load('prefix-tree', { by: 'alice', signed_by: 'release-2026', at: startedMs - 3 * hour });
    this.#remember(placement, { what: 'canary', by: 'alice', at: startedMs - 3 * hour, from: 1, to: 3, digest: three.digest });
    this.#activate(placement, three, { what: 'promoted', by: 'alice', at: startedMs - 2.5 * hour });
    const four = load('prefix-tree', { by: 'alice', signed_by: 'release-2026', config: { mode: 'sglang', match_share_min: 0.6, balance: { difference_max: 16 } }, at: startedMs - 1.2 * hour });
    this.#activate(placement, four, { what: 'configured', by: 'alice', at: startedMs - 1.2 * hour });
    three.decisions_total = 60_210;
    four.decisions_total = 31_077;
    this.#remember(placement, { what: 'refused', by: 'watch', at: startedMs - 0.4 * hour, from: 4, to: null, digest: null, why: '/etc/headworks/policies/prefix-tree.wasm is not WebAssembly: the file does not begin with the bytes "\\0asm"' });
  }

  view() {
    return this.slots.map((place) => this.viewOf(place));
  }

  viewOf({ slot, scope, on_error, canary, versions, history }) {
    const active = versions.find((one) => one.state === 'active');
    const shown = versions.map(({ schema, hidden, ...version }) => ({ ...version, call_us: percentilesOf(hidden.calls) }));
    return { slot, scope, on_error, config: active?.config ?? {}, config_schema: active?.schema ?? null, canary, versions: shown, history };
  }

  find(slot) {
    return this.slots.find((place) => place.slot === slot);
  }

  put(slot, bytes, { by, percent, signature }) {
    if (bytes.length < 8 || bytes.subarray(0, 4).toString('latin1') !== '\0asm') return { status: 400, message: 'not WebAssembly: the file does not begin with the bytes "\\0asm"' };
    if (bytes[4] === 1) return { status: 400, message: 'a core module, not a component: wrap it with `wasm-tools component new` or link with wasm-component-ld' };
    const signed = /^([\w.-]+):[A-Za-z0-9+/]+=*$/.exec(signature ?? '');
    if (signature && !signed) return { status: 422, code: 'signature_refused', message: 'the signature is not KEYNAME:BASE64' };
    return this.#load(slot, bytes.toString('latin1'), { content: bytes, bytes: bytes.length, signed_by: signed?.[1] ?? null, source: 'admin', source_detail: null, by }, percent);
  }

  pull(slot, reference, { by, percent }) {
    if (!/^[\w.-]+(:\d+)?\/[\w./-]+(:[\w.-]+|@sha256:[0-9a-f]{64})$/.test(reference ?? '')) return { status: 400, code: 'bad_reference', param: 'reference', message: `"${reference}" is no reference: write registry/repository:tag` };
    if (reference.includes('nowhere')) return { status: 422, code: 'pull_refused', param: 'reference', message: `pull ${reference}: the registry answered 404: no such manifest` };
    return this.#load(slot, reference, { content: reference, source: 'oci', source_detail: reference, by }, percent);
  }

  configure(slot, config, { by, percent }) {
    const place = this.find(slot);
    if (!place) return unknown(slot);
    const active = place.versions.find((one) => one.state === 'active');
    const wrong = complaint(active.name, config);
    if (wrong) return { status: 422, code: 'config_refused', ...wrong };
    const { digest, ...same } = active;
    const version = this.#add(place, active.name, { ...same, digest, config, by, at: this.nowMs() });
    return this.#begin(place, version, 'configured', percent, by);
  }

  activate(slot, number, { by }) {
    const place = this.find(slot);
    if (!place) return unknown(slot);
    const version = place.versions.find((one) => one.number === number);
    if (!version) return { status: 404, code: 'unknown_version', message: `slot "${slot}" keeps no version ${number}` };
    if (version.state === 'quarantined') return { status: 409, code: 'version_quarantined', message: `version ${number} is quarantined: load a version without its fault` };
    if (version.state === 'canary') return this.promote(slot, { by });
    if (place.canary) this.#dropCanary(place, by, REPLACED);
    this.#activate(place, version, { what: 'activated', by, at: this.nowMs() });
    return { status: 200, slot: this.viewOf(place) };
  }

  promote(slot, { by }) {
    const place = this.find(slot);
    if (!place) return unknown(slot);
    if (!place.canary) return { status: 409, code: 'no_canary', message: `slot "${slot}" tries out no version` };
    const version = place.versions.find((one) => one.number === place.canary.version);
    place.canary = null;
    this.#activate(place, version, { what: 'promoted', by, at: this.nowMs() });
    return { status: 200, slot: this.viewOf(place) };
  }

  rollback(slot, { by, why = null }) {
    const place = this.find(slot);
    if (!place) return unknown(slot);
    if (place.canary) {
      this.#dropCanary(place, by, why);
      return { status: 200, slot: this.viewOf(place) };
    }
    const target = lastBefore(place);
    if (!target) return { status: 409, message: `slot "${slot}" has no version before the active one` };
    const active = place.versions.find((one) => one.state === 'active');
    this.#activate(place, target, { what: 'rolled_back', by, at: this.nowMs(), why });
    active.state = 'rejected';
    return { status: 200, slot: this.viewOf(place) };
  }

  /** Which version a request meets in a slot, and whether that is its canary. */
  versionFor(place) {
    const canary = place.canary !== null && this.chance() * 100 < place.canary.percent;
    return { canary, version: place.versions.find((one) => (canary ? one.number === place.canary.version : one.state === 'active')) };
  }

  /** One call and how it went; too many faults end a version's time. */
  called(place, version, { canary, us, fault }) {
    version.hidden.calls = [...version.hidden.calls, us].slice(-200);
    if (canary) place.canary.requests += 1;
    if (!fault) return void (version.decisions_total += 1);
    Object.assign(version, { faults_total: version.faults_total + 1, last_fault: fault });
    if (canary) {
      place.canary.faults += 1;
      const { requests, faults, budget } = place.canary;
      const permille = Math.round((faults * 1000) / requests);
      if (requests >= budget.requests_min && permille > budget.faults_permille_max) this.#dropCanary(place, 'budget', `${faults} of ${requests} requests faulted: ${permille} ‰ is over ${budget.faults_permille_max} ‰`);
    } else if (version.hidden.faulty && version.faults_total >= FAULTS_MAX) this.#quarantine(place, version, fault);
  }

  #quarantine(place, version, fault) {
    const target = lastBefore(place);
    const why = `${version.name} ${version.version} faulted ${version.faults_total} times: ${fault}`;
    if (target) this.#activate(place, target, { what: 'quarantined', by: 'budget', at: this.nowMs(), from: version.number, digest: version.digest, why });
    else this.#remember(place, { what: 'quarantined', by: 'budget', at: this.nowMs(), from: version.number, to: null, digest: version.digest, why });
    version.state = 'quarantined';
  }

  #dropCanary(place, by, why) {
    const version = place.versions.find((one) => one.number === place.canary.version);
    version.state = 'rejected';
    place.canary = null;
    this.#remember(place, { what: 'rolled_back', by, at: this.nowMs(), from: version.number, to: place.versions.find((one) => one.state === 'active')?.number ?? null, digest: version.digest, why });
  }

  #load(slot, text, given, percent) {
    const place = this.find(slot) ?? (percent === null ? this.#slot(slot, EVERYTHING) : null);
    if (!place) return unknown(slot);
    const { name } = componentOf(text);
    const config = place.versions.find((one) => one.state === 'active')?.config ?? {};
    const version = this.#add(place, name, { version: name === 'prefix-tree' ? '0.2.0' : '0.1.0', config, ...given, at: this.nowMs() });
    return this.#begin(place, version, 'activated', percent, given.by);
  }

  #begin(place, version, what, percent, by) {
    if (place.canary) this.#dropCanary(place, by, percent === null ? REPLACED : 'another version is tried out instead');
    if (percent === null) this.#activate(place, version, { what, by, at: this.nowMs() });
    else {
      version.state = 'canary';
      place.canary = { version: version.number, percent, since_unix_ms: this.nowMs(), requests: 0, faults: 0, budget: BUDGET };
      this.#remember(place, { what: 'canary', by, at: this.nowMs(), from: place.versions.find((one) => one.state === 'active')?.number ?? null, to: version.number, digest: version.digest });
    }
    return { status: 200, slot: this.viewOf(place) };
  }

  #slot(slot, scope) {
    const place = { slot, scope, on_error: { admit: 'reject', place: 'fallback' }, canary: null, versions: [], history: [] };
    this.slots.push(place);
    return place;
  }

  #add(place, name, { content = name, digest, version, bytes, config, signed_by, source, source_detail, by, at }) {
    const component = componentOf(name);
    const added = {
      number: 1 + Math.max(0, ...place.versions.map((one) => one.number)), state: 'previous', name, version, digest: digest ?? `sha256:${createHash('sha256').update(content).digest('hex')}`, bytes: bytes ?? 13_512 + name.length * 977,
      hooks: component.hooks, mode: component.mode, config, signed_by: signed_by ?? null, source, source_detail, by, loaded_unix_ms: Math.round(at), activated_unix_ms: Math.round(at), decisions_total: 0, faults_total: 0, last_fault: null,
      schema: component.schema, hidden: { content, calls: [], callUs: component.callUs, faulty: component.faulty === true },
    };
    place.versions.unshift(added);
    return added;
  }

  #activate(place, version, { what, by, at, from, digest = version.digest, why = null }) {
    const before = place.versions.find((one) => one.state === 'active');
    if (before) before.state = 'previous';
    Object.assign(version, { state: 'active', activated_unix_ms: Math.round(at) });
    this.#remember(place, { what, by, at, from: from ?? before?.number ?? null, to: version.number, digest, why });
  }

  #remember(place, { what, by, at, from, to, digest, why = null }) {
    place.history = [{ time_ms: Math.round(at), what, by, from, to, digest, why }, ...place.history].slice(0, HISTORY_MAX);
  }
}

function lastBefore(place) {
  return place.versions.filter((one) => one.state === 'previous').toSorted((a, b) => b.activated_unix_ms - a.activated_unix_ms || b.number - a.number)[0];
}

function unknown(slot) {
  return { status: 404, code: 'unknown_slot', message: `no slot is named "${slot}"` };
}

function percentilesOf(calls) {
  if (calls.length === 0) return { p50: null, p99: null };
  const sorted = calls.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return { p50: at(0.5), p99: at(0.99) };
}
