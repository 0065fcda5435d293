import { expect, it } from 'vitest';
import type { GroupDraft } from '../../form/draft';
import { ConfigForm } from './config-form.svelte';

const SCHEMA = { type: 'object', additionalProperties: false, properties: { size: { type: 'integer', minimum: 1 }, tenants: { type: 'object', additionalProperties: { type: 'object', properties: { limit: { type: 'integer' } } } } } };

function type(form: ConfigForm, text: string): void {
  (form.draft as GroupDraft).members['size'] = { kind: 'number', text, set: true };
}

it('is drawn from a schema of an object, and is text without one', () => {
  expect(new ConfigForm(SCHEMA, {})).toMatchObject({ drawable: true, view: 'form' });
  expect(new ConfigForm(null, { any: 1 })).toMatchObject({ drawable: false, view: 'json', config: { any: 1 } });
  expect(new ConfigForm({ oneOf: [{ type: 'object' }, { type: 'array' }] }, {})).toMatchObject({ drawable: false, view: 'json' });
});

it('gives nothing to send while something is wrong', () => {
  const form = new ConfigForm(SCHEMA, { size: 4 });
  expect(form.config).toEqual({ size: 4 });
  type(form, '0');
  expect([form.config, form.standing]).toEqual([null, { size: 0 }]);
});

it('is silent about a field until it was left, or all was tried', () => {
  const form = new ConfigForm(SCHEMA, {});
  type(form, 'x');
  expect(form.problemAt(['size'])).toBeNull();
  form.left(['size']);
  expect(form.problemAt(['size'])).toBe('Must be a whole number.');
  const other = new ConfigForm(SCHEMA, {});
  type(other, '0');
  other.tried = true;
  expect(other.problemAt(['size'])).toBe('Must be at least 1.');
});

it('becomes text and back without losing anything', () => {
  const form = new ConfigForm(SCHEMA, { size: 4, tenants: { acme: { limit: 1, extra: [true] } } });
  form.look('json');
  expect(JSON.parse(form.text)).toEqual(form.begun);
  form.text = '{"size": 5}';
  expect(form.look('form')).toBe(true);
  expect(form.config).toEqual({ size: 5 });
});

it('stays text while that is no JSON object', () => {
  const form = new ConfigForm(SCHEMA, {});
  form.look('json');
  for (const text of ['{', '[]', '']) {
    form.text = text;
    expect([form.look('form'), form.view, form.config, form.typedProblems.length]).toEqual([false, 'json', null, 1]);
  }
  form.text = '{"size": 0, "tenants": {"a": {"limit": "x"}}, "more": 1}';
  expect(form.typedProblems).toEqual(['size: Must be at least 1.', 'tenants.a.limit: Must be a number.', 'more: The schema has no "more".']);
});

it('puts a refusal where it belongs, or above all', () => {
  const form = new ConfigForm(SCHEMA, { size: 4, tenants: { acme: {} } });
  form.refused('too many', 'tenants.acme.limit');
  expect(form.problemAt(['tenants', 'acme', 'limit'])).toBe('too many');
  form.refused('odd', null);
  expect(form.refusal).toEqual({ message: 'odd', param: null, key: null });
  form.look('json');
  form.refused('too many', 'size');
  expect(form.refusal?.key).toBeNull();
});

it('names its fields so that a page can refer to them', () => {
  const form = new ConfigForm(SCHEMA, {});
  expect(form.idOf(['tenants', 'a b/ü'])).toMatch(/^[\w~.-]+$/);
});
