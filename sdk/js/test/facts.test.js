import assert from 'node:assert/strict';
import { test } from 'node:test';

import { buckets, Fleet, Request, telemetry } from '../src/index.js';

test('each column is the field of its name', () => {
  const replica = {
    id: 1,
    region: 2,
    running: 3,
    waiting: 4,
    kvBlocksUsed: 5,
    kvBlocksTotal: 6,
    prefixHitPermille: 7,
    health: 2,
    draining: true,
    role: 8,
    ageMs: 9,
    ttftUs: 10,
    tpotUs: 11,
    weight: 12,
    prefillTokens: 13,
  };
  const fleet = Fleet.of([replica], [{ id: 20, local: true, available: 21, queue: 22, rttUs: 23, ageMs: 24 }]);
  for (const [name, value] of Object.entries(replica)) {
    assert.deepEqual([...fleet[name]], [Number(value)], name);
  }
  const { id, local, available, queue, rttUs, ageMs } = fleet.regions;
  assert.deepEqual([id, local, available, queue, rttUs, ageMs].map(([value]) => value), [20, 1, 21, 22, 23, 24]);
});

test('only a healthy replica that stays takes work', () => {
  const fleet = Fleet.of([{}, { health: 2 }, { health: 0 }, { draining: true }]);
  assert.deepEqual(fleet.rows().filter((row) => fleet.takesWork(row)), [0]);
  assert.equal(fleet.length, 4);
  assert.equal(fleet.weight[0], 100);
});

test('a made-up request answers what the test says', () => {
  const request = Request.of({ model: 'm', session: 's', prompt: 'hällo', headers: { 'x-a': '1' }, tokens: [1, 2] });
  assert.deepEqual([request.model, request.session, request.tenant, request.id], ['m', 's', '', 0n]);
  assert.equal(request.promptBytes, 6);
  assert.equal(new TextDecoder().decode(request.prompt(3, 2)), 'll');
  assert.deepEqual([request.header('x-a'), request.header('x-b'), request.headerNames()], ['1', undefined, ['x-a']]);
  assert.deepEqual([...request.tokens()], [1, 2]);
  request.note('heard by nobody');
});

test('a misspelt field is told', () => {
  assert.throws(() => Fleet.of([{ runing: 1 }]), /no field `runing`; there are id, region, running/);
  assert.throws(() => Request.of({ modle: 'm' }), /no `modle`; it has id, endpoint, model/);
});

test('what only speaks is silent in a test, the rest says that it is not there', () => {
  telemetry.explain('why');
  assert.throws(() => buckets.count('turn'), /buckets.count is there inside a component only/);
});
