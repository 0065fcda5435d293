// Reads a draft back as the value it stands for, and says of every field what is wrong with it before anything is sent.

import type { Json, JsonObject } from '../api/contract';
import { draftOf, sameJson, saysSomething, type Draft, type GroupDraft } from './draft';
import { isObject, type ChoiceField, type Field, type GroupField, type ListField, type NumberField, type TextRule } from './schema';

export type Path = readonly (string | number)[];

export interface Reading {
  /** What would be sent; of use only when there are no problems. */
  value: Json | undefined;
  /** One sentence per field at fault, by `keyOf` its path. */
  problems: Map<string, string>;
}

/** The path as one text, to look problems up by: a JSON pointer. */
export function keyOf(path: Path): string {
  return path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** The path as an operator would write it. */
export function wordsOf(path: Path): string {
  return path.map((part, at) => (typeof part === 'number' ? `[${part}]` : `${at === 0 ? '' : '.'}${part}`)).join('');
}

export function read(field: Field, draft: Draft): Reading {
  const problems = new Map<string, string>();
  const value = new Reader(problems).read(field, draft, true, []);
  return { value, problems };
}

/** Checks a value that was typed as JSON. */
export function readValue(field: Field, value: Json): Reading {
  return read(field, draftOf(field, value));
}

/** What each kind of field wants, where something else stands. */
const WANTED = { text: 'a text in quotes', number: 'a number', switch: 'true or false', choice: 'one of the choices', list: 'a list in [ ]', group: 'an object in { }', json: 'JSON' };
const NUMBER = /^-?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;

class Reader {
  readonly #problems: Map<string, string>;

  constructor(problems: Map<string, string>) {
    this.#problems = problems;
  }

  read(field: Field, draft: Draft, required: boolean, path: Path): Json | undefined {
    if (draft.kind === 'null') return null;
    if (draft.kind === 'json') return this.#json(field, draft.text, draft.set, required, path);
    if (!saysSomething(draft) && draft.kind !== 'group') {
      // A list without rows is a list.
      if (required && draft.kind === 'list') return this.#list(field as ListField, draft.items, path);
      if (required) this.#say(path, draft.kind === 'choice' || draft.kind === 'switch' ? 'Choose one.' : 'Fill this in.');
      return undefined;
    }
    switch (draft.kind) {
      case 'text':
        return this.#text((field as { rule: TextRule }).rule, draft.text, path);
      case 'number':
        return this.#number(field as NumberField, draft.text, path);
      case 'switch':
        return draft.on ?? undefined;
      case 'choice':
        return (field as ChoiceField).options[draft.at]?.value;
      case 'list':
        return this.#list(field as ListField, draft.items, path);
      case 'group':
        return required || saysSomething(draft) ? this.#group(field as GroupField, draft, path) : undefined;
    }
  }

  #say(path: Path, sentence: string): void {
    const key = keyOf(path);
    if (!this.#problems.has(key)) this.#problems.set(key, sentence);
  }

  #json(field: Field, text: string, set: boolean, required: boolean, path: Path): Json | undefined {
    if (!set || text.trim() === '') {
      if (required) this.#say(path, 'Fill this in.');
      return undefined;
    }
    let value: Json;
    try {
      value = JSON.parse(text) as Json;
    } catch (error) {
      this.#say(path, notJson(error));
      return undefined;
    }
    if (field.kind === 'json') return value;
    const draft = draftOf(field, value);
    if (draft.kind !== 'json') return this.read(field, draft, required, path);
    this.#say(path, field.kind === 'choice' ? `Must be one of ${field.options.map((option) => JSON.stringify(option.value)).join(', ')}.` : `Must be ${WANTED[field.kind]}.`);
    return value;
  }

  #text(rule: TextRule, text: string, path: Path): string {
    const wrong = textProblem(rule, text);
    if (wrong !== null) this.#say(path, wrong);
    return text;
  }

  #number(field: NumberField, text: string, path: Path): number | undefined {
    const value = NUMBER.test(text.trim()) ? Number(text.trim()) : Number.NaN;
    const wrong = Number.isFinite(value) ? numberProblem(field, value) : `Must be a ${field.integer ? 'whole ' : ''}number.`;
    if (wrong !== null) this.#say(path, wrong);
    return Number.isFinite(value) ? value : undefined;
  }

  #list(field: ListField, items: { draft: Draft }[], path: Path): Json[] {
    const values = items.map((item, at) => this.read(field.item, item.draft, true, [...path, at]) ?? null);
    const { itemsMin, itemsMax, unique } = field;
    if (values.length < itemsMin) this.#say(path, `Needs at least ${itemsMin} ${itemsMin === 1 ? 'row' : 'rows'}.`);
    if (itemsMax !== null && values.length > itemsMax) this.#say(path, `Takes at most ${itemsMax} ${itemsMax === 1 ? 'row' : 'rows'}.`);
    values.forEach((value, at) => {
      if (unique && values.findIndex((other) => sameJson(other, value)) < at) this.#say([...path, at], 'Stands here twice.');
    });
    return values;
  }

  #group(field: GroupField, draft: GroupDraft, path: Path): JsonObject {
    // Without a prototype: whatever an operator calls an entry is only a name.
    const value = Object.create(null) as JsonObject;
    for (const { name, field: member, required } of field.members) {
      const given = draft.members[name];
      const said = given === undefined ? undefined : this.read(member, given, required, [...path, name]);
      if (said !== undefined) value[name] = said;
    }
    Object.assign(value, draft.extra);
    if (!field.open && field.rest === null) for (const name of Object.keys(draft.extra)) this.#say([...path, name], `The schema has no "${name}".`);
    if (field.rest !== null) this.#entries(field, draft, value, path);
    return value;
  }

  #entries(field: GroupField, draft: GroupDraft, value: JsonObject, path: Path): void {
    const rest = field.rest;
    if (rest === null) return;
    for (const { key, draft: entry } of draft.entries) {
      const at = [...path, key];
      if (key === '' && rest.key.charsMin === 0 && rest.key.pattern === null) this.#say(at, 'Give it a name.');
      else if (key in value) this.#say(at, `The name "${key}" stands here twice.`);
      const wrong = textProblem(rest.key, key);
      if (wrong !== null) this.#say(at, key === '' ? 'Give it a name.' : `As a name: ${wrong}`);
      const said = this.read(rest.field, entry, true, at);
      if (said !== undefined) value[key] = said;
    }
    const many = Object.keys(value).length;
    if (many < rest.entriesMin) this.#say(path, `Needs at least ${rest.entriesMin} ${rest.entriesMin === 1 ? 'entry' : 'entries'}.`);
    if (rest.entriesMax !== null && many > rest.entriesMax) this.#say(path, `Takes at most ${rest.entriesMax} ${rest.entriesMax === 1 ? 'entry' : 'entries'}.`);
  }
}

