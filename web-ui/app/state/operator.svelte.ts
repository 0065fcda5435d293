// Remembers who the operator says to be: the history of a slot keeps it beside every change.

import { nameOf, operator } from '../api/client';

const KEY = 'headworks.operator';

class Who {
  name = $state(read());

  constructor() {
    operator.name = nameOf(this.name);
  }

  say(name: string): void {
    this.name = name;
    operator.name = nameOf(name);
    try {
      localStorage.setItem(KEY, operator.name);
    } catch {
      // Storage is switched off: the name lives as long as the page.
    }
  }
}

function read(): string {
  try {
    return nameOf(localStorage.getItem(KEY) ?? '');
  } catch {
    return '';
  }
}

export const who = new Who();
