// Answers what the policy panel asks of a slot: which version decides now, where a rollback leads, how a canary fares.

import type { Canary, HistoryEntry, Policies, PolicyVersion, Scope, Slot } from '../api/contract';

export function activeOf(slot: Slot): PolicyVersion | undefined {
  return slot.versions.find((version) => version.state === 'active');
}

export function versionOf(slot: Slot, number: number | null): PolicyVersion | undefined {
  return number === null ? undefined : slot.versions.find((version) => version.number === number);
}

/** The version that a rollback activates: the one that was active last before the active one. */
export function rollbackTarget(slot: Slot): PolicyVersion | undefined {
  if (activeOf(slot) === undefined) return undefined;
  const before = slot.versions.filter((version) => version.state === 'previous');
  return before.toSorted((a, b) => b.activated_unix_ms - a.activated_unix_ms || b.number - a.number)[0];
}

/** What neither decides nor is tried out, newest first. */
export function inactiveOf(slot: Slot): PolicyVersion[] {
  return slot.versions.filter((version) => version.state !== 'active' && version.state !== 'canary');
}

/** What may be made active again: a quarantined version may not. */
export function mayActivate(version: PolicyVersion): boolean {
  return version.state === 'previous' || version.state === 'rejected';
}

/** Puts one slot's answer into the chain, so that the page is right before the stream says so. */
export function withSlot(policies: Policies, slot: Slot): Policies {
  const known = policies.chain.some((other) => other.slot === slot.slot);
  const chain = known ? policies.chain.map((other) => (other.slot === slot.slot ? slot : other)) : [...policies.chain, slot];
  return { ...policies, chain };
}

/** Which requests a slot is asked about, in words; null when it is all of them. */
export function scopeWords(scope: Scope): string | null {
  const parts = [['models', scope.models], ['tenants', scope.tenants], ['endpoints', scope.endpoints]] as const;
  const some = parts.filter(([, names]) => names.length > 0).map(([what, names]) => `${what} ${names.join(', ')}`);
  return some.length === 0 ? null : some.join('; ');
}

/** What happens to a request when the policy fails, hook by hook. */
export function onErrorWords(slot: Slot, hooks: string[]): { hook: string; act: string }[] {
  const asked = (['admit', 'place'] as const).filter((hook) => hooks.length === 0 || hooks.includes(hook));
  return asked.map((hook) => ({ hook, act: slot.on_error[hook] === 'reject' ? 'refuses' : 'falls back' }));
}

/** The version that a quarantine took out of service, while nothing has taken its place since. */
export function quarantineOf(slot: Slot): { version: PolicyVersion; entry: HistoryEntry | undefined } | undefined {
  const version = slot.versions.find((one) => one.state === 'quarantined');
  const active = activeOf(slot);
  if (version === undefined || (active !== undefined && active.number > version.number)) return undefined;
  return { version, entry: slot.history.find((entry) => entry.what === 'quarantined' && entry.from === version.number) };
}

export interface Measure {
  name: string;
  now: number | null;
  /** Null: not judged. */
  max: number | null;
}

export interface CanaryHealth {
  /** Waiting: too few requests to judge. */
  verdict: 'waiting' | 'within' | 'over';
  /** How many more requests the budget waits for. */
  wanting: number;
  faults: Measure;
  callUs: Measure;
}

export function isOver({ now, max }: Measure): boolean {
  return max !== null && now !== null && now > max;
}

/** How a canary fares against its budget, by the same rule that rolls it back. */
export function canaryHealth(canary: Canary, version: PolicyVersion | undefined): CanaryHealth {
  const { budget, requests, faults: failed } = canary;
  const faults: Measure = { name: 'faults', now: requests === 0 ? null : (failed * 1000) / requests, max: budget.faults_permille_max };
  const callUs: Measure = { name: 'call', now: version?.call_us.p99 ?? null, max: budget.call_us_p99_max };
  const wanting = Math.max(0, budget.requests_min - requests);
  const over = [faults, callUs].some(isOver);
  return { verdict: wanting > 0 ? 'waiting' : over ? 'over' : 'within', wanting, faults, callUs };
}
