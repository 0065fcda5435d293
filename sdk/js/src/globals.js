// What JavaScript has everywhere and a policy has not. `console` speaks to the operator's log; what would not replay says
// what to use instead.

import * as host from '#host';

/** The log's level of each of console's verbs. */
const LEVELS = { debug: 'debug', error: 'error', info: 'info', log: 'info', trace: 'debug', warn: 'warn' };

const INSTEAD = 'a policy has no date, for its decisions could not be replayed: clock.nowMs() of @headworks/policy has the time';

let isRunning = false;

/** From here on there is a host to speak to. While the component is being built there is none. */
export function wake() {
  isRunning = true;
}

/** Puts them in the place of the engine's own. */
export function replaceGlobals(place) {
  place.console = consoleOf((level, line) => isRunning && host.log.log(level, line));
  place.Date = replayingDate(place.Date);
}

/** A `console` that writes lines. */
export function consoleOf(write) {
  const verbs = Object.entries(LEVELS).map(([verb, level]) => [verb, (...words) => void write(level, words.map(shown).join(' '))]);
  return Object.freeze(Object.fromEntries(verbs));
}

/** `Date` for moments that are given; now is none of them. */
export function replayingDate(Original) {
  return class Date extends Original {
    constructor(...parts) {
      if (parts.length === 0) {
        throw new Error(INSTEAD);
      }
      super(...parts);
    }

    static now() {
      throw new Error(INSTEAD);
    }
  };
}

function shown(word) {
  if (typeof word === 'string' || word instanceof Error) {
    return String(word);
  }
  try {
    const plain = ArrayBuffer.isView(word) ? Array.from(word) : word;
    return JSON.stringify(plain, (_, value) => (typeof value === 'bigint' ? String(value) : value)) ?? String(word);
  } catch {
    return String(word);
  }
}
