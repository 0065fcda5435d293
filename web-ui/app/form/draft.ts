// What stands in a form while it is filled in: begun from a value, changed by typing, read back and checked elsewhere.

import type { Json, JsonObject } from '../api/contract';
import { isObject, type Field, type GroupField } from './schema';

export type TextDraft = { kind: 'text'; text: string; set: boolean };
export type NumberDraft = { kind: 'number'; text: string; set: boolean };
export type SwitchDraft = { kind: 'switch'; on: boolean | null };
/** `at` is -1 while nothing is chosen. */
export type ChoiceDraft = { kind: 'choice'; at: number };
export type ListDraft = { kind: 'list'; set: boolean; items: { id: number; draft: Draft }[] };
export type Entry = { id: number; key: string; draft: Draft };
export type GroupDraft = { kind: 'group'; set: boolean; members: Record<string, Draft>; entries: Entry[]; /** What the schema does not name and does not forbid. */ extra: JsonObject };
/** A field of plain JSON, or a value that is not what its field should be. */
export type JsonDraft = { kind: 'json'; text: string; set: boolean };
export type NullDraft = { kind: 'null' };
export type Draft = TextDraft | NumberDraft | SwitchDraft | ChoiceDraft | ListDraft | GroupDraft | JsonDraft | NullDraft;

let ids = 0;

/** A name that stays with a row of a list while rows come and go. */
export function nextId(): number {
  ids += 1;
  return ids;
}

/** The draft of a value; of nothing, when the value is undefined. */
export function draftOf(field: Field, value: Json | undefined): Draft {
  if (value === null && field.nullable) return { kind: 'null' };
  return fitting(field, value) ?? { kind: 'json', text: pretty(value as Json), set: true };
}

/** What a field must hold, though the operator has not said it yet: its default. */
export function startOf(field: Field, required: boolean): Draft {
  return draftOf(field, required ? field.default : undefined);
}

function fitting(field: Field, value: Json | undefined): Draft | null {
  const set = value !== undefined;
  switch (field.kind) {
    case 'text':
      return !set || typeof value === 'string' ? { kind: 'text', text: value ?? '', set } : null;
    case 'number':
      return !set || typeof value === 'number' ? { kind: 'number', text: set ? String(value) : '', set } : null;
    case 'switch':
      return !set || typeof value === 'boolean' ? { kind: 'switch', on: value ?? null } : null;
    case 'choice': {
      const at = set ? field.options.findIndex((option) => sameJson(option.value, value)) : -1;
      return set && at < 0 ? null : { kind: 'choice', at };
    }
    case 'list':
      return !set || Array.isArray(value) ? { kind: 'list', set, items: (value ?? []).map((item) => ({ id: nextId(), draft: draftOf(field.item, item) })) } : null;
    case 'group':
      return !set || isObject(value) ? groupDraft(field, value) : null;
    case 'json':
      return { kind: 'json', text: set ? pretty(value) : '', set };
  }
}

function groupDraft(field: GroupField, value: JsonObject | undefined): GroupDraft {
  const draft: GroupDraft = { kind: 'group', set: value !== undefined, members: {}, entries: [], extra: {} };
  for (const member of field.members) {
    const given = value !== undefined && Object.hasOwn(value, member.name) ? value[member.name] : undefined;
    draft.members[member.name] = given === undefined ? startOf(member.field, member.required) : draftOf(member.field, given);
  }
  for (const [key, given] of Object.entries(value ?? {})) {
    if (Object.hasOwn(draft.members, key)) continue;
    if (field.rest === null) draft.extra[key] = given;
    else draft.entries.push({ id: nextId(), key, draft: draftOf(field.rest.field, given) });
  }
  return draft;
}

/** Whether anything in the draft says something of its own. */
export function saysSomething(draft: Draft): boolean {
  switch (draft.kind) {
    case 'switch':
      return draft.on !== null;
    case 'choice':
      return draft.at >= 0;
    case 'null':
      return true;
    case 'group':
      return draft.set || draft.entries.length > 0 || Object.keys(draft.extra).length > 0 || Object.values(draft.members).some(saysSomething);
    default:
      return draft.set;
  }
}

export function pretty(value: Json): string {
  return JSON.stringify(value, null, 2);
}

export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, at) => sameJson(item, b[at]));
  if (!isObject(a) || !isObject(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => Object.hasOwn(b, name) && sameJson(a[name], b[name]));
}
