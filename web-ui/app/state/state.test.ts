import { describe, expect, it } from 'vitest';
import type { PolicyVersion } from '../api/contract';
import * as facts from '../testing/facts';
import { seeded } from '../testing/seeded';
import { explainCommand, filterDecisions, isNarrowed, isProblem, mergeDecisions, newSince, NO_FILTER, NO_SLOT, queryOf, valuesOf, type Filter, type OutcomeFilter } from './decisions';
import { anyModel, conditionOf, inOrder, kvShare, totalsOf } from './fleet';
import { activeOf, canaryHealth, inactiveOf, mayActivate, onErrorWords, quarantineOf, rollbackTarget, scopeWords, versionOf, withSlot } from './policies';
import { columnsOf, mergeTraffic, risen, within } from './traffic';

describe('the list of decisions', () => {
  const ids = (list: { id: string }[]) => list.map((one) => one.id).join(' ');

  it('is newest first, whatever the order of arrival', () => {
    const chance = seeded(3);
    const told = Array.from({ length: 50 }, (_, at) => facts.decision({ id: String(at), time_ms: Math.floor(at / 3) }));
    const shuffled = told.toSorted(() => chance() - 0.5);
    let list = mergeDecisions([], []);
    for (let at = 0; at < shuffled.length; at += 7) list = mergeDecisions(list, shuffled.slice(at, at + 7));
    expect(ids(list)).toBe(ids(told.toReversed()));
  });

  it('replaces a decision that is told again and does not move it', () => {
    const list = mergeDecisions([facts.decision({ id: '2', time_ms: 2, outcome: 'running' }), facts.decision({ id: '1', time_ms: 1 })], [facts.decision({ id: '2', time_ms: 2, outcome: 'failed' })]);
    expect(ids(list)).toBe('2 1');
    expect(list[0]?.outcome).toBe('failed');
  });

  it('never takes an ended decision for a running one', () => {
    const ended = [facts.decision({ id: '2', outcome: 'finished' })];
    expect(mergeDecisions(ended, [facts.decision({ id: '2', outcome: 'running' })])).toEqual(ended);
  });

  it('forgets the oldest beyond its bound', () => {
    const many = Array.from({ length: 10 }, (_, at) => facts.decision({ id: String(at), time_ms: at }));
    expect(ids(mergeDecisions(many, [], 3))).toBe('9 8 7');
  });

  const list = [
    facts.decision({ id: 'a', model: 'Qwen3', target: 'us-0', reason: 'next in turn', trace_id: 'cafe01' }),
    facts.decision({ id: 'b', model: 'tiny', target: null, reason: null, outcome: 'failed' }),
    facts.decision({ id: 'c', model: 'tiny', target: 'us-1', outcome: 'cancelled', faults: ['trapped in place'] }),
    facts.decision({ id: 'd', model: 'tiny', target: 'us-1', outcome: 'running', digest: null, slot: null, policy: 'native-least-load' }),
  ];

  it.each<[string, OutcomeFilter, string]>([
    ['', 'all', 'a b c d'], ['qwen', 'all', 'a'], ['TURN qwen', 'all', 'a'], ['cafe', 'all', 'a'], ['us-1 tiny', 'all', 'c d'], ['trapped', 'all', 'c'], ['native', 'all', 'd'],
    ['', 'failed', 'b'], ['', 'problems', 'b c'], ['us-1', 'problems', 'c'], ['', 'running', 'd'], ['nowhere', 'all', ''], ['   ', 'all', 'a b c d'],
  ])('narrowed by "%s" and %s is "%s"', (text, outcome, left) => {
    expect(ids(filterDecisions(list, { ...NO_FILTER, text, outcome }))).toBe(left);
  });

  const mixed = [
    facts.decision({ id: 'a', tenant: 'acme', model: 'm-2', verdict: 'deny', slot: 'limits', policy: 'rate-limit', facts_digest: 'beef' }),
    facts.decision({ id: 'b', tenant: 'acme', model: 'm-10', canary: true, calls: [{ slot: 'limits', policy: 'guard', digest: 'd', hook: 'admit', verdict: 'pass', us: 1, fuel: null, canary: false }] }),
    facts.decision({ id: 'c', tenant: 'other', model: 'm-2', slot: null, outcome: 'failed' }),
  ];

  it.each<[Partial<Filter>, string]>([
    [{}, 'a b c'], [{ tenant: 'acme' }, 'a b'], [{ tenant: 'acme', model: 'm-2' }, 'a'], [{ slot: 'limits' }, 'a'], [{ slot: NO_SLOT }, 'c'], [{ policy: 'rate-limit' }, 'a'], [{ verdict: 'deny' }, 'a'], [{ tenant: 'nobody' }, ''],
    [{ tenant: 'acme', text: 'canary' }, 'b'], [{ text: 'guard' }, 'b'], [{ text: 'beef' }, 'a'], [{ model: 'm-2', outcome: 'failed' }, 'c'],
  ])('narrowed by %j is "%s"', (change, left) => expect(ids(filterDecisions(mixed, { ...NO_FILTER, ...change }))).toBe(left));

  it('offers what occurs, in the order a reader expects, and what is chosen', () => {
    expect(valuesOf(mixed, 'model', null)).toEqual(['m-2', 'm-10']);
    expect(valuesOf(mixed, 'slot', 'gone', ['placement', 'new'])).toEqual([NO_SLOT, 'gone', 'limits', 'new', 'placement']);
  });

  it('asks the admin port for what it can narrow by itself', () => {
    expect(queryOf(NO_FILTER)).toEqual({});
    expect(queryOf({ ...NO_FILTER, text: 'words', slot: NO_SLOT, tenant: 'acme', outcome: 'problems' })).toEqual({ slot: '', tenant: 'acme' });
    expect(queryOf({ ...NO_FILTER, slot: 'limits', outcome: 'failed' })).toEqual({ slot: 'limits', outcome: 'failed' });
    expect([isNarrowed(NO_FILTER), isNarrowed({ ...NO_FILTER, text: ' ' }), isNarrowed({ ...NO_FILTER, model: 'm' }), isNarrowed({ ...NO_FILTER, outcome: 'problems' })]).toEqual([false, false, true, true]);
  });

  it('is explained by a line that a shell reads as meant', () => {
    expect(explainCommand(facts.decision({ id: '7-a' }), 'http://127.0.0.1:8081')).toBe('headworks policy explain 7-a --admin http://127.0.0.1:8081');
    expect(explainCommand(facts.decision({ id: "a b'; rm" }), 'http://[::1]:80')).toBe("headworks policy explain 'a b'\\''; rm' --admin 'http://[::1]:80'");
  });

  it('knows what an operator may have to act on', () => {
    expect(list.map(isProblem)).toEqual([false, true, true, false]);
  });

  it('counts what came while it was held still', () => {
    const held = [facts.decision({ id: '2', time_ms: 2 }), facts.decision({ id: '1', time_ms: 1 })];
    const now = mergeDecisions(held, [facts.decision({ id: '3', time_ms: 2 }), facts.decision({ id: '4', time_ms: 5 }), facts.decision({ id: '0', time_ms: 0 }), facts.decision({ id: '1', time_ms: 1, outcome: 'failed' })]);
    expect(newSince(held, now)).toBe(2);
    expect(newSince([], now)).toBe(5);
  });
});

