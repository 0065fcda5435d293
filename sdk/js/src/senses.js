// What the host lends besides the request and the fleet. Silent in a test where it only speaks; elsewhere it is there
// inside a component only, so hand it to the deciding code as an argument.

import * as host from '#host';

/** Token buckets, places and counters by name: exact across a policy's instances and its successors. */
export const buckets = Object.freeze({
  take(name, shape, tokens) {
    const taking = asked('take', name, () => host.buckets.take(name, shape, tokens));
    switch (taking.tag) {
      case 'taken':
        return { taken: true, left: taking.val, waitMs: 0 };
      case 'wait-ms':
        return { taken: false, left: 0, waitMs: taking.val };
      default:
        return { taken: false, left: 0, waitMs: Infinity };
    }
  },
  giveBack: (name, tokens) => host.buckets.giveBack(name, tokens),
  charge: (name, tokens) => host.buckets.charge(name, tokens),
  level: (name) => host.buckets.level(name),
  hold: (name, places) => asked('hold', name, () => host.buckets.hold(name, places)),
  held: (name) => host.buckets.held(name),
  count: (name, delta = 1) => asked('count', name, () => host.buckets.count(name, BigInt(delta))),
});

/** Small values by name, with versions. */
export const store = Object.freeze({
  get: (key) => host.store.get(key),
  set: (key, value) => asked('set', key, () => host.store.set(key, bytesOf(value))),
  /** The new version; none when someone else wrote first. */
  compareAndSet(key, expected, value) {
    try {
      return host.store.compareAndSet(key, expected, bytesOf(value));
    } catch (error) {
      if (error?.payload?.tag === 'conflict') {
        return undefined;
      }
      throw refused('compareAndSet', key, error);
    }
  },
  remove: (key) => host.store.remove(key),
});

/** Who has seen which prefix. */
export const prefixIndex = Object.freeze({
  matchReplicas: (request) => host.prefixIndex.matchReplicas(request.handle),
  matchRegions: (request) => host.prefixIndex.matchRegions(request.handle),
  insert: (holder, request) => host.prefixIndex.insert(holderOf(holder), request.handle),
  matchReplicasOf: (prefix) => host.prefixIndex.matchReplicasOf(prefix),
  matchRegionsOf: (prefix) => host.prefixIndex.matchRegionsOf(prefix),
  insertHashes: (holder, prefix) => host.prefixIndex.insertHashes(holderOf(holder), prefix),
  evict: (holder) => host.prefixIndex.evict(holderOf(holder)),
  sizes: () => host.prefixIndex.sizes(),
});

/** Chance that replays. `Math.random` does not: it is the same in every instance. */
export const chance = Object.freeze({
  nextU32: () => host.chance.nextU32(),
  nextU64: () => host.chance.nextU64(),
  below: (bound) => host.chance.below(bound),
});

/** Monotonic milliseconds. */
export const clock = Object.freeze({
  nowMs: () => Number(host.clock.nowMs()),
});

/** Lines for the operator. */
export const log = Object.freeze({
  debug: (line) => host.log.log('debug', line),
  info: (line) => host.log.log('info', line),
  warn: (line) => host.log.log('warn', line),
  error: (line) => host.log.log('error', line),
});

/** What a policy shows of itself. */
export const telemetry = Object.freeze({
  count: (name, delta = 1) => host.telemetry.count(name, BigInt(delta)),
  gauge: (name, value) => host.telemetry.gauge(name, value),
  attribute: (name, value) => host.telemetry.attribute(name, String(value)),
  explain: (reason) => host.telemetry.explain(reason),
});

/** What the client's answer carries besides. */
export const reply = Object.freeze({
  header: (name, value) => host.reply.header(name, String(value)),
});

/** Turns the contract's refusal into an error that says which call and which name. */
function asked(verb, name, call) {
  try {
    return call();
  } catch (error) {
    throw refused(verb, name, error);
  }
}

function refused(verb, name, error) {
  const reason = error?.payload?.tag ?? error?.payload;
  return reason === undefined ? error : new Error(`${verb} ${JSON.stringify(name)} was refused: ${reason}`);
}

function bytesOf(value) {
  return typeof value === 'string' ? new TextEncoder().encode(value) : value;
}

function holderOf(holder) {
  return 'replica' in holder ? { tag: 'replica', val: holder.replica } : { tag: 'region', val: holder.region };
}
