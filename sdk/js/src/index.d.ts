// The types of what a policy's author imports. The words are the contract's: policies-wasm/wit/policy@0.1.0.

/** Names a replica for as long as the proxy lives. */
export type ReplicaId = number;
/** Names a region for as long as the proxy lives. */
export type RegionId = number;

/** Why and how a request is turned away. */
export interface Denial {
  /** HTTP status, 400 to 599. */
  status: number;
  /** For the client: what to change or when to come back. */
  message: string;
  /** When to try again. */
  retryAfterMs?: number;
}

/** Where a request goes. */
export type Placement =
  | { readonly tag: 'replica'; readonly val: ReplicaId }
  | { readonly tag: 'region'; readonly val: RegionId }
  | { readonly tag: 'reject'; readonly val: Denial }
  | { readonly tag: 'hold' }
  | { readonly tag: 'pass' };

export const Placement: {
  /** Send it to this replica. */
  replica(id: ReplicaId): Placement;
  /** Hand it to the proxy of this region. */
  region(id: RegionId): Placement;
  /** Wait until the fleet changes, then ask again. */
  readonly hold: Placement;
  /** No opinion; the next policy is asked. */
  readonly pass: Placement;
  /** Turn it away. */
  reject(denial: Denial): Placement;
};

/** Whether a request may enter. */
export type Admission =
  | { readonly tag: 'allow' }
  | { readonly tag: 'pass' }
  | { readonly tag: 'deny'; readonly val: Denial };

export const Admission: {
  /** Let it in; no later policy is asked. */
  readonly allow: Admission;
  /** No opinion; the next policy is asked. */
  readonly pass: Admission;
  /** Turn it away. */
  deny(denial: Denial): Admission;
};

/** The values of the column `health`. */
export const Health: { readonly unknown: 0; readonly healthy: 1; readonly unhealthy: 2 };

/** The replicas, one column per field; row `i` of each is the same replica. */
export class Fleet {
  private constructor();
  /** A fleet for a test. What a replica leaves out is that of a healthy, idle one of ordinary weight. */
  static of(replicas: ReplicaFields[], regions?: RegionFields[]): Fleet;
  readonly id: Uint32Array;
  /** The region it stands in. */
  readonly region: Uint32Array;
  /** Requests in its running batch, those just sent included. */
  readonly running: Uint32Array;
  /** Requests it holds back. */
  readonly waiting: Uint32Array;
  readonly kvBlocksUsed: Uint32Array;
  /** 0 when it does not say. */
  readonly kvBlocksTotal: Uint32Array;
  /** Prompt tokens answered from its prefix cache, in thousandths. */
  readonly prefixHitPermille: Uint32Array;
  /** A value of `Health`. */
  readonly health: Uint32Array;
  /** 1 while it finishes what it has and takes nothing new. */
  readonly draining: Uint32Array;
  /** 0 prefill and decode, 1 prefill only, 2 decode only. */
  readonly role: Uint32Array;
  /** Age of the reading. */
  readonly ageMs: Uint32Array;
  /** Observed time to first token; 0 before the first. */
  readonly ttftUs: Uint32Array;
  /** Observed time per output token; 0 before the first. */
  readonly tpotUs: Uint32Array;
  /** Relative capacity; 100 is ordinary. */
  readonly weight: Uint32Array;
  /** Estimated prompt tokens of the requests sent there whose first token is still to come. */
  readonly prefillTokens: Uint32Array;
  readonly regions: Regions;
  /** How many replicas there are. */
  readonly length: number;
  /** All rows: 0, 1, 2, … */
  rows(): number[];
  /** Whether the replica in `row` may be given a new request: healthy and not draining. */
  takesWork(row: number): boolean;
}

/** The regions, one column per field. */
export class Regions {
  private constructor();
  readonly id: Uint32Array;
  /** 1 for this proxy's own region. */
  readonly local: Uint32Array;
  /** Replicas there that could take a request now. */
  readonly available: Uint32Array;
  /** Requests queued there. */
  readonly queue: Uint32Array;
  /** Round trip to it; 0 for the local region. */
  readonly rttUs: Uint32Array;
  /** Age of the reading. */
  readonly ageMs: Uint32Array;
}

/** One replica, for a test. */
export type ReplicaFields = Partial<
  Record<Exclude<keyof Fleet, 'regions' | 'length' | 'rows' | 'takesWork'>, number | boolean>
