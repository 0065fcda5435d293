/** Keeps the turns of one conversation on one replica; everything else goes where the least is to do. */

import { definePolicy, Placement, Refusal, telemetry, type Fleet, type Request } from '@headworks/policy';

/** How many requests a conversation's own replica may have beyond the idlest before the conversation moves. */
let slack = 8;

export default definePolicy({
  name: 'sticky',
  version: '0.1.0',
  mode: 'pooled',
  configSchema: {
    type: 'object',
    properties: { slack: { type: 'integer', minimum: 0, default: 8, title: 'Requests beyond the idlest' } },
    additionalProperties: false,
  },

  configure(config) {
    const wanted = config.slack ?? 8;
    if (!Number.isInteger(wanted) || wanted < 0) {
      throw new Refusal('slack', 'must be a whole number, 0 or more');
    }
    slack = wanted;
  },

  place(request: Request, fleet: Fleet) {
    const takers = fleet.rows().filter((row) => fleet.takesWork(row));
    if (takers.length === 0) {
      return Placement.pass;
    }
    const load = (row: number) => fleet.running[row]! + fleet.waiting[row]!;
    const idlest = takers.reduce((best, row) => (load(row) < load(best) ? row : best));
    const session = request.session;
    if (session === undefined) {
      telemetry.explain(`no session; lowest load ${load(idlest)}`);
      return Placement.replica(fleet.id[idlest]!);
    }
    const home = homeOf(session, takers, fleet);
    if (load(home) > load(idlest) + slack) {
      telemetry.explain(`the session's replica has ${load(home)}, the idlest ${load(idlest)}`);
      return Placement.replica(fleet.id[idlest]!);
    }
    telemetry.explain("the session's replica");
    return Placement.replica(fleet.id[home]!);
  },
});

/**
 * The row with the highest score for this session: a replica that leaves moves only its own sessions
 * (rendezvous hashing).
 */
function homeOf(session: string, takers: number[], fleet: Fleet): number {
  const seed = hash(session, 0);
  const score = (row: number) => mixed(seed ^ Math.imul(fleet.id[row]! + 1, 0x9e3779b1));
  return takers.reduce((best, row) => (score(row) > score(best) ? row : best));
}

/** FNV-1a. */
function hash(text: string, seed: number): number {
  let state = 0x811c9dc5 ^ seed;
  for (let place = 0; place < text.length; place++) {
    state = Math.imul(state ^ text.charCodeAt(place), 0x01000193);
  }
  return state >>> 0;
}

/** MurmurHash3's finaliser: neighbouring ids get unrelated scores. */
function mixed(value: number): number {
  let state = Math.imul(value ^ (value >>> 16), 0x85ebca6b);
  state = Math.imul(state ^ (state >>> 13), 0xc2b2ae35);
  return (state ^ (state >>> 16)) >>> 0;
}
