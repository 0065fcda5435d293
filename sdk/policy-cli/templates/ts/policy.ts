/** Sends each request to the replica with the least to do. */

import { definePolicy, Placement, telemetry, type Fleet } from '@headworks/policy';

export default definePolicy({
  name: '{{name}}',
  version: '0.1.0',
  mode: 'pooled',

  place(_request, fleet) {
    const takers = fleet.rows().filter((row) => fleet.takesWork(row));
    if (takers.length === 0) {
      return Placement.pass;
    }
    const idlest = takers.reduce((best, row) => (load(fleet, row) < load(fleet, best) ? row : best));
    telemetry.explain(`lowest load ${load(fleet, idlest)}`);
    return Placement.replica(fleet.id[idlest]);
  },
});

function load(fleet: Fleet, row: number): number {
  return fleet.running[row] + fleet.waiting[row];
}
