import { describe, expect, it } from 'vitest';
import type { Json, JsonObject } from '../api/contract';
import { changesBetween, settingsOf } from './changes';
import { keyOf, parseConfig, read, readValue, wordsOf } from './check';
import { draftOf, pretty, sameJson, startOf, type Draft, type GroupDraft } from './draft';
import { locate } from './locate';
import { formOf, type Field } from './schema';

function of(member: Json): Field {
  const form = formOf({ properties: { it: member } });
  if (form.kind !== 'group' || form.members[0] === undefined) throw new Error('a schema of one member draws one field');
  return form.members[0].field;
}

/** What a field says of a value: the value again, or the problems. */
function judge(field: Field, value: Json): unknown {
  const { value: same, problems } = readValue(field, value);
  return problems.size === 0 ? same : Object.fromEntries(problems);
}

describe('a schema is read as', () => {
  it.each<[string, Json, object]>([
    ['a text', { type: 'string', minLength: 2, maxLength: 5, pattern: '^a' }, { kind: 'text', rule: { charsMin: 2, charsMax: 5, pattern: '^a' } }],
    ['a whole number', { type: 'integer', minimum: 1, maximum: 9 }, { kind: 'number', integer: true, min: { at: 1, exclusive: false }, max: { at: 9, exclusive: false } }],
    ['a number beyond a bound', { type: 'number', exclusiveMinimum: 0, multipleOf: 0.5 }, { kind: 'number', integer: false, min: { at: 0, exclusive: true }, max: null, multipleOf: 0.5 }],
    ['the tighter of two bounds', { type: 'number', minimum: 3, exclusiveMinimum: 1, maximum: 9, exclusiveMaximum: 9 }, { min: { at: 3, exclusive: false }, max: { at: 9, exclusive: true } }],
    ['a switch', { type: 'boolean', default: true, title: 'On', description: 'Whether.' }, { kind: 'switch', default: true, title: 'On', description: 'Whether.' }],
    ['a choice of values', { enum: ['two', 'all', 3] }, { kind: 'choice', options: [{ value: 'two', label: 'two' }, { value: 'all', label: 'all' }, { value: 3, label: '3' }] }],
    ['a choice of described values', { oneOf: [{ const: 'sp-p', title: 'Pending', description: 'By queue.' }, { const: 'sp-o' }] }, { kind: 'choice', options: [{ label: 'Pending', description: 'By queue.' }, { label: 'sp-o', description: null }] }],
    ['a choice of joined lists', { anyOf: [{ enum: ['a', 'b'] }, { const: 'c' }] }, { kind: 'choice', options: [{ value: 'a' }, { value: 'b' }, { value: 'c' }] }],
    ['a constant', { const: 7 }, { kind: 'choice', options: [{ value: 7 }] }],
    ['a choice that may be null', { enum: ['a', null] }, { kind: 'choice', nullable: true, options: [{ value: 'a' }] }],
    ['a list', { type: 'array', items: { type: 'string' }, minItems: 1, maxItems: 3, uniqueItems: true }, { kind: 'list', item: { kind: 'text' }, itemsMin: 1, itemsMax: 3, unique: true }],
    ['a group', { type: 'object', required: ['a'], properties: { a: { type: 'string' }, b: { type: 'boolean' } } }, { kind: 'group', open: true, rest: null, members: [{ name: 'a', required: true }, { name: 'b', required: false }] }],
    ['a map', { type: 'object', additionalProperties: { type: 'integer' }, maxProperties: 4 }, { kind: 'group', members: [], rest: { field: { kind: 'number' }, entriesMin: 0, entriesMax: 4 }, open: false }],
    ['a map with ruled names', { type: 'object', propertyNames: { pattern: '^x' }, additionalProperties: { type: 'boolean' } }, { rest: { key: { pattern: '^x' } } }],
    ['a map by pattern', { type: 'object', patternProperties: { '^t-': { type: 'boolean' } }, additionalProperties: false }, { rest: { key: { pattern: '^t-' }, field: { kind: 'switch' } } }],
    ['a closed group', { type: 'object', properties: { a: {} }, additionalProperties: false }, { open: false, rest: null }],
    ['a table of anything', { type: 'object' }, { kind: 'group', rest: { field: { kind: 'json' } } }],
    ['a type with null', { type: ['integer', 'null'] }, { kind: 'number', nullable: true }],
    ['an alternative to null', { anyOf: [{ $ref: '#/$defs/none' }, { type: 'null' }], default: null }, { kind: 'json', nullable: true, default: null }],
    ['the type that its words imply', { minimum: 0 }, { kind: 'number' }],
    ['JSON where it is neither', {}, { kind: 'json' }],
    ['JSON where types differ', { type: ['string', 'integer'] }, { kind: 'json' }],
    ['JSON where shapes differ', { oneOf: [{ type: 'object' }, { type: 'string' }] }, { kind: 'json' }],
    ['JSON where nothing fits', true, { kind: 'json' }],
  ])('%s', (_, schema, field) => expect(of(schema)).toMatchObject(field));

  it('what it refers to', () => {
    const form = formOf({ $defs: { 'a/b': { type: 'integer', maximum: 5, description: 'theirs' } }, properties: { it: { $ref: '#/$defs/a~1b', description: 'mine' }, all: { allOf: [{ $ref: '#/$defs/a~1b' }] } } });
    expect(form).toMatchObject({ members: [{ field: { kind: 'number', description: 'mine', max: { at: 5 } } }, { field: { kind: 'number', description: 'theirs' } }] });
  });

  it('an end, though it refers to itself', () => {
    const form = formOf({ $defs: { loop: { $ref: '#/$defs/loop' } }, type: 'object', properties: { again: { $ref: '#' }, loop: { $ref: '#/$defs/loop' } } });
    expect(form).toMatchObject({ members: [{ field: { kind: 'group' } }, { field: { kind: 'json' } }] });
  });
});

