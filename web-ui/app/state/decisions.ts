// Joins new and changed decisions into the list the page shows, and narrows that list to what the operator asked for.

import type { Decision, Outcome } from '../api/contract';

/** Most decisions the page remembers. */
export const DECISIONS_MAX = 500;

/**
 * Newest first; a decision told again replaces what was known of it. Live news and history overtake each other: what
 * has ended never runs again, so that word is the later one.
 */
export function mergeDecisions(known: Decision[], changed: Decision[], max = DECISIONS_MAX): Decision[] {
  const byId = new Map(known.map((decision) => [decision.id, decision]));
  for (const decision of changed) {
    const before = byId.get(decision.id);
    if (decision.outcome !== 'running' || before === undefined || before.outcome === 'running') byId.set(decision.id, decision);
  }
  return [...byId.values()].sort(newerFirst).slice(0, max);
}

function newerFirst(a: Decision, b: Decision): number {
  // Ids count up, in whatever digits: of one moment, the longer or larger is the newer.
  return b.time_ms - a.time_ms || b.id.length - a.id.length || (a.id < b.id ? 1 : -1);
}

export type OutcomeFilter = 'all' | 'problems' | Outcome;

export interface Filter {
  text: string;
  outcome: OutcomeFilter;
}

export function filterDecisions(decisions: Decision[], filter: Filter): Decision[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter((word) => word !== '');
  return decisions.filter((decision) => outcomeMatches(decision, filter.outcome) && words.every((word) => mentions(decision, word)));
}

/** A problem is whatever the operator may have to act on: a client that left is not one. */
export function isProblem(decision: Decision): boolean {
  return decision.outcome === 'failed' || decision.outcome === 'refused' || decision.faults.length > 0;
}

function outcomeMatches(decision: Decision, wanted: OutcomeFilter): boolean {
  if (wanted === 'all') return true;
  return wanted === 'problems' ? isProblem(decision) : decision.outcome === wanted;
}

function mentions(decision: Decision, word: string): boolean {
  const { id, trace_id, endpoint, model, tenant, slot, policy, policy_version, digest, verdict, target, reason, faults } = decision;
  const fields = [id, trace_id, endpoint, model, tenant, slot, policy, policy_version, digest, verdict, target, reason, ...faults];
  return fields.some((field) => field?.toLowerCase().includes(word));
}

/** How many decisions came after the list was paused. */
export function newSince(paused: Decision[], now: Decision[]): number {
  const newest = paused[0];
  if (newest === undefined) return now.length;
  const seen = new Set(paused.map((decision) => decision.id));
  return now.filter((decision) => decision.time_ms >= newest.time_ms && !seen.has(decision.id)).length;
}
