// The request that a hook is asked about: lent by the host, or made up in a test.

/** What a made-up request has where the test says nothing. */
const ORDINARY = {
  id: 0n,
  endpoint: '',
  model: '',
  tenant: '',
  session: undefined,
  priority: 0,
  promptTokensEstimate: 0,
  outputTokensMax: 0,
  stream: false,
  hop: 0,
};

const OTHERS = ['prompt', 'tokens', 'blockHashes', 'headers'];

/** The request of one call. Each answer is asked for once, when it is first looked at. */
export class Request {
  #lent;
  #known = {};

  /** Not for policies: see `Request.of`. */
  constructor(lent) {
    this.#lent = lent;
  }

  /** A request for a test. */
  static of(facts = {}) {
    const unknown = Object.keys(facts).find((key) => !(key in ORDINARY) && !OTHERS.includes(key));
    if (unknown !== undefined) {
      throw new Error(`a request has no \`${unknown}\`; it has ${[...Object.keys(ORDINARY), ...OTHERS].join(', ')}`);
    }
    return new Request(madeUp(facts));
  }

  /** The host's own handle, for the prefix index. */
  get handle() {
    return this.#lent;
  }

  get promptBytes() {
    return this.ask('promptBytes');
  }

  prompt(offset = 0, bytesMax = 0xffff_ffff) {
    return this.#lent.prompt(offset, bytesMax);
  }

  tokens() {
    return this.ask('tokens');
  }

  blockHashes() {
    return this.ask('blockHashes');
  }

  header(name) {
    return this.#lent.header(name);
  }

  headerNames() {
    return this.ask('headerNames');
  }

  note(note) {
    this.#lent.note(typeof note === 'string' ? new TextEncoder().encode(note) : note);
  }

  ask(name) {
    if (!(name in this.#known)) {
      this.#known[name] = this.#lent[name]();
    }
    return this.#known[name];
  }
}

for (const name of Object.keys(ORDINARY)) {
  Object.defineProperty(Request.prototype, name, {
    get() {
      return this.ask(name);
    },
  });
}

/** What the host would lend, with the facts of a test in it. */
function madeUp({ prompt = '', tokens = [], blockHashes = { low: [], high: [] }, headers = {}, ...plain }) {
  const bytes = typeof prompt === 'string' ? new TextEncoder().encode(prompt) : prompt;
  const asked = Object.entries({ ...ORDINARY, ...plain }).map(([name, value]) => [name, () => value]);
  return {
    ...Object.fromEntries(asked),
    promptBytes: () => bytes.length,
    prompt: (offset, bytesMax) => bytes.slice(offset, offset + bytesMax),
    tokens: () => Uint32Array.from(tokens),
    blockHashes: () => ({ low: Uint32Array.from(blockHashes.low), high: Uint32Array.from(blockHashes.high) }),
    header: (name) => headers[name],
    headerNames: () => Object.keys(headers),
    note: () => {},
  };
}
