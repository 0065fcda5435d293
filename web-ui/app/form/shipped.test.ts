// The policies that come with the proxy are configured in a form: nothing of theirs is left to JSON.

import { expect, it } from 'vitest';
import type { JsonObject } from '../api/contract';
import { readValue } from './check';
import { formOf, type Field } from './schema';

const SCHEMAS = import.meta.glob<JsonObject>('../../../policies-wasm/builtin/*/config.schema.json', { eager: true, import: 'default' });

it('there are schemas to draw', () => expect(Object.keys(SCHEMAS).length).toBeGreaterThan(0));

it.each(Object.entries(SCHEMAS).map(([path, schema]) => [path.split('/').at(-2), schema] as const))('%s is drawn whole, and its defaults are right', (_, schema) => {
  const form = formOf(schema);
  expect(form.kind).toBe('group');
  expect(undrawn(form, [])).toEqual([]);
  expect(undescribed(form, [])).toEqual([]);
  expect(readValue(form, defaultsOf(form)).problems).toEqual(new Map());
});

function inside(field: Field): [string, Field][] {
  if (field.kind === 'list') return [['[]', field.item]];
  if (field.kind !== 'group') return [];
  const members = field.members.map((member): [string, Field] => [member.name, member.field]);
  return field.rest === null ? members : [...members, ['*', field.rest.field]];
}

function undrawn(field: Field, path: string[]): string[] {
  return field.kind === 'json' ? [path.join('.')] : inside(field).flatMap(([name, one]) => undrawn(one, [...path, name]));
}

function undescribed(field: Field, path: string[]): string[] {
  const here = field.kind === 'group' && field.description === null ? field.members.filter((member) => member.field.description === null).map((member) => [...path, member.name].join('.')) : [];
  return [...here, ...inside(field).flatMap(([name, one]) => undescribed(one, [...path, name]))];
}

function defaultsOf(form: Field): JsonObject {
  const members = form.kind === 'group' ? form.members.filter((member) => member.field.default !== undefined) : [];
  return Object.fromEntries(members.map((member) => [member.name, member.field.default as never]));
}