describe('the history of traffic', () => {
  const times = (points: { time_ms: number }[]) => points.map((point) => point.time_ms).join(' ');

  it('appends what is new', () => expect(times(mergeTraffic([facts.traffic(1)], [facts.traffic(2)]))).toBe('1 2'));
  it('joins history that comes after the first live point', () => expect(times(mergeTraffic([facts.traffic(4), facts.traffic(5)], [facts.traffic(1), facts.traffic(4), facts.traffic(2)]))).toBe('1 2 4 5'));
  it('takes the later word about one moment', () => expect(mergeTraffic([facts.traffic(1, { in_flight: 1 })], [facts.traffic(1, { in_flight: 9 })])).toEqual([facts.traffic(1, { in_flight: 9 })]));
  it('takes a late point in its place', () => expect(times(mergeTraffic([facts.traffic(1), facts.traffic(3)], [facts.traffic(2)]))).toBe('1 2 3'));
  it('forgets what is older than its bound', () => expect(times(mergeTraffic([facts.traffic(1), facts.traffic(50), facts.traffic(90)], [facts.traffic(151)], 100))).toBe('90 151'));
  it('is empty without points', () => expect(mergeTraffic([], [])).toEqual([]));

  it('is shown from one point before the window on', () => {
    const points = [10, 20, 30, 40].map((time) => facts.traffic(time));
    expect(times(within(points, 10))).toBe('20 30 40');
    expect(times(within(points, 1000))).toBe('10 20 30 40');
    expect(within([], 10)).toEqual([]);
  });

  it.each([
    [[], []],
    [[0, 0], [null, null]],
    [[0, 0, 2, 0, 0], [null, 0, 2, 0, null]],
    [[1, 0, 0], [1, 0, null]],
    [[0, 1], [0, 1]],
  ])('draws of %j only what rises: %j', (values, drawn) => expect(risen(values)).toEqual(drawn));

  it('is laid out as one column per percentile', () => {
    const points = [facts.traffic(1, { ttft_ms: { p50: 1, p90: 2, p99: 3 } }), facts.traffic(2)];
    expect(columnsOf(points, 'ttft_ms')).toEqual([[1, null], [2, null], [3, null]]);
  });
});

