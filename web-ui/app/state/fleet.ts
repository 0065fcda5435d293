// Adds up a fleet for the header and decides how a replica's state is named.

import type { Fleet, Region, Replica } from '../api/contract';

export type Condition = 'healthy' | 'draining' | 'unhealthy' | 'unknown';

/** Health and draining as the one word that matters to an operator. */
export function conditionOf(replica: Replica): Condition {
  return replica.draining && replica.health === 'healthy' ? 'draining' : replica.health;
}

export interface Totals {
  replicas: number;
  available: number;
  regions: number;
  unreachable: number;
}

export function totalsOf(fleet: Fleet): Totals {
  return {
    replicas: fleet.regions.reduce((sum, region) => sum + region.replicas.length, 0),
    available: fleet.regions.reduce((sum, region) => sum + (region.reachable ? region.available : 0), 0),
    regions: fleet.regions.length,
    unreachable: fleet.regions.filter((region) => !region.reachable).length,
  };
}

/** This proxy's own region first, the others by name: the order never moves while an operator reads. */
export function inOrder(regions: Region[]): Region[] {
  return regions.toSorted((a, b) => Number(b.local) - Number(a.local) || a.name.localeCompare(b.name, 'en', { numeric: true }));
}

/** The share of KV blocks in use; null where a replica does not say. */
export function kvShare(replica: Replica): number | null {
  return replica.kv_blocks_total > 0 ? Math.min(1, replica.kv_blocks_used / replica.kv_blocks_total) : null;
}

/** How old a reading is now that `sinceMs` passed since it was told; null before the first. */
export function ageNow(ageMs: number | null, sinceMs: number): number | null {
  return ageMs === null ? null : ageMs + sinceMs;
}

/** A model that this fleet serves, for the example request. */
export function anyModel(fleet: Fleet): string | undefined {
  return fleet.regions.flatMap((region) => region.replicas).flatMap((replica) => replica.models)[0];
}
