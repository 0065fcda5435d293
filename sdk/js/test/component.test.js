// The interfaces that a component exports, as far as they need no host.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { interfacesOf } from '../src/component.js';
import { definePolicy, Placement, Refusal } from '../src/index.js';


const policy = (hooks) => interfacesOf(definePolicy({ name: 'p', version: '1', place: () => Placement.pass, ...hooks }));

test('a policy describes itself in the contract\'s words', () => {
  assert.deepEqual(policy({}).describe.describe(), {
    name: 'p',
    version: '1',
    contract: 'headworks:policy@0.1.0',
    hooks: ['place'],
    mode: 'pooled',
    configSchema: '',
  });
});

test('a configuration arrives as an object, and a refusal is an answer', () => {
  let seen;
  const { configure } = policy({
    configure(config) {
      seen = config;
      if (config.n < 0) {
        throw new Refusal('n', 'must not be negative');
      }
    },
  });
  assert.equal(configure.configure('{"n":1}'), undefined);
  assert.deepEqual(seen, { n: 1 });
  const thrown = (json) => {
    try {
      configure.configure(json);
    } catch (error) {
      return error.payload;
    }
  };
  assert.deepEqual(thrown('{"n":-1}'), { field: 'n', message: 'must not be negative' });
  assert.match(thrown('{').message, /^it is not JSON/);
});

test('a state that cannot be taken is refused in words', () => {
  const { snapshot } = policy({
    snapshot: () => 'v1',
    restore() {
      throw new Error('not mine');
    },
  });
  assert.equal(new TextDecoder().decode(snapshot.snapshot()), 'v1');
  assert.throws(
    () => snapshot.restore(new Uint8Array()),
    (error) => error.payload === 'not mine',
  );
});

test('a module without a policy is told what to export', () => {
  assert.throws(() => interfacesOf(undefined), /export default definePolicy/);
});
