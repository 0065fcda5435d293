// Reads a JSON Schema as the fields of a form; what a form cannot draw becomes a field of plain JSON.

import type { Json, JsonObject } from '../api/contract';

interface Common {
  title: string | null;
  description: string | null;
  /** Undefined where the schema names none. */
  default: Json | undefined;
  nullable: boolean;
}

/** What a text, or a key of a group, must look like. */
export interface TextRule {
  charsMin: number;
  charsMax: number | null;
  pattern: string | null;
}

export interface Bound {
  at: number;
  /** The bound itself is not allowed. */
  exclusive: boolean;
}

export interface Option {
  value: Json;
  label: string;
  description: string | null;
}

export interface Member {
  name: string;
  field: Field;
  required: boolean;
}

/** Keys that the operator names, all with one kind of value. */
export interface Rest {
  key: TextRule;
  field: Field;
  entriesMin: number;
  entriesMax: number | null;
}

export type TextField = Common & { kind: 'text'; rule: TextRule; format: string | null };
export type NumberField = Common & { kind: 'number'; integer: boolean; min: Bound | null; max: Bound | null; multipleOf: number | null };
export type SwitchField = Common & { kind: 'switch' };
export type ChoiceField = Common & { kind: 'choice'; options: Option[] };
export type ListField = Common & { kind: 'list'; item: Field; itemsMin: number; itemsMax: number | null; unique: boolean };
export type GroupField = Common & { kind: 'group'; members: Member[]; rest: Rest | null; /** Other keys are allowed too; the form keeps them as they are. */ open: boolean };
export type JsonField = Common & { kind: 'json' };
export type Field = TextField | NumberField | SwitchField | ChoiceField | ListField | GroupField | JsonField;

/** Deeper than this nobody fills in a form; schemas that refer to themselves end here. */
const DEPTH_MAX = 8;
const REFERENCES_MAX = 16;

/** A configuration is an object: anything else at the top is drawn as plain JSON. */
export function formOf(schema: JsonObject): Field {
  return fieldOf(schema, schema, 0);
}

function fieldOf(given: Json | undefined, root: JsonObject, depth: number): Field {
  const schema = resolved(given, root);
  const common: Common = { title: textOf(schema['title']), description: textOf(schema['description']), default: schema['default'], nullable: false };
  if (depth > DEPTH_MAX) return { ...common, kind: 'json' };
  const alternatives = listOf(schema['oneOf'] ?? schema['anyOf']);
  if (alternatives !== null) return alternativesOf(alternatives.map((one) => resolved(one, root)), common, root, depth);
  const values = 'const' in schema ? [schema['const'] as Json] : listOf(schema['enum']);
  if (values !== null) return choiceOf(values.map((value) => ({ value, label: labelOf(value), description: null })), common);
  const { type, nullable } = typeOf(schema);
  const named = { ...common, nullable };
  if (type === 'string') return { ...named, kind: 'text', rule: textRule(schema), format: textOf(schema['format']) };
  if (type === 'integer' || type === 'number') return numberOf(schema, named, type === 'integer');
  if (type === 'boolean') return { ...named, kind: 'switch' };
  if (type === 'array' && isObject(schema['items'] ?? {})) return listFieldOf(schema, named, root, depth);
  if (type === 'object') return groupOf(schema, named, root, depth);
  return { ...named, kind: 'json' };
}

/** Follows references and joins what stands beside them, and a lone `allOf`. */
function resolved(given: Json | undefined, root: JsonObject): JsonObject {
  let schema = isObject(given) ? given : {};
  for (let hop = 0; hop < REFERENCES_MAX; hop += 1) {
    const { $ref, allOf, ...beside } = schema;
    const only = listOf(allOf);
    if (typeof $ref === 'string') schema = { ...pointedAt($ref, root), ...beside };
    else if (only?.length === 1 && isObject(only[0])) schema = { ...only[0], ...beside };
    else return schema;
  }
  return {};
}

function pointedAt(reference: string, root: JsonObject): JsonObject {
  if (!reference.startsWith('#')) return {};
  let at: Json | undefined = root;
  for (const part of reference.slice(1).split('/').slice(1)) {
    const name = decodeURIComponent(part).replaceAll('~1', '/').replaceAll('~0', '~');
    at = isObject(at) ? at[name] : undefined;
  }
  return isObject(at) ? at : {};
}

function alternativesOf(all: JsonObject[], common: Common, root: JsonObject, depth: number): Field {
  const some = all.filter((one) => one['type'] !== 'null' && one['const'] !== null);
  const nullable = some.length < all.length;
  const constants = some.flatMap((one) => constantsOf(one));
  if (constants.every((one) => one !== null) && constants.length > 0) return choiceOf(constants, { ...common, nullable });
  const [only] = some;
  if (only === undefined || some.length > 1) return { ...common, nullable, kind: 'json' };
  const field = fieldOf(only, root, depth + 1);
  return { ...field, title: common.title ?? field.title, description: common.description ?? field.description, default: common.default === undefined ? field.default : common.default, nullable: nullable || field.nullable };
}