describe('a field says of', () => {
  const text = of({ type: 'string', minLength: 2, maxLength: 3, pattern: '^a' });
  const share = of({ type: 'number', minimum: 0, exclusiveMaximum: 1 });
  const whole = of({ type: 'integer', minimum: 1, maximum: 10, multipleOf: 2 });
  const list = of({ type: 'array', items: { type: 'integer' }, minItems: 1, maxItems: 2, uniqueItems: true });
  const map = of({ type: 'object', additionalProperties: { type: 'integer', minimum: 1 }, propertyNames: { maxLength: 3 }, minProperties: 1 });
  const group = of({ type: 'object', required: ['a'], additionalProperties: false, properties: { a: { type: 'string' }, b: { type: 'object', properties: { c: { enum: [1, 2] } } } } });

  it.each<[Field, Json, unknown]>([
    [text, 'ab', 'ab'], [text, 'a', { '': 'Needs at least 2 characters.' }], [text, 'abcd', { '': 'Takes at most 3 characters.' }], [text, 'bb', { '': 'Must match ^a.' }], [text, 'a😀', 'a😀'], [text, 5, { '': 'Must be a text in quotes.' }],
    [share, 0, 0], [share, 1, { '': 'Must be less than 1.' }], [share, -0.1, { '': 'Must be at least 0.' }], [share, 1e-7, 1e-7], [share, null, { '': 'Must be a number.' }],
    [whole, 4, 4], [whole, 1.5, { '': 'Must be a whole number.' }], [whole, 12, { '': 'Must be at most 10.' }], [whole, 3, { '': 'Must be a multiple of 2.' }],
    [list, [1, 2], [1, 2]], [list, [], { '': 'Needs at least 1 row.' }], [list, [1, 2, 3], { '': 'Takes at most 2 rows.' }], [list, [1, 1], { '/1': 'Stands here twice.' }], [list, [1, 'x'], { '/1': 'Must be a number.' }], [list, {}, { '': 'Must be a list in [ ].' }],
    [map, { a: 1 }, { a: 1 }], [map, {}, { '': 'Needs at least 1 entry.' }], [map, { abcd: 1 }, { '/abcd': 'As a name: Takes at most 3 characters.' }], [map, { a: 0 }, { '/a': 'Must be at least 1.' }], [map, { '': 1 }, { '/': 'Give it a name.' }],
    [group, { a: 'x', b: { c: 2 } }, { a: 'x', b: { c: 2 } }], [group, { b: { c: 3 } }, { '/a': 'Fill this in.', '/b/c': 'Must be one of 1, 2.' }], [group, { a: 'x', z: 1 }, { '/z': 'The schema has no "z".' }],
    [of({ type: ['string', 'null'] }), null, null], [of({ type: 'boolean' }), false, false], [of({ enum: [{ deep: [1] }] }), { deep: [1] }, { deep: [1] }], [of({ type: 'string', pattern: '(' }), 'x', 'x'], [of({}), { any: [1] }, { any: [1] }],
  ])('%# %j', (field, value, said) => expect(judge(field, value)).toEqual(said));

  it('names only as names', () => {
    const free = of({ type: 'object', additionalProperties: { type: 'integer' } });
    const names = JSON.parse('{"constructor":1,"__proto__":2,"toString":3}') as Json;
    expect(JSON.stringify(readValue(free, names).value)).toBe(JSON.stringify(names));
    expect(readValue(free, names).problems.size).toBe(0);
  });
});

