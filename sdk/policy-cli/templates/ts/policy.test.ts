// Unit tests of the deciding code, without a component: `headworks policy test --unit`.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Fleet, Placement, Request } from '@headworks/policy';

import policy from '../policy.ts';

test('the least loaded is taken', () => {
  const fleet = Fleet.of([{ id: 1, running: 3 }, { id: 2, running: 1 }]);
  assert.deepEqual(policy.place!(Request.of(), fleet), Placement.replica(2));
});