>;
/** One region, for a test. */
export type RegionFields = Partial<Record<keyof Regions, number | boolean>>;

/** Chained block hashes, as two columns of 32 bits. */
export interface Hashes {
  low: Uint32Array;
  high: Uint32Array;
}

/** The request of one call, lent for it: keep what you read, not the request. */
export class Request {
  private constructor();
  /** A request for a test. */
  static of(facts?: RequestFacts): Request;
  /** Unique in the process. */
  readonly id: bigint;
  /** The path asked for, e.g. `/v1/chat/completions`. */
  readonly endpoint: string;
  readonly model: string;
  /** Who asks; `anonymous` where no key names a tenant. */
  readonly tenant: string;
  /** What ties the turns of one conversation together, when the client sends it. */
  readonly session: string | undefined;
  /** 0 is ordinary, higher is more urgent. */
  readonly priority: number;
  readonly promptTokensEstimate: number;
  /** The client's bound on output tokens; 0 when it gave none. */
  readonly outputTokensMax: number;
  readonly stream: boolean;
  /** How many proxies the request has passed before this one. */
  readonly hop: number;
  readonly promptBytes: number;
  /** The prompt's text from byte `offset` on, at most `bytesMax` of it. */
  prompt(offset?: number, bytesMax?: number): Uint8Array;
  /** The prompt's token ids, when the client sent ids instead of text. */
  tokens(): Uint32Array;
  /** Hashes over whole blocks of 256 prompt bytes: equal hashes mean equal prefixes up to there. */
  blockHashes(): Hashes;
  /** A header by its lower-case name; only those that the operator lets policies see. */
  header(name: string): string | undefined;
  headerNames(): string[];
  /** Keeps a few bytes with the request: `observe` finds them in each of its events. */
  note(note: string | Uint8Array): void;
}

/** A made-up request. */
export interface RequestFacts {
  id?: bigint;
  endpoint?: string;
  model?: string;
  tenant?: string;
  session?: string;
  priority?: number;
  promptTokensEstimate?: number;
  outputTokensMax?: number;
  stream?: boolean;
  hop?: number;
  prompt?: string | Uint8Array;
  tokens?: Iterable<number>;
  /** Not made from the prompt, so that a test chooses them. */
  blockHashes?: { low: Iterable<number>; high: Iterable<number> };
  /** By lower-case name. */
  headers?: Record<string, string>;
}

/** The tokens that one request cost. */
export interface Usage {
  promptTokens: number;
  cachedTokens: number;
  outputTokens: number;
}

/** Which request an event is about. */
export interface Subject {
  request: bigint;
  tenant: string;
  model: string;
  /** What this slot's policy noted about it; empty when it noted nothing. */
  note: Uint8Array;
}

/** What happened. */
export type Event =
  | (Subject & { kind: 'started'; replica: ReplicaId })
  | (Subject & { kind: 'first-token'; replica: ReplicaId; ttftUs: number })
  | (Subject & { kind: 'failed'; replica: ReplicaId; why: 'replica' | 'cancelled' | 'refused' })
  | (Subject & {
      kind: 'ended';
      replica: ReplicaId | undefined;
      outcome: 'finished' | 'failed' | 'cancelled' | 'refused';
      usage: Usage;
    })
  | { kind: 'replica-up' | 'replica-down'; replica: ReplicaId };

/** A policy: who it is, and a function for each hook that it means. */
export interface PolicyDefinition {
  /** Its own name: letters, digits, `-`, `_`, `.`, `+`. */
  name: string;
  version: string;
  /** `pooled` (the default) keeps nothing between calls; `single` does, and has `snapshot` and `restore`. */
  mode?: 'pooled' | 'single';
  /** JSON Schema of its configuration. */
  configSchema?: object | string;
  /** Called before any other hook on every new instance, with `{}` when the operator gave nothing. Throw a `Refusal`. */
  configure?(config: any): void;
  /** Called once per request, before any queue. */
  admit?(request: Request, fleet: Fleet): Admission;
  /** Called when a request needs a target, and again for a held request when the fleet changes. */
  place?(request: Request, fleet: Fleet): Placement;
  /** Called in batches, off the data path. */
  observe?(events: Event[], fleet: Fleet): void;
  /** The state, in a form whose version the policy can tell. */
  snapshot?(): string | Uint8Array;
  /** Takes over a predecessor's state. An exception means: starts empty. */
  restore?(bytes: Uint8Array): void;
}