describe('a slot', () => {
  const at = (number: number, state: PolicyVersion['state'], activated_unix_ms = number) => facts.version(number, state, { activated_unix_ms });

  it.each([
    ['one version', [at(1, 'active')], undefined],
    ['two versions', [at(2, 'active'), at(1, 'previous')], 1],
    ['a version that was rolled back from', [at(2, 'rejected'), at(1, 'active')], undefined],
    ['the same, with more before', [at(3, 'rejected'), at(2, 'active'), at(1, 'previous')], 1],
    ['an early version that was made active again', [at(3, 'previous'), at(2, 'previous'), at(1, 'active', 4)], 3],
    ['a canary beside it', [at(3, 'canary'), at(2, 'active'), at(1, 'previous')], 1],
    ['only a quarantined version before', [at(2, 'active'), at(1, 'quarantined')], undefined],
    ['nothing active', [at(1, 'previous')], undefined],
    ['nothing', [], undefined],
  ])('with %s rolls back to %s', (_, versions, target) => {
    expect(rollbackTarget(facts.slot({ versions }))?.number).toBe(target);
  });

  it('names the version that decides, and those that do not', () => {
    const slot = facts.slot({ versions: [at(5, 'canary'), at(4, 'rejected'), at(3, 'quarantined'), at(2, 'previous'), at(1, 'active')] });
    expect(activeOf(slot)?.number).toBe(1);
    expect(versionOf(slot, 5)?.state).toBe('canary');
    expect([versionOf(slot, 9), versionOf(slot, null)]).toEqual([undefined, undefined]);
    expect(inactiveOf(slot).map((one) => [one.number, mayActivate(one)])).toEqual([[4, true], [3, false], [2, true]]);
  });

  it('takes its place in the chain, or the last one', () => {
    const chain = { chain: [facts.slot({ slot: 'a' }), facts.slot({ slot: 'b' })], fallback: 'f' };
    const changed = facts.slot({ slot: 'a', versions: [facts.version(1, 'active')] });
    expect(withSlot(chain, changed).chain).toEqual([changed, chain.chain[1]]);
    expect(withSlot(chain, { ...changed, slot: 'c' }).chain.map((slot) => slot.slot)).toEqual(['a', 'b', 'c']);
  });

  it('says which requests it is asked about', () => {
    expect(scopeWords({ models: [], tenants: [], endpoints: [] })).toBeNull();
    expect(scopeWords({ models: ['llama-*', 'qwen'], tenants: ['acme'], endpoints: [] })).toBe('models llama-*, qwen; tenants acme');
  });

  it('says what a fault means for the hooks it has', () => {
    expect(onErrorWords(facts.slot(), ['place', 'observe'])).toEqual([{ hook: 'place', act: 'falls back' }]);
    expect(onErrorWords(facts.slot(), []).map(({ act }) => act)).toEqual(['refuses', 'falls back']);
  });

  it('shows a quarantine until a newer version decides', () => {
    const entry = { time_ms: 1, what: 'quarantined', by: 'budget', from: 2, to: 1, digest: null, why: 'trapped 5 times' } as const;
    const of = (versions: PolicyVersion[]) => quarantineOf(facts.slot({ versions, history: [entry] }));
    expect(of([at(2, 'quarantined'), at(1, 'active')])).toMatchObject({ version: { number: 2 }, entry: { why: 'trapped 5 times' } });
    expect(of([at(1, 'quarantined')])).toMatchObject({ version: { number: 1 } });
    expect(of([at(1, 'quarantined')])?.entry).toBeUndefined();
    expect(of([at(3, 'active'), at(2, 'quarantined')])).toBeUndefined();
    expect(of([at(1, 'active')])).toBeUndefined();
  });
});

