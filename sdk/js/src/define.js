// Takes an author's policy, and refuses what could only fail later.

/** The hooks, in the contract's order. `snapshot` comes with `restore`. */
export const HOOKS = ['configure', 'admit', 'place', 'observe', 'snapshot'];

/** Of these a policy has at least one. */
const ASKED = ['admit', 'place', 'observe'];
const MODES = ['pooled', 'single'];
const WORD = /^[A-Za-z0-9._+-]{1,64}$/;
const KEYS = ['name', 'version', 'mode', 'configSchema', ...HOOKS, 'restore'];

/** Checks a policy and names its hooks: those that it has a function for. */
export function definePolicy(policy) {
  const unknown = Object.keys(policy).find((key) => !KEYS.includes(key));
  if (unknown !== undefined) {
    throw new Error(`definePolicy knows no \`${unknown}\`; there are ${KEYS.join(', ')}`);
  }
  for (const key of ['name', 'version']) {
    if (typeof policy[key] !== 'string' || !WORD.test(policy[key])) {
      throw new Error(`definePolicy: \`${key}\` must be 1 to 64 letters, digits, \`-\`, \`_\`, \`.\` or \`+\``);
    }
  }
  const { mode = 'pooled' } = policy;
  if (!MODES.includes(mode)) {
    throw new Error(`definePolicy: \`mode\` must be one of ${MODES.join(', ')}, not ${JSON.stringify(mode)}`);
  }
  const hooks = HOOKS.filter((hook) => policy[hook] !== undefined);
  const odd = [...hooks, 'restore'].find((hook) => policy[hook] !== undefined && typeof policy[hook] !== 'function');
  if (odd !== undefined) {
    throw new Error(`definePolicy: \`${odd}\` must be a function`);
  }
  if (!hooks.some((hook) => ASKED.includes(hook))) {
    throw new Error(`definePolicy: a policy has at least one of ${ASKED.join(', ')}`);
  }
  if (policy.configSchema !== undefined && policy.configure === undefined) {
    throw new Error('definePolicy: `configSchema` says what `configure` is given; add that function, or remove the schema');
  }
  if ((policy.snapshot === undefined) !== (policy.restore === undefined)) {
    throw new Error('definePolicy: `snapshot` and `restore` go together');
  }
  return Object.freeze({ ...policy, mode, hooks: Object.freeze(hooks), configSchema: schemaOf(policy.configSchema) });
}

/** A configuration that the policy does not take. Throw it in `configure`. */
export class Refusal extends Error {
  /** The field at fault, as a path such as `tenants.acme.limit`, and what to change. */
  constructor(field, message) {
    super(field === '' ? message : `${field}: ${message}`);
    this.name = 'Refusal';
    this.payload = { field, message };
  }
}

function schemaOf(schema) {
  if (schema === undefined) {
    return '';
  }
  return typeof schema === 'string' ? schema : JSON.stringify(schema);
}