/** What `definePolicy` makes of it. */
export interface Policy extends Readonly<PolicyDefinition> {
  readonly hooks: readonly string[];
}

/** Checks a policy; the module's default export is what this returns. */
export function definePolicy(policy: PolicyDefinition): Policy;

/** A configuration that the policy does not take. */
export class Refusal extends Error {
  /** The field at fault, as a path such as `tenants.acme.limit` (empty when it is none), and what to change. */
  constructor(field: string, message: string);
}

export interface BucketShape {
  /** What a full bucket holds; a new bucket is full. */
  tokensMax: number;
  /** What flows in. */
  tokensPerMinute: number;
}

export interface Taking {
  taken: boolean;
  /** What is left after taking. */
  left: number;
  /** How long until there is enough; `Infinity` when the bucket can never give so much. */
  waitMs: number;
}

/** Token buckets, places and counters by name: exact across instances and swaps. Throws when there is no room. */
export const buckets: {
  /** Takes all of `tokens` or nothing. */
  take(name: string, shape: BucketShape, tokens: number): Taking;
  giveBack(name: string, tokens: number): void;
  /** Takes what a request cost beyond what was taken for it, though it is not there. */
  charge(name: string, tokens: number): void;
  level(name: string): number | undefined;
  /** Takes one of `places` until the request ends; false when all are taken. */
  hold(name: string, places: number): boolean;
  held(name: string): number;
  /** Adds to a counter and returns what it was before. */
  count(name: string, delta?: number | bigint): bigint;
};

/** Small values by name, kept by the host. Throws when there is no room. */
export const store: {
  get(key: string): { value: Uint8Array; version: bigint } | undefined;
  /** Writes whatever is there; the new version. */
  set(key: string, value: string | Uint8Array): bigint;
  /** Writes only over `expected` (0n: nothing there yet); the new version, or none when someone else wrote first. */
  compareAndSet(key: string, expected: bigint, value: string | Uint8Array): bigint | undefined;
  remove(key: string): boolean;
};

export type Holder = { replica: ReplicaId } | { region: RegionId };

/** Who has seen which prefix: kept by the host, shared by instances, untouched by traps and swaps. */
export const prefixIndex: {
  /** Rows of those who hold at least one block, and how many leading blocks each holds. */
  matchReplicas(request: Request): { replica: Uint32Array; blocks: Uint32Array };
  matchRegions(request: Request): { region: Uint32Array; blocks: Uint32Array };
  insert(holder: Holder, request: Request): void;
  matchReplicasOf(prefix: Hashes): { replica: Uint32Array; blocks: Uint32Array };
  matchRegionsOf(prefix: Hashes): { region: Uint32Array; blocks: Uint32Array };
  insertHashes(holder: Holder, prefix: Hashes): void;
  evict(holder: Holder): void;
  sizes(): { blocks: number; blocksMax: number; evicted: bigint };
};

/** Chance that replays. `Math.random` does not: it is the same in every instance. */
export const chance: {
  nextU32(): number;
  nextU64(): bigint;
  /** Evenly from 0 to `bound` - 1. */
  below(bound: number): number;
};

/** Monotonic milliseconds; the same throughout one call. */
export const clock: { nowMs(): number };

/** Lines for the operator; long ones are cut, those of one call are bounded. */
export const log: {
  debug(line: string): void;
  info(line: string): void;
  warn(line: string): void;
  error(line: string): void;
};

/** What a policy shows of itself. Names are lower-case letters, digits and `_`. */
export const telemetry: {
  count(name: string, delta?: number | bigint): void;
  gauge(name: string, value: number): void;
  attribute(name: string, value: string | number | bigint | boolean): void;
  /** Says why, in one sentence, shown beside the decision. The last one counts. */
  explain(reason: string): void;
};

/** What the client's answer carries besides. */
export const reply: {
  /** Sets a header of the answer. Names begin with `x-`. */
  header(name: string, value: string | number): void;
};

declare global {
  /** Lines for the operator, as `log` writes them. In a unit test it is Node's own. */
  interface Console {
    debug(...words: unknown[]): void;
    error(...words: unknown[]): void;
    info(...words: unknown[]): void;
    log(...words: unknown[]): void;
    trace(...words: unknown[]): void;
    warn(...words: unknown[]): void;
  }
  var console: Console;
}
