import { describe, expect, it } from 'vitest';
import * as format from './format';

describe.each<[string, (value: number) => format.Quantity, [number, string][]]>([
  ['a count', format.count, [[0, '0'], [7, '7'], [1234, '1,234'], [99_999, '99,999'], [100_000, '100 k'], [123_456, '123 k'], [1_234_567, '1.23 M'], [45_600_000, '45.6 M'], [2_000_000_000, '2.00 G']]],
  ['a rate', format.rate, [[0, '0'], [0.04, '0.0'], [0.25, '0.3'], [9.96, '10.0'], [99.94, '99.9'], [99.96, '100'], [1234.5, '1,235']]],
  ['milliseconds', format.milliseconds, [[0, '0 µs'], [0.25, '250 µs'], [0.9994, '999 µs'], [0.9996, '1.00 ms'], [9.99, '9.99 ms'], [9.996, '10.0 ms'], [99.96, '100 ms'], [999.4, '999 ms'], [999.6, '1.00 s'], [12_345, '12.3 s'], [60_000, '1 m 0 s'], [3_700_000, '1 h 1 m']]],
  ['microseconds', format.microseconds, [[0, '0 µs'], [3, '3 µs'], [999, '999 µs'], [1000, '1.00 ms'], [1_500_000, '1.50 s']]],
  ['a call', format.callMicroseconds, [[0, '0 µs'], [0.42, '0.42 µs'], [3.2, '3.20 µs'], [12.34, '12.3 µs'], [123.4, '123 µs'], [4000, '4.00 ms']]],
  ['a share of a thousand', format.perMille, [[0, '0 ‰'], [10, '10 ‰'], [2.5, '2.50 ‰'], [100, '100 ‰'], [250, '250 ‰']]],
  ['a moving average', format.averageMicroseconds, [[0, '–'], [12, '12 µs']]],
  ['bytes', format.bytes, [[0, '0 B'], [999, '999 B'], [13_500, '13.5 kB'], [999_960, '1.00 MB'], [12_000_000, '12.0 MB']]],
  ['thousandths', format.permille, [[0, '0.0 %'], [120, '12.0 %'], [1000, '100.0 %']]],
])('%s', (_, of, table) => {
  it.each(table)('%d reads %s', (value, text) => expect(format.text(of(value))).toBe(text));
});

it('nothing is said where there is nothing', () => {
  for (const of of [format.count, format.rate, format.milliseconds, format.microseconds, format.callMicroseconds]) {
    for (const value of [null, undefined, Number.NaN, Number.POSITIVE_INFINITY]) expect(of(value)).toEqual(format.NONE);
  }
});

it.each([[0, '0 s'], [-5, '0 s'], [59_999, '59 s'], [60_000, '1 m 0 s'], [3_599_000, '59 m 59 s'], [3_600_000, '1 h 0 m'], [86_400_000, '1 d 0 h'], [90_000_000, '1 d 1 h']])('a span of %d ms reads %s', (ms, text) => {
  expect(format.duration(ms)).toBe(text);
});

it.each([[0, '< 1 s'], [999, '< 1 s'], [1000, '1 s'], [61_000, '1 m 1 s']])('an age of %d ms reads %s', (ms, text) => {
  expect(format.age(ms)).toBe(text);
});

it('a reading that never was has no age', () => {
  expect([format.age(null), format.ago(null), format.ago(10), format.ago(5000)]).toEqual(['never', 'never', 'just now', '5 s ago']);
});

it('a digest is shortened to twelve digits without its kind', () => {
  expect(format.shortDigest('sha256:0123456789abcdef')).toBe('0123456789ab');
  expect(format.shortDigest('0123')).toBe('0123');
});

it('a time of day keeps its milliseconds', () => {
  expect(format.timeOfDay(Date.UTC(2026, 0, 1, 10, 2, 3, 7))).toMatch(/^\d\d:\d\d:03\.007$/);
});

it('a moment is the same instant when read back', () => {
  const at = Date.UTC(2026, 6, 1, 23, 59, 59, 42);
  expect(Date.parse(format.moment(at).replace(' ', 'T').replace(' ', ''))).toBe(at);
});

it('one is not many', () => {
  expect([0, 1, 2].map((number) => format.plural(number, 'try', 'tries'))).toEqual(['0 tries', '1 try', '2 tries']);
});
