// Which line of an author's module each line of a bundle comes from, read from the bundle's source map.

const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

/** `{ "12": "policy.ts:7", … }`: `shown` names a source as its author does, and says nothing of the others. */
export function linesOf(map, shown) {
  const { mappings, sources } = JSON.parse(map);
  const names = sources.map(shown);
  const lines = {};
  // All but the column are counted on from the segment before, over the lines' ends.
  let [source, line] = [0, 0];
  mappings.split(';').forEach((segments, generated) => {
    for (const segment of segments.split(',').filter((segment) => segment !== '')) {
      const [, sourceStep, lineStep] = numbersOf(segment);
      if (sourceStep === undefined) {
        continue;
      }
      source += sourceStep;
      line += lineStep;
      if (names[source] !== undefined) {
        lines[generated + 1] ??= `${names[source]}:${line + 1}`;
      }
    }
  });
  return lines;
}

/** Base 64 digits of five bits each, the lowest first; the sixth says that more follow. The lowest bit is the sign. */
function numbersOf(segment) {
  const numbers = [];
  let [value, shift] = [0, 0];
  for (const letter of segment) {
    const digit = DIGITS.indexOf(letter);
    value |= (digit & 31) << shift;
    shift += 5;
    if (digit < 32) {
      numbers.push(value & 1 ? -(value >>> 1) : value >>> 1);
      [value, shift] = [0, 0];
    }
  }
  return numbers;
}
