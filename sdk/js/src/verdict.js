// The answers of the deciding hooks, as the contract spells them.

/** Where a request goes. */
export const Placement = Object.freeze({
  replica: (id) => ({ tag: 'replica', val: id }),
  region: (id) => ({ tag: 'region', val: id }),
  hold: Object.freeze({ tag: 'hold' }),
  pass: Object.freeze({ tag: 'pass' }),
  reject: (denial) => ({ tag: 'reject', val: whole(denial) }),
});

/** Whether a request may enter. */
export const Admission = Object.freeze({
  allow: Object.freeze({ tag: 'allow' }),
  pass: Object.freeze({ tag: 'pass' }),
  deny: (denial) => ({ tag: 'deny', val: whole(denial) }),
});

/** A denial with every field that the contract wants. */
function whole({ status, message, retryAfterMs }) {
  return { status, message, retryAfterMs };
}
