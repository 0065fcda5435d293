import { expect, it } from 'vitest';
import { ApiError, nameOf, OPERATOR_CHARS_MAX, reasonOf, refusalOf } from './client';

it.each([
  ['the proxy’s own words', 400, '{"error":{"message":"not WebAssembly","type":"x"}}', 'not WebAssembly'],
  ['a page of something in between', 502, '<html>Bad gateway</html>', 'The admin port answered 502 without a reason.'],
  ['an empty body', 500, '', 'The admin port answered 500 without a reason.'],
  ['another shape of JSON', 400, '{"error":"text"}', 'The admin port answered 400 without a reason.'],
  ['null', 400, 'null', 'The admin port answered 400 without a reason.'],
])('a refusal is worded by %s', (_, status, body, reason) => {
  expect(reasonOf(status, body)).toBe(reason);
});

it('a refusal keeps its code and the field at fault', () => {
  const refusal = refusalOf(422, '{"error":{"message":"too small","type":"x","param":"tenants.acme.limit","code":"config_refused"}}');
  expect(refusal).toEqual({ message: 'too small', code: 'config_refused', param: 'tenants.acme.limit' });
  expect(refusalOf(500, '{"error":{"message":"m","param":7}}')).toEqual({ message: 'm', code: null, param: null });
  expect(new ApiError(422, refusal)).toMatchObject({ status: 422, message: 'too small', param: 'tenants.acme.limit' });
  expect(new ApiError(0, 'words')).toMatchObject({ code: null, param: null });
});

it.each([['alice', 'alice'], [' a b ', 'a b'], ['Zoë\n', 'Zo'], ['x'.repeat(99), 'x'.repeat(OPERATOR_CHARS_MAX)], ['中文', '']])('"%s" is said in a header as "%s"', (typed, said) => {
  expect(nameOf(typed)).toBe(said);
});