function constantsOf(one: JsonObject): (Option | null)[] {
  const description = textOf(one['description']);
  if ('const' in one) return [{ value: one['const'] as Json, label: textOf(one['title']) ?? labelOf(one['const'] as Json), description }];
  return listOf(one['enum'])?.map((value) => ({ value, label: labelOf(value), description })) ?? [null];
}

function choiceOf(options: Option[], common: Common): Field {
  const some = options.filter((option) => option.value !== null);
  const nullable = common.nullable || some.length < options.length;
  // Yes and no under another name: one look for one meaning.
  if (some.length === 2 && some.every((option) => typeof option.value === 'boolean' && option.description === null)) return { ...common, nullable, kind: 'switch' };
  return { ...common, nullable, kind: 'choice', options: some };
}

function typeOf(schema: JsonObject): { type: string | null; nullable: boolean } {
  const given = schema['type'];
  if (typeof given === 'string') return { type: given, nullable: false };
  const types = listOf(given)?.filter((one) => one !== 'null') ?? [];
  const nullable = listOf(given)?.includes('null') ?? false;
  if (types.length === 1) return { type: String(types[0]), nullable };
  if (types.length === 0 && given === undefined) return { type: impliedType(schema), nullable };
  return { type: null, nullable };
}

function impliedType(schema: JsonObject): string | null {
  if ('properties' in schema || 'additionalProperties' in schema || 'patternProperties' in schema) return 'object';
  if ('items' in schema) return 'array';
  if (['minLength', 'maxLength', 'pattern'].some((word) => word in schema)) return 'string';
  if (['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'].some((word) => word in schema)) return 'number';
  return null;
}

function textRule(schema: JsonObject): TextRule {
  return { charsMin: amountOf(schema['minLength']) ?? 0, charsMax: amountOf(schema['maxLength']), pattern: textOf(schema['pattern']) };
}

function numberOf(schema: JsonObject, common: Common, integer: boolean): NumberField {
  const bound = (inclusive: string, exclusive: string, tighter: (a: number, b: number) => boolean): Bound | null => {
    const [closed, open] = [amountOf(schema[inclusive]), amountOf(schema[exclusive])];
    if (open !== null && (closed === null || !tighter(closed, open))) return { at: open, exclusive: true };
    return closed === null ? null : { at: closed, exclusive: false };
  };
  return { ...common, kind: 'number', integer, min: bound('minimum', 'exclusiveMinimum', (a, b) => a > b), max: bound('maximum', 'exclusiveMaximum', (a, b) => a < b), multipleOf: amountOf(schema['multipleOf']) };
}

function listFieldOf(schema: JsonObject, common: Common, root: JsonObject, depth: number): ListField {
  return { ...common, kind: 'list', item: fieldOf(schema['items'], root, depth + 1), itemsMin: amountOf(schema['minItems']) ?? 0, itemsMax: amountOf(schema['maxItems']), unique: schema['uniqueItems'] === true };
}

function groupOf(schema: JsonObject, common: Common, root: JsonObject, depth: number): GroupField {
  const required = new Set(listOf(schema['required']) ?? []);
  const properties = Object.entries(isObject(schema['properties']) ? schema['properties'] : {});
  const members = properties.map(([name, member]) => ({ name, field: fieldOf(member, root, depth + 1), required: required.has(name) }));
  const rest = restOf(schema, members.length === 0, root, depth);
  return { ...common, kind: 'group', members, rest, open: rest === null && schema['additionalProperties'] !== false };
}

function restOf(schema: JsonObject, alone: boolean, root: JsonObject, depth: number): Rest | null {
  const { additionalProperties: additional, patternProperties, propertyNames } = schema;
  const rest = (field: Field, key: TextRule): Rest => ({ field, key, entriesMin: amountOf(schema['minProperties']) ?? 0, entriesMax: amountOf(schema['maxProperties']) });
  const named = textRule(isObject(propertyNames) ? resolved(propertyNames, root) : {});
  if (isObject(additional) && Object.keys(additional).length > 0) return rest(fieldOf(additional, root, depth + 1), named);
  const [pattern, ...more] = Object.entries(isObject(patternProperties) ? patternProperties : {});
  if (pattern !== undefined && more.length === 0 && additional === false) return rest(fieldOf(pattern[1], root, depth + 1), { ...named, pattern: pattern[0] });
  // Keys of any name and value, and nothing else: a table of plain JSON.
  if (alone && additional !== false) return rest(fieldOf({}, root, depth + 1), named);
  return null;
}

export function labelOf(value: Json): string {
  return typeof value === 'string' && value !== '' ? value : JSON.stringify(value);
}

export function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function listOf(value: Json | undefined): Json[] | null {
  return Array.isArray(value) ? value : null;
}

function textOf(value: Json | undefined): string | null {
  return typeof value === 'string' && value !== '' ? value : null;
}

function amountOf(value: Json | undefined): number | null {
  return typeof value === 'number' ? value : null;
}
