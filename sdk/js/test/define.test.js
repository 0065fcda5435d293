import assert from 'node:assert/strict';
import { test } from 'node:test';

import { definePolicy, Placement, Refusal } from '../src/index.js';

const whole = { name: 'p', version: '1', place: () => Placement.pass };

function refused(policy, part) {
  assert.throws(() => definePolicy(policy), (error) => error.message.includes(part));
}

test('the hooks are those that there is a function for, in the order of the contract', () => {
  const policy = definePolicy({ ...whole, snapshot: () => '', restore: () => {}, configure: () => {} });
  assert.deepEqual([...policy.hooks], ['configure', 'place', 'snapshot']);
  assert.equal(policy.mode, 'pooled');
});

test('a schema may be an object', () => {
  const configured = { ...whole, configure: () => {}, configSchema: { type: 'object' } };
  assert.equal(definePolicy(configured).configSchema, '{"type":"object"}');
  assert.equal(definePolicy(whole).configSchema, '');
});

test('what could only fail later is refused', () => {
  refused({ ...whole, name: 'two words' }, '`name` must be');
  refused({ ...whole, version: undefined }, '`version` must be');
  refused({ ...whole, mode: 'solo' }, 'pooled, single, not "solo"');
  refused({ ...whole, plcae: () => {} }, 'knows no `plcae`');
  refused({ ...whole, place: 'here' }, '`place` must be a function');
  refused({ name: 'p', version: '1', configure: () => {} }, 'at least one of admit, place, observe');
  refused({ ...whole, configSchema: {} }, 'what `configure` is given; add that function');
  refused({ ...whole, snapshot: () => '' }, '`snapshot` and `restore` go together');
});

test('a refusal names its field', () => {
  const refusal = new Refusal('a.b', 'must be 1');
  assert.deepEqual(refusal.payload, { field: 'a.b', message: 'must be 1' });
  assert.equal(refusal.message, 'a.b: must be 1');
});
