// What the author of a policy imports: the contract's words, a mirror of the fleet, and one function.

export { definePolicy, Refusal } from './define.js';
export { Admission, Placement } from './verdict.js';
export { Fleet, Health, Regions } from './fleet.js';
export { Request } from './request.js';
export { buckets, chance, clock, log, prefixIndex, reply, store, telemetry } from './senses.js';
