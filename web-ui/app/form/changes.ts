// Tells two configurations apart, in the words of a change that is about to be made.

import type { Json, JsonObject } from '../api/contract';
import { wordsOf, type Path } from './check';
import { sameJson } from './draft';
import { isObject } from './schema';

export interface Change {
  where: string;
  /** Undefined: it was not there, or will not be. */
  from: Json | undefined;
  to: Json | undefined;
}

export function changesBetween(before: JsonObject, after: JsonObject): Change[] {
  return collect(before, after, []);
}

function collect(before: Json | undefined, after: Json | undefined, path: Path): Change[] {
  if (sameJson(before, after)) return [];
  if (!isObject(before) || !isObject(after)) return [{ where: wordsOf(path), from: before, to: after }];
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names.flatMap((name) => collect(before[name], after[name], [...path, name]));
}

export interface Setting {
  where: string;
  value: Json;
}

/** A configuration in one line each, for where there is no room to edit it. */
export function settingsOf(config: JsonObject, path: Path = []): Setting[] {
  return Object.entries(config).flatMap(([name, value]) => {
    const at = [...path, name];
    return isObject(value) && Object.keys(value).length > 0 ? settingsOf(value, at) : [{ where: wordsOf(at), value }];
  });
}
