// A mirror of the fleet: columns fetched when first looked at, and again only after the fleet changed.

import * as host from '#host';

/** Each column's name here and in the contract, in the contract's order, and what a made-up replica has there. */
const REPLICA = [
  ['id', 'id', 0],
  ['region', 'region', 0],
  ['running', 'running', 0],
  ['waiting', 'waiting', 0],
  ['kvBlocksUsed', 'kv-blocks-used', 0],
  ['kvBlocksTotal', 'kv-blocks-total', 0],
  ['prefixHitPermille', 'prefix-hit-permille', 0],
  ['health', 'health', 1],
  ['draining', 'draining', 0],
  ['role', 'role', 0],
  ['ageMs', 'age-ms', 0],
  ['ttftUs', 'ttft-us', 0],
  ['tpotUs', 'tpot-us', 0],
  ['weight', 'weight', 100],
  ['prefillTokens', 'prefill-tokens', 0],
];

const REGION = [
  ['id', 'id', 0],
  ['local', 'local', 0],
  ['available', 'available', 0],
  ['queue', 'queue', 0],
  ['rttUs', 'rtt-us', 0],
  ['ageMs', 'age-ms', 0],
];

/** Whether a replica may be given work. */
export const Health = Object.freeze({ unknown: 0, healthy: 1, unhealthy: 2 });

/** The regions, one column per field. */
export class Regions {
  /** Not for policies: `columns` are there already, the rest is asked for. */
  constructor(columns = {}) {
    keep(this, columns);
  }

  /** A column that is not there yet. */
  fetch(name) {
    return keep(this, { [name]: host.regionColumn(contractName(REGION, name)) })[name];
  }
}

/** The replicas, one column per field; row `i` of each is the same replica. */
export class Fleet {
  /** The columns that this policy looks at, fetched in one call once the fleet has changed. */
  #wanted;

  /** Not for policies: see `Fleet.of`. */
  constructor(wanted = new Set(), columns = {}, regions = new Regions()) {
    this.#wanted = wanted;
    this.regions = regions;
    keep(this, columns);
  }

  /** A fleet for a test. */
  static of(replicas, regions = []) {
    return new Fleet(new Set(), columnsOf(REPLICA, replicas), new Regions(columnsOf(REGION, regions)));
  }

  get length() {
    return this.id.length;
  }

  rows() {
    return Array.from(this.id.keys());
  }

  takesWork(row) {
    return this.health[row] === Health.healthy && this.draining[row] === 0;
  }

  /** A column that is not there yet, and all others that were ever looked at: one call costs less than several. */
  fetch(name) {
    this.#wanted.add(name);
    const missing = REPLICA.filter(([key]) => this.#wanted.has(key) && !Object.hasOwn(this, key));
    const joined = host.fleetColumns(Object.fromEntries(missing.map(([key]) => [key, true])));
    const rows = joined.length / missing.length;
    const columns = missing.map(([key], place) => [key, joined.subarray(place * rows, (place + 1) * rows)]);
    return keep(this, Object.fromEntries(columns))[name];
  }
}

/** The fleet as it is now: the same mirror while the host's fleet stays the same. */
export function mirror() {
  const wanted = new Set();
  let version;
  let fleet;
  return () => {
    const now = host.fleetVersion();
    if (version !== now) {
      version = now;
      fleet = new Fleet(wanted);
    }
    return fleet;
  };
}

// A column is a property of the object itself once it is there: policies read it row by row.
for (const [kind, fields] of [[Fleet, REPLICA], [Regions, REGION]]) {
  for (const [name] of fields) {
    Object.defineProperty(kind.prototype, name, {
      get() {
        return this.fetch(name);
      },
    });
  }
}

function keep(mirror, columns) {
  for (const [name, value] of Object.entries(columns)) {
    Object.defineProperty(mirror, name, { value });
  }
  return mirror;
}

function contractName(fields, name) {
  return fields.find(([key]) => key === name)[1];
}

function columnsOf(fields, rows) {
  for (const row of rows) {
    const unknown = Object.keys(row).find((key) => !fields.some(([name]) => name === key));
    if (unknown !== undefined) {
      throw new Error(`there is no field \`${unknown}\`; there are ${fields.map(([name]) => name).join(', ')}`);
    }
  }
  return Object.fromEntries(
    fields.map(([name, , ordinary]) => [name, Uint32Array.from(rows, (row) => Number(row[name] ?? ordinary))]),
  );
}
