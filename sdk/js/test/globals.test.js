import assert from 'node:assert/strict';
import { test } from 'node:test';

import { lastWords } from '../src/component.js';
import { consoleOf, replayingDate } from '../src/globals.js';

test('console writes lines of the log', () => {
  const written = [];
  const console = consoleOf((level, line) => written.push(`${level}: ${line}`));
  console.log('load', 3, { a: [1n] }, Uint32Array.of(1, 2), undefined);
  console.warn(new TypeError('odd'));
  assert.deepEqual(written, ['info: load 3 {"a":["1"]} [1,2] undefined', 'warn: TypeError: odd']);
});

test('a date that is given is a date, and now is none', () => {
  const Replaying = replayingDate(Date);
  assert.equal(new Replaying(0).toISOString(), '1970-01-01T00:00:00.000Z');
  assert.throws(() => Replaying.now(), /clock\.nowMs\(\) of @headworks\/policy/);
  assert.throws(() => new Replaying(), /clock\.nowMs/);
});

test("an exception's last words name the author's innermost line, not the SDK's", () => {
  const stack = 'asked@component.js:80:11\ntake@component.js:12:20\nplace/<@component.js:140:9\nplace@component.js:150:7\n';
  const error = Object.assign(new Error('boom'), { stack });
  assert.equal(lastWords(error, { 140: 'policy.ts:17', 150: 'policy.ts:20' }), 'Error: boom (policy.ts:17 in place)');
  assert.equal(lastWords(error, undefined), 'Error: boom (in asked)');
  assert.equal(lastWords('no error at all', {}), 'no error at all');
});
