// Remembers how many rows the fleet had, so that the next visit's skeleton has the size of what will replace it.

const KEY = 'headworks.fleet-shape';
const FIRST_GUESS = [2, 2];

export function shapeLastSeen(): number[] {
  try {
    const kept: unknown = JSON.parse(localStorage.getItem(KEY) ?? 'null');
    if (Array.isArray(kept) && kept.length > 0 && kept.every((rows) => Number.isInteger(rows) && rows >= 0 && rows < 500)) return kept as number[];
  } catch {
    // Switched off or spoilt: guess.
  }
  return FIRST_GUESS;
}

export function rememberShape(rows: number[]): void {
  try {
    localStorage.setItem(KEY, JSON.stringify(rows));
  } catch {
    // Switched off: the next visit guesses.
  }
}
