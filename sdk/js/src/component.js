// Makes a component's interfaces of a policy. What `headworks policy build` generates calls this; not for policies.

import * as host from '#host';
import { Refusal } from './define.js';
import { mirror } from './fleet.js';
import { replaceGlobals, wake } from './globals.js';
import { Request } from './request.js';

// Before the author's module runs, which is imported after this one.
if (host.isComponent) {
  replaceGlobals(globalThis);
}

/** The contract that this SDK speaks. */
const CONTRACT = 'headworks:policy@0.1.0';

/** One object per interface; the component exports `describe` and those of the policy's hooks. */
export function interfacesOf(policy) {
  if (!Array.isArray(policy?.hooks)) {
    throw new Error('the module must `export default definePolicy({ … })`');
  }
  const fleet = mirror();
  const { name, version, hooks, mode, configSchema } = policy;
  return {
    describe: { describe: () => ({ name, version, contract: CONTRACT, hooks, mode, configSchema }) },
    configure: { configure: spoken((json) => void policy.configure(parsed(json))) },
    admit: { admit: spoken((lent) => answer('admit', policy.admit(new Request(lent), fleet()))) },
    place: { place: spoken((lent) => answer('place', policy.place(new Request(lent), fleet()))) },
    observe: { observe: spoken((events) => void policy.observe(events.map(flat), fleet())) },
    snapshot: {
      snapshot: spoken(() => bytesOf(policy.snapshot())),
      restore: (bytes) => restored(policy, bytes),
    },
  };
}

/** An exception's message goes to the host's log, which shows it with the trap. A refusal is an answer. */
function spoken(hook) {
  return (...words) => {
    wake();
    try {
      return hook(...words);
    } catch (error) {
      if (!(error instanceof Refusal)) {
        host.log.log('error', lastWords(error));
      }
      throw error;
    }
  };
}

/** The exception, and the author's innermost line; where none is known, the innermost function that has a name. */
export function lastWords(error, lines = globalThis.headworksLines) {
  // A frame is `name@file:line:column`; a function without a name is called after the one around it, with `/<`.
  const frames = [...(error?.stack ?? '').matchAll(/^(.*?)(?:\/<)*@.*?:(\d+):\d+$/gm)];
  const own = frames.find(([, , line]) => lines?.[line] !== undefined);
  const [, name, line] = own ?? frames.find(([, name]) => name !== '') ?? [];
  const words = [lines?.[line], name ? `in ${name}` : undefined].filter((word) => word !== undefined);
  return words.length === 0 ? String(error) : `${error} (${words.join(' ')})`;
}

function parsed(json) {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new Refusal('', `it is not JSON: ${error.message}`);
  }
}

/** A hook that forgets to answer would trap without a word. */
function answer(hook, verdict) {
  if (typeof verdict?.tag !== 'string') {
    throw new TypeError(`${hook} must answer a ${hook === 'admit' ? 'Admission' : 'Placement'}, not ${String(verdict)}`);
  }
  return verdict;
}

/** An event with its subject's fields beside its own. */
function flat({ tag, val }) {
  if (typeof val === 'number') {
    return { kind: tag, replica: val };
  }
  const { subject, ...rest } = val;
  return { kind: tag, ...subject, ...rest };
}

function bytesOf(state) {
  return typeof state === 'string' ? new TextEncoder().encode(state) : state;
}

/** A state that the policy cannot take is a refusal in words, never a trap: the policy starts empty. */
function restored(policy, bytes) {
  try {
    policy.restore(bytes);
  } catch (error) {
    throw Object.assign(new Error('refused'), { payload: String(error?.message ?? error) });
  }
}
