import { expect, it } from 'vitest';
import { reasonOf } from './client';

it.each([
  ['the proxy’s own words', 400, '{"error":{"message":"not WebAssembly","type":"x"}}', 'not WebAssembly'],
  ['a page of something in between', 502, '<html>Bad gateway</html>', 'The admin port answered 502 without a reason.'],
  ['an empty body', 500, '', 'The admin port answered 500 without a reason.'],
  ['another shape of JSON', 400, '{"error":"text"}', 'The admin port answered 400 without a reason.'],
  ['null', 400, 'null', 'The admin port answered 400 without a reason.'],
])('a refusal is worded by %s', (_, status, body, reason) => {
  expect(reasonOf(status, body)).toBe(reason);
});
