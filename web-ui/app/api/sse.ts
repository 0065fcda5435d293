// Turns the text of a server-sent event stream, cut anywhere, into its events.

export interface ServerEvent {
  event: string;
  data: string;
}

/** Most characters one event may have before the stream is given up: a full fleet is far below it. */
export const EVENT_CHARS_MAX = 8 * 1024 * 1024;

/**
 * A parser that keeps what a cut left over. Follows the WHATWG rules: lines end with CR, LF or both, a line that starts
 * with a colon is a comment, an empty line ends the event, an event without data is none.
 */
export class SseParser {
  #line = '';
  #data: string[] = [];
  #dataChars = 0;
  #event = '';
  #endedWithCr = false;
  #first = true;

  /** Takes the next piece and returns the events it completed. */
  push(chunk: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    let rest = chunk;
    if (this.#first && rest.length > 0) {
      this.#first = false;
      if (rest.startsWith('\uFEFF')) rest = rest.slice(1);
    }
    let start = 0;
    for (let at = 0; at < rest.length; at += 1) {
      const char = rest[at];
      if (char === '\n' && this.#endedWithCr && at === start && this.#line === '') {
        // The second half of a CR LF, possibly in another chunk than the first.
        this.#endedWithCr = false;
        start = at + 1;
        continue;
      }
      this.#endedWithCr = false;
      if (char !== '\n' && char !== '\r') continue;
      this.#endLine(this.#line + rest.slice(start, at), events);
      this.#line = '';
      this.#endedWithCr = char === '\r';
      start = at + 1;
    }
    this.#line += rest.slice(start);
    if (this.#line.length + this.#dataChars > EVENT_CHARS_MAX) throw new Error('an event of the stream is too large');
    return events;
  }

  #endLine(line: string, events: ServerEvent[]): void {
    if (line === '') {
      if (this.#data.length > 0) events.push({ event: this.#event || 'message', data: this.#data.join('\n') });
      this.#data = [];
      this.#dataChars = 0;
      this.#event = '';
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? '' : line.slice(colon + 1);
    if (value.startsWith(' ')) value = value.slice(1);
    if (field === 'data') {
      this.#data.push(value);
      this.#dataChars += value.length;
    } else if (field === 'event') {
      this.#event = value;
    }
  }
}
