// Answers what the policy panel asks of a slot: which version decides now, and where a rollback would lead.

import type { Policies, PolicyVersion, Slot } from '../api/contract';

export function activeOf(slot: Slot): PolicyVersion | undefined {
  return slot.versions.find((version) => version.state === 'active');
}

/** The version that a rollback activates: the newest of those that are older than the active one. */
export function rollbackTarget(slot: Slot): PolicyVersion | undefined {
  const active = activeOf(slot);
  if (active === undefined) return undefined;
  return slot.versions.find((version) => version.state === 'previous' && version.number < active.number);
}

/** Everything but the active version, newest first. */
export function inactiveOf(slot: Slot): PolicyVersion[] {
  return slot.versions.filter((version) => version.state !== 'active');
}

/** Puts one slot's answer into the chain, so that the page is right before the stream says so. */
export function withSlot(policies: Policies, slot: Slot): Policies {
  const known = policies.chain.some((other) => other.slot === slot.slot);
  const chain = known ? policies.chain.map((other) => (other.slot === slot.slot ? slot : other)) : [...policies.chain, slot];
  return { ...policies, chain };
}