function textProblem(rule: TextRule, text: string): string | null {
  const { charsMin, charsMax, pattern } = rule;
  const chars = [...text].length;
  if (chars < charsMin) return `Needs at least ${charsMin} ${charsMin === 1 ? 'character' : 'characters'}.`;
  if (charsMax !== null && chars > charsMax) return `Takes at most ${charsMax} ${charsMax === 1 ? 'character' : 'characters'}.`;
  if (pattern !== null && !matches(pattern, text)) return `Must match ${pattern}.`;
  return null;
}

/** A pattern that this browser cannot read judges nothing: the proxy will. */
function matches(pattern: string, text: string): boolean {
  try {
    return new RegExp(pattern, 'u').test(text);
  } catch {
    return true;
  }
}

function numberProblem({ integer, min, max, multipleOf }: NumberField, value: number): string | null {
  if (integer && !Number.isInteger(value)) return 'Must be a whole number.';
  if (min !== null && (min.exclusive ? value <= min.at : value < min.at)) return `Must be ${min.exclusive ? 'more than' : 'at least'} ${min.at}.`;
  if (max !== null && (max.exclusive ? value >= max.at : value > max.at)) return `Must be ${max.exclusive ? 'less than' : 'at most'} ${max.at}.`;
  if (multipleOf !== null && Math.abs(value / multipleOf - Math.round(value / multipleOf)) > 1e-9) return `Must be a multiple of ${multipleOf}.`;
  return null;
}

/** The parser's own words where they say where; browsers differ in the rest. */
export function notJson(error: unknown): string {
  const where = /(line \d+ column \d+|position \d+)/.exec(error instanceof Error ? error.message : '')?.[1];
  return `Not JSON${where ? `, at ${where}` : ''}.`;
}

/** A whole configuration typed as JSON: an object, or what is wrong. */
export function parseConfig(text: string): { config: JsonObject } | { problem: string } {
  try {
    const value = JSON.parse(text) as Json;
    return isObject(value) ? { config: value } : { problem: 'A configuration is an object in { }.' };
  } catch (error) {
    return { problem: notJson(error) };
  }
}
