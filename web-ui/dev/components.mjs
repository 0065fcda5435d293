// The components that the make-believe proxy knows by the names in their bytes, and how each behaves.

const limit = {
  type: 'object',
  required: ['requests_per_min'],
  additionalProperties: false,
  properties: {
    requests_per_min: { type: 'integer', minimum: 1, maximum: 100_000, default: 600, description: 'Requests let in each minute.' },
    tokens_per_min: { type: ['integer', 'null'], minimum: 1, default: null, description: 'Prompt and output tokens each minute; null for no limit.' },
    concurrent_max: { type: 'integer', minimum: 1, default: 32, description: 'Requests under way at once.' },
    burst: { type: 'number', minimum: 1, maximum: 10, default: 2, description: 'How many times the steady rate may come at once.' },
  },
};

export const SCHEMAS = {
  'least-load': {
    $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'least-load', type: 'object', additionalProperties: false,
    properties: { scan: { description: 'How many replicas are compared for one request: two drawn by chance, or all.', enum: ['two', 'all'], default: 'two' } },
  },
  'rate-limit': {
    $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'rate-limit', type: 'object', additionalProperties: false, required: ['default'], $defs: { limit },
    properties: {
      default: { $ref: '#/$defs/limit', title: 'Everyone', description: 'What a tenant may do that is not named below.' },
      tenants: { type: 'object', title: 'By tenant', description: 'Limits of their own for some tenants.', additionalProperties: { $ref: '#/$defs/limit' }, propertyNames: { pattern: '^[a-z0-9-]+$', maxLength: 40 }, maxProperties: 100 },
      exempt: { type: 'array', title: 'Never limited', description: 'Tenants that are let in whatever they ask.', items: { type: 'string', minLength: 1 }, uniqueItems: true, maxItems: 20 },
      headers: { type: 'boolean', default: true, description: 'Tell clients what is left, in x-ratelimit headers.' },
      message: { type: 'string', maxLength: 200, default: 'Slow down.', description: 'What a refused client reads.' },
    },
  },
  'prefix-tree': {
    $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'prefix-tree', type: 'object', additionalProperties: false,
    properties: {
      mode: {
        description: 'Whose rule weighs a cached prefix against a short queue.', default: 'sglang',
        oneOf: [{ const: 'sglang', title: 'SGLang', description: 'The longest match, unless the fleet is out of balance.' }, { const: 'aibrix', title: 'AIBrix', description: 'Among replicas whose load is within one deviation.' }, { const: 'blocks', title: 'Block hashes', description: 'Looks up whole blocks in the host’s index.' }],
      },
      match_share_min: { type: 'number', minimum: 0, maximum: 1, default: 0.5, description: 'The share of a prompt that must be cached before the cache decides.' },
      tree_nodes_max: { type: 'integer', minimum: 1024, maximum: 4_194_304, default: 65_536, description: 'Nodes kept before the oldest are evicted.' },
      balance: {
        type: 'object', title: 'Imbalance guard', description: 'When queues differ by more than both, the shortest wins.', additionalProperties: false,
        properties: { difference_max: { type: 'integer', minimum: 0, default: 8, description: 'Requests between the longest queue and the shortest.' }, ratio_max: { type: 'number', exclusiveMinimum: 1, default: 1.5, description: 'The longest queue over the shortest.' } },
      },
      weights: { type: 'object', title: 'Weights', description: 'A replica’s weight by its name; 1 where none is given.', additionalProperties: { type: 'number', exclusiveMinimum: 0, maximum: 100 } },
      notes: { description: 'Anything you want to keep with this configuration.' },
    },
  },
};

const KNOWN = {
  'round-robin': { hooks: ['place'], mode: 'pooled', callUs: 0.4 },
  'least-load': { hooks: ['place'], mode: 'pooled', callUs: 1.1 },
  'prefix-tree': { hooks: ['place', 'observe'], mode: 'single', callUs: 3.2 },
  'rate-limit': { hooks: ['admit', 'observe'], mode: 'pooled', callUs: 0.9 },
  lmetric: { hooks: ['place'], mode: 'pooled', callUs: 2.1 },
  /** Traps every third call. */
  faulty: { hooks: ['place'], mode: 'pooled', callUs: 1, faulty: true },
};

/** What a component is, by what its bytes or its reference say. */
export function componentOf(text) {
  const name = Object.keys(KNOWN).find((known) => text.includes(known)) ?? 'uploaded';
  return { name, schema: SCHEMAS[name] ?? null, ...(KNOWN[name] ?? { hooks: ['place'], mode: 'pooled', callUs: 1.5 }) };
}

/** What a policy says of a configuration beyond its schema; null when it takes it. */
export function complaint(name, config) {
  if (name !== 'rate-limit') return null;
  for (const [tenant, { requests_per_min: rate, concurrent_max: atOnce }] of Object.entries(config.tenants ?? {})) {
    if (atOnce > rate) return { param: `tenants.${tenant}.concurrent_max`, message: `at most ${rate} requests a minute are let in, so ${atOnce} are never under way at once: lower it to ${rate}` };
  }
  return null;
}