describe('a canary', () => {
  const health = (change: Parameters<typeof facts.canary>[0], p99: number | null = null) => canaryHealth(facts.canary(change), facts.version(2, 'canary', { call_us: { p50: null, p99 } }));

  it.each<[string, string, Parameters<typeof facts.canary>[0], number | null]>([
    ['without requests', 'waiting', { requests: 0 }, null],
    ['with one request too few, though it fails', 'waiting', { requests: 49, faults: 49 }, 9000],
    ['with enough', 'within', { requests: 50 }, null],
    ['at its budget', 'within', { requests: 100, faults: 1 }, 1000],
    ['one fault over', 'over', { requests: 100, faults: 2 }, null],
    ['too slow', 'over', { requests: 100 }, 1000.5],
  ])('%s is %s', (_, verdict, change, p99) => expect(health(change, p99).verdict).toBe(verdict));

  it('measures itself in thousandths and says what it waits for', () => {
    expect(health({ requests: 40, faults: 1 })).toMatchObject({ wanting: 10, faults: { now: 25, max: 10 }, callUs: { now: null } });
    expect(health({ requests: 0 }).faults.now).toBeNull();
    expect(canaryHealth(facts.canary(), undefined).callUs.now).toBeNull();
    const unjudged = facts.canary({ budget: { faults_permille_max: 10, call_us_p99_max: null, fuel_max: null, requests_min: 50, window_calls: 1000 } });
    expect(canaryHealth(unjudged, facts.version(2, 'canary', { call_us: { p50: 1, p99: 1e9 } })).verdict).toBe('within');
  });
});

describe('the fleet', () => {
  it('names one condition per replica', () => {
    const table = [{}, { draining: true }, { draining: true, health: 'unhealthy' }, { health: 'unknown' }] as const;
    expect(table.map((change) => conditionOf(facts.replica(change)))).toEqual(['healthy', 'draining', 'unhealthy', 'unknown']);
  });

  it('stands in one order: this proxy first, then by name and number', () => {
    const regions = ['us-10', 'us-2', 'eu'].map((name) => facts.region(name));
    expect(inOrder([...regions, facts.region('zz', { local: true })]).map((region) => region.name)).toEqual(['zz', 'eu', 'us-2', 'us-10']);
  });

  it('is added up without what is out of reach', () => {
    const replicas = [facts.replica(), facts.replica()];
    const regions = [facts.region('a', { available: 2, replicas }), facts.region('b', { available: 2, replicas, reachable: false })];
    const fleet = { proxy: { region: 'a', version: '1', started_unix_ms: 0, data_url: '' }, regions };
    expect(totalsOf(fleet)).toEqual({ replicas: 4, available: 2, regions: 2, unreachable: 1 });
    expect(anyModel(fleet)).toBe('tiny');
    expect(anyModel({ ...fleet, regions: [] })).toBeUndefined();
  });

  it('shows KV use only where a replica tells of it', () => {
    const of = (kv_blocks_used: number, kv_blocks_total: number) => kvShare(facts.replica({ kv_blocks_used, kv_blocks_total }));
    expect([of(0, 0), of(0, 10), of(5, 10), of(11, 10)]).toEqual([null, 0, 0.5, 1]);
  });
});
