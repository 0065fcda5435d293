// Finds the field that a refusal speaks of: policies and schema checkers write paths each in their own way.

import { keyOf, wordsOf, type Path } from './check';
import type { Draft } from './draft';

/** Every place of a draft that a form draws, parents before children. */
export function placesOf(draft: Draft, path: Path = []): Path[] {
  const places: Path[] = [path];
  if (draft.kind === 'list') for (const [at, item] of draft.items.entries()) places.push(...placesOf(item.draft, [...path, at]));
  if (draft.kind === 'group') {
    for (const [name, member] of Object.entries(draft.members)) places.push(...placesOf(member, [...path, name]));
    for (const entry of draft.entries) places.push(...placesOf(entry.draft, [...path, entry.key]));
  }
  return places;
}

/**
 * The deepest place that `param` names or lies within; null when it is none. Understands `a.b[0]`, `a.b.0` and `/a/b/0`,
 * with or without `config` before it.
 */
export function locate(param: string | null, draft: Draft): Path | null {
  if (param === null || param === '') return null;
  const wordings = [param, param.replace(/^\/?config[./]?/, '')].filter((wording) => wording !== '');
  let found: Path | null = null;
  for (const place of placesOf(draft)) {
    if (place.length <= (found?.length ?? 0)) continue;
    const names = [wordsOf(place), place.join('.'), keyOf(place), place.join('/')];
    if (wordings.some((wording) => names.some((name) => wording === name || (wording.startsWith(name) && './['.includes(wording.charAt(name.length)))))) found = place;
  }
  return found;
}