describe('a draft', () => {
  const form = formOf({
    type: 'object',
    properties: { mode: { enum: ['a', 'b'], default: 'a' }, size: { type: 'integer', default: 4 }, deep: { type: 'object', properties: { on: { type: 'boolean' } } }, names: { type: 'array', items: { type: 'string' } } },
    required: ['size'],
  });
  const draft = (value: JsonObject) => draftOf(form, value) as GroupDraft;

  it('gives back what it was begun from, also what the schema does not name', () => {
    for (const value of [{ size: 1 }, { size: 1, mode: 'b', deep: {}, names: [] }, { size: 1, deep: { on: false }, names: ['', 'x'], other: { kept: [1] } }] as JsonObject[]) expect(read(form, draft(value))).toEqual({ value, problems: new Map() });
  });

  it('leaves out what nobody said, and fills in what must be said with its default', () => {
    expect(read(form, draft({})).value).toEqual({ size: 4 });
  });

  it('asks for what is missing', () => {
    const emptied = draft({});
    emptied.members['size'] = { kind: 'number', text: '', set: false };
    expect([...read(form, emptied).problems]).toEqual([['/size', 'Fill this in.']]);
    expect([...read(of({ enum: ['a'] }), { kind: 'choice', at: -1 }).problems]).toEqual([['', 'Choose one.']]);
  });

  it.each(['', ' ', '1e', '0x10', '1_000', 'four', '1.5', '--1', 'NaN', 'Infinity', '1e999'])('takes "%s" for no whole number', (text) => {
    expect(read(of({ type: 'integer' }), { kind: 'number', text, set: true }).problems.size).toBe(1);
  });

  it.each([['1', 1], [' -2 ', -2], ['1e3', 1000], ['.5', 0.5], ['7.', 7]])('reads "%s" as %d', (text, value) => {
    expect(read(of({ type: 'number' }), { kind: 'number', text, set: true }).value).toBe(value);
  });

  it('says where JSON breaks off', () => {
    expect(read(of({}), { kind: 'json', text: '{"a":', set: true }).problems.get('')).toMatch(/^Not JSON/);
    expect([parseConfig('[]'), parseConfig('{"a":1}')]).toEqual([{ problem: 'A configuration is an object in { }.' }, { config: { a: 1 } }]);
  });

  it('shows a value of another kind as JSON and takes its correction', () => {
    const odd = draft({ size: 'many' });
    expect(odd.members['size']).toEqual({ kind: 'json', text: '"many"', set: true });
    odd.members['size'] = { kind: 'json', text: '5', set: true };
    expect(read(form, odd).value).toEqual({ size: 5 });
  });

  it('finds a name that stands twice', () => {
    const map = of({ type: 'object', additionalProperties: { type: 'integer' } });
    const one: Draft = { kind: 'number', text: '1', set: true };
    expect([...read(map, { kind: 'group', set: true, members: {}, extra: {}, entries: [{ id: 1, key: 'a', draft: one }, { id: 2, key: 'a', draft: one }] }).problems]).toEqual([['/a', 'The name "a" stands here twice.']]);
  });

  it('starts a row with what it must hold', () => {
    const row = of({ type: 'object', required: ['n'], properties: { n: { type: 'integer', default: 3 }, m: { type: 'integer', default: 9 } } });
    expect(read(row, startOf(row, true)).value).toEqual({ n: 3 });
  });
});

describe('a refusal finds its field', () => {
  const form = formOf({ type: 'object', properties: { scan: { type: 'string' }, tenants: { type: 'object', additionalProperties: { type: 'object', properties: { limit: { type: 'integer' } } } }, steps: { type: 'array', items: { type: 'integer' } } } });
  const draft = draftOf(form, { tenants: { acme: { limit: 1 }, 'a.b': {} }, steps: [1, 2], scan: 'x' });

  it.each<[string | null, string | null]>([
    ['scan', 'scan'], ['/scan', 'scan'], ['config.scan', 'scan'], ['/config/scan', 'scan'], ['tenants.acme.limit', 'tenants.acme.limit'], ['tenants.acme.limit.more', 'tenants.acme.limit'], ['/tenants/acme', 'tenants.acme'],
    ['tenants.a.b.limit', 'tenants.a.b.limit'], ['tenants.nobody', 'tenants'], ['steps[1]', 'steps[1]'], ['steps.1', 'steps[1]'], ['steps/0', 'steps[0]'], ['scanner', null], ['', null], [null, null], ['elsewhere', null],
  ])('%s is %s', (param, words) => {
    const place = locate(param, draft);
    expect(place === null ? null : wordsOf(place)).toBe(words);
  });

  it('by a key that no name can forge', () => {
    expect(keyOf(['a/b', 0, '~'])).toBe('/a~1b/0/~0');
  });
});

describe('two configurations', () => {
  it('differ in what a reader would call changed', () => {
    const before = { scan: 'two', deep: { a: 1, b: [1] }, gone: true };
    const after = { scan: 'all', deep: { a: 1, b: [1, 2] }, come: null };
    expect(changesBetween(before, after)).toEqual([
      { where: 'scan', from: 'two', to: 'all' }, { where: 'deep.b', from: [1], to: [1, 2] }, { where: 'gone', from: true, to: undefined }, { where: 'come', from: undefined, to: null },
    ]);
    expect(changesBetween(before, JSON.parse(pretty(before)) as JsonObject)).toEqual([]);
  });

  it('are told in one line per setting', () => {
    expect(settingsOf({ a: { b: 1, c: {} }, d: [1] })).toEqual([{ where: 'a.b', value: 1 }, { where: 'a.c', value: {} }, { where: 'd', value: [1] }]);
  });

  it('are the same whatever the order of their names', () => {
    expect([sameJson({ a: 1, b: 2 }, { b: 2, a: 1 }), sameJson({ a: 1 }, { b: 1 }), sameJson([1], { 0: 1 }), sameJson(null, {}), sameJson({ toString: 1 }, {})]).toEqual([true, false, false, false, false]);
  });
});
