// Keeps the last minutes of traffic in order, whether they came as history or live.

import type { Percentiles, Traffic } from '../api/contract';

/** What is kept, and what is asked for at the start. */
export const HISTORY_MS = 300_000;

/** Joins points by their time: a later word about the same moment replaces the earlier one. */
export function mergeTraffic(known: Traffic[], more: Traffic[], historyMs = HISTORY_MS): Traffic[] {
  const last = known.at(-1);
  const only = more.length === 1 ? more[0] : undefined;
  let joined: Traffic[];
  if (only !== undefined && (last === undefined || only.time_ms > last.time_ms)) {
    joined = [...known, only];
  } else {
    const byTime = new Map(known.map((point) => [point.time_ms, point]));
    for (const point of more) byTime.set(point.time_ms, point);
    joined = [...byTime.values()].sort((a, b) => a.time_ms - b.time_ms);
  }
  const oldest = (joined.at(-1)?.time_ms ?? 0) - historyMs;
  const from = joined.findIndex((point) => point.time_ms >= oldest);
  return from > 0 ? joined.slice(from) : joined;
}

/** The points of the last `windowMs`, and one before them so that a line enters from the edge. */
export function within(points: Traffic[], windowMs: number): Traffic[] {
  const oldest = (points.at(-1)?.time_ms ?? 0) - windowMs;
  const from = points.findIndex((point) => point.time_ms >= oldest);
  return points.slice(Math.max(0, from - 1));
}

/** A line that lies on zero says nothing and hides the axis: only what rises from it is drawn, with its feet. */
export function risen(values: number[]): (number | null)[] {
  return values.map((value, at) => (value === 0 && !(values[at - 1] ?? 0) && !(values[at + 1] ?? 0) ? null : value));
}

export type PercentileName = 'ttft_ms' | 'tpot_ms' | 'e2e_ms' | 'decide_us';

/** One list per percentile, as a chart wants them. */
export function columnsOf(points: Traffic[], name: PercentileName): [(number | null)[], (number | null)[], (number | null)[]] {
  const of = (member: keyof Percentiles) => points.map((point) => point[name][member]);
  return [of('p50'), of('p90'), of('p99')];
}
