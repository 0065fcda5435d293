// The host outside a component, where a test runs: what only speaks is silent, the rest says that it is not there.

const silent = (...verbs) => Object.fromEntries(verbs.map((verb) => [verb, () => {}]));

const absent = (name, ...verbs) => Object.fromEntries(verbs.map((verb) => [verb, notThere(`${name}.${verb}`)]));

export const isComponent = false;
export const log = silent('log');
export const reply = silent('header');
export const telemetry = silent('count', 'gauge', 'attribute', 'explain');

export const buckets = absent('buckets', 'take', 'giveBack', 'charge', 'level', 'hold', 'held', 'count');
export const chance = absent('chance', 'nextU32', 'nextU64', 'below');
export const clock = absent('clock', 'nowMs');
export const store = absent('store', 'get', 'set', 'compareAndSet', 'remove');
export const prefixIndex = absent(
  'prefixIndex',
  'matchReplicas',
  'matchRegions',
  'insert',
  'matchReplicasOf',
  'matchRegionsOf',
  'insertHashes',
  'evict',
  'sizes',
);

export const fleetVersion = notThere('the fleet');
export const fleetColumns = notThere('the fleet');
export const regionColumn = notThere('the regions');

function notThere(what) {
  return () => {
    throw new Error(`${what} is there inside a component only; in a test hand it to the deciding code as an argument`);
  };
}
