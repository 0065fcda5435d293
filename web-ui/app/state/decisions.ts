// Joins new and changed decisions into the list the page shows, and narrows that list to what the operator asked for.

import type { DecisionQuery } from '../api/client';
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

/** What a decision can be narrowed by exactly. */
export const FACETS = ['slot', 'policy', 'verdict', 'tenant', 'model'] as const;
export type Facet = (typeof FACETS)[number];

/** Stands for the slot of decisions that no slot made. */
export const NO_SLOT = '(fallback)';

export interface Filter extends Record<Facet, string | null> {
  text: string;
  outcome: OutcomeFilter;
}

export const NO_FILTER: Filter = { text: '', outcome: 'all', slot: null, policy: null, verdict: null, tenant: null, model: null };

export function isNarrowed(filter: Filter): boolean {
  return filter.text.trim() !== '' || filter.outcome !== 'all' || FACETS.some((facet) => filter[facet] !== null);
}

export function filterDecisions(decisions: Decision[], filter: Filter): Decision[] {
  const words = filter.text.toLowerCase().split(/\s+/).filter((word) => word !== '');
  const wanted = FACETS.filter((facet) => filter[facet] !== null);
  return decisions.filter((decision) => outcomeMatches(decision, filter.outcome) && wanted.every((facet) => facetOf(decision, facet) === filter[facet]) && words.every((word) => mentions(decision, word)));
}

function facetOf(decision: Decision, facet: Facet): string {
  return decision[facet] ?? NO_SLOT;
}

/** The values of a facet that occur, and the chosen one even when it no longer does. */
export function valuesOf(decisions: Decision[], facet: Facet, chosen: string | null, more: string[] = []): string[] {
  const found = new Set([...decisions.map((decision) => facetOf(decision, facet)), ...more]);
  if (chosen !== null) found.add(chosen);
  return [...found].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
}

/** What of a filter the admin port can do itself; the rest is done here, on what it answers. */
export function queryOf(filter: Filter): Omit<DecisionQuery, 'limit'> {
  const query: Omit<DecisionQuery, 'limit'> = {};
  for (const facet of FACETS) if (filter[facet] !== null) query[facet] = filter[facet] === NO_SLOT ? '' : filter[facet];
  if (filter.outcome !== 'all' && filter.outcome !== 'problems') query.outcome = filter.outcome;
  return query;
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
  const { id, trace_id, endpoint, model, tenant, slot, policy, policy_version, digest, verdict, target, reason, faults, facts_digest, canary, calls } = decision;
  const fields = [id, trace_id, endpoint, model, tenant, slot, policy, policy_version, digest, verdict, target, reason, facts_digest, canary ? 'canary' : null, ...faults, ...calls.map((call) => call.policy)];
  return fields.some((field) => field?.toLowerCase().includes(word));
}

/** The shell's line that replays one decision and prints what the policies saw. */
export function explainCommand(decision: Decision, adminUrl: string): string {
  return `headworks policy explain ${quoted(decision.id)} --admin ${quoted(adminUrl)}`;
}

function quoted(word: string): string {
  return /^[\w./:@=-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** How many decisions came after the list was paused. */
export function newSince(paused: Decision[], now: Decision[]): number {
  const newest = paused[0];
  if (newest === undefined) return now.length;
  const seen = new Set(paused.map((decision) => decision.id));
  return now.filter((decision) => decision.time_ms >= newest.time_ms && !seen.has(decision.id)).length;
}
