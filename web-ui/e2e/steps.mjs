// What the dashboard must do, step by step; each step says in a few words what it saw.

import { check, equal } from './page.mjs';

/** More than this and rows jump under the operator's eyes. */
const SHIFT_MAX = 0.05;

export async function load({ page, admin, token }) {
  await page.tab.goto(page.adminUrl);
  if (token) await signInWith(page, token);
  await live(page);
  await page.until('the fleet', () => document.querySelector('[data-replica]') !== null);
  const { proxy } = await admin.fleet();
  check((await page.text('header .region')).includes(proxy.region), 'the header names the region');
  check((await page.text('header .version')).includes(proxy.version), 'the header names the version');
  for (const landmark of ['banner', 'main']) check((await page.tab.getByRole(landmark).count()) === 1, `the page has one ${landmark}`);
}

export async function empty({ page, admin }) {
  if ((await admin.decisions(1)).length > 0) return 'skipped, this proxy has decided before';
  await page.until('the words for no decision', () => document.body.innerText.includes('No decision yet'));
  await page.until('the words for no request', () => document.body.innerText.includes('No requests in this time'));
  check((await page.text('.decisions pre')).includes('/v1/chat/completions'), 'an example request is offered');
  await page.picture('empty', { fullPage: true });
  check((await page.layoutShift()) < SHIFT_MAX, `loading moved the page by less than ${SHIFT_MAX}: ${JSON.stringify(await page.tab.evaluate(() => window.shifts))}`);
  return undefined;
}

export async function fleet({ page, admin }) {
  const { regions } = await admin.fleet();
  const replicas = regions.flatMap((region) => region.replicas);
  equal((await page.tab.locator('[data-replica]').evaluateAll((rows) => rows.map((row) => row.dataset.replica))).toSorted(), replicas.map((one) => one.name).toSorted(), 'the replicas shown');
  equal((await page.tab.locator('[data-region]').evaluateAll((rows) => rows.map((row) => row.dataset.region))).toSorted(), regions.map((one) => one.name).toSorted(), 'the regions shown');
  for (const { name, health, draining } of replicas) {
    const shown = await page.tab.locator(`[data-replica="${name}"]`).getAttribute('data-condition');
    equal(shown, draining && health === 'healthy' ? 'draining' : health, `the condition of ${name}`);
  }
  // Numbers move while they are read, so a shown number must lie between one reading before it and one after.
  const before = await requestsByReplica(admin);
  const local = regions.find((region) => region.local).replicas.map((one) => one.name);
  const shown = await page.untilTrue('requests to reach the replicas shown', async () => {
    const numbers = await Promise.all(local.map(async (name) => numberOf(await page.text(`[data-replica="${name}"] [data-field="requests"]`))));
    return numbers.every((number, at) => number >= before.get(local[at])) && numbers.some((number) => number > 0) && numbers;
  });
  const after = await requestsByReplica(admin);
  for (const [at, name] of local.entries()) check(shown[at] <= after.get(name), `${name} is shown with ${shown[at]} requests, the proxy counts ${after.get(name)}`);
  return `${replicas.length} replicas in ${regions.length} regions`;
}

export async function traffic({ page, admin }) {
  const first = numberOf(await page.text('[data-totals]').then((text) => /([\d,]+) requests/.exec(text)[1]));
  await page.until('the number of requests to move', (first) => Number(/([\d,]+) requests/.exec(document.querySelector('[data-totals]').innerText)[1].replaceAll(',', '')) > first, first);
  await page.until('a rate above zero', () => Number(document.querySelector('section[aria-label="Requests"] .lead dd').innerText) > 0);
  for (const name of ['Time to first token', 'Whole request', 'Decision']) {
    await page.until(`a median for ${name}`, (name) => /\d/.test(document.querySelector(`section[aria-label="${name}"] .lead dd`)?.innerText ?? ''), name);
  }
  const points = await admin.traffic(300);
  const shown = await page.text('section[aria-label="Decision"] .lead');
  check(points.some((point) => point.decide_us.p50 !== null), 'the proxy measured its decisions');
  const drawn = await page.tab.locator('.charts canvas').evaluateAll((canvases) => canvases.map((canvas) => new Set(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data).size > 4));
  equal(drawn, Array(6).fill(true), 'charts with something drawn');
  return `decisions take ${shown.replaceAll(/\s+/g, ' ')}`;
}

export async function decisions({ page, admin, slot }) {
  const active = await admin.active(slot);
  await page.until('a row for a finished decision', () => document.querySelector('[data-decision] [data-outcome="finished"]') !== null);
  const rows = await rowsOf(page);
  check(rows.length > 0, 'decisions are listed');
  const known = new Map((await admin.decisions()).map((decision) => [decision.id, decision]));
  let compared = 0;
  for (const row of rows) {
    const truth = known.get(row.id);
    if (!truth) continue;
    compared += 1;
    check(row.policy.startsWith(truth.policy) && row.policy.includes(truth.policy_version), `decision ${row.id} was made by ${truth.policy} ${truth.policy_version}, shown is ${row.policy}`);
    check(row.verdict.includes(truth.verdict) && row.verdict.includes(truth.target ?? ''), `decision ${row.id} is ${truth.verdict} ${truth.target}, shown is ${row.verdict}`);
    check(row.reason.includes(truth.reason ?? '–'), `decision ${row.id} was made because "${truth.reason}", shown is "${row.reason}"`);
  }
  check(compared > 0, 'shown decisions are known to the proxy');
  check(rows.some((row) => row.policy.startsWith(active.name)), `decisions by ${active.name} are shown`);
  return `${compared} rows are true, as in "${rows[0].verdict} because ${rows[0].reason}"`;
}

export async function detail({ page, admin, adminUrl }) {
  const button = page.tab.locator('[data-decision]:has([data-outcome="finished"]) .time button').first();
  // The list moves under traffic: hold it still to open the row that was looked at.
  await page.tab.getByRole('button', { name: 'Pause' }).click();
  const id = await button.evaluate((element) => element.closest('[data-decision]').dataset.decision);
  await button.focus();
  await page.tab.keyboard.press('Enter');
  const dialog = page.tab.getByRole('dialog');
  await dialog.waitFor();
  const truth = (await admin.decisions()).find((decision) => decision.id === id);
  const shown = await dialog.innerText();
  for (const field of [truth.endpoint, truth.model, truth.policy, truth.digest, truth.reason, truth.trace_id, String(truth.output_tokens)]) {
    check(field === null || shown.includes(field), `the detail shows ${field}`);
  }
  const calls = await dialog.locator('[data-call]').evaluateAll((rows) => rows.map((row) => ({ hook: row.dataset.call, words: row.innerText.replaceAll(/\s+/g, ' ') })));
  equal(calls.map((call) => call.hook), truth.calls.map((call) => call.hook), 'the calls shown');
  for (const [at, { policy, slot, verdict }] of truth.calls.entries()) for (const word of [policy, slot, verdict]) check(calls[at].words.includes(word), `call ${at} names ${word}: ${calls[at].words}`);
  for (const field of [truth.facts_digest, String(truth.fleet_version), `headworks policy explain ${id} --admin ${new URL(adminUrl).origin}`]) check(shown.includes(field), `the detail shows ${field}`);
  await page.picture('detail');
  await page.tab.keyboard.press('Escape');
  await dialog.waitFor({ state: 'detached' });
  equal(await page.tab.evaluate(() => document.activeElement.closest('[data-decision]')?.dataset.decision), id, 'focus returns to the row');
  await page.tab.getByRole('button', { name: /^Resume/ }).click();
}

export async function filter({ page }) {
  await page.tab.getByRole('button', { name: 'Pause' }).click();
  const held = (await rowsOf(page)).map((row) => row.id);
  await page.until('new decisions to be counted', () => /\d+ new/.test(document.querySelector('.pause').innerText));
  equal((await rowsOf(page)).map((row) => row.id), held, 'the rows while held still');
  const search = page.tab.getByRole('searchbox', { name: 'Filter decisions' });
  await search.fill('nothing has this word');
  await page.until('no row', () => document.querySelectorAll('[data-decision]').length === 0);
  await page.tab.getByRole('button', { name: 'Clear the filter' }).click();
  equal(await search.inputValue(), '', 'the words after the filter was cleared');
  equal((await rowsOf(page)).map((row) => row.id), held, 'the rows after the filter was cleared');
  const wanted = (await rowsOf(page)).find((row) => row.verdict.includes('→'));
  const target = wanted.verdict.split('→')[1].trim();
  await search.fill(target);
  check((await rowsOf(page)).every((row) => `${row.verdict} ${row.reason}`.includes(target)), `every row left speaks of ${target}`);
  await search.fill('');
  await page.tab.getByRole('button', { name: /^Resume/ }).click();
  await page.until('newer rows', (held) => document.querySelector('[data-decision]').dataset.decision !== held, held[0]);
}

export async function themes({ page }) {
  const ground = () => page.tab.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const seen = {};
  for (const theme of ['Light', 'Dark']) {
    await page.tab.getByRole('radio', { name: theme }).check({ force: true });
    seen[theme] = await ground();
    const low = await page.tab.evaluate(contrasts);
    equal(low, [], `${theme}: texts without enough contrast`);
    await page.picture(theme.toLowerCase(), { fullPage: true });
  }
  check(seen.Light !== seen.Dark, 'the themes differ');
  await page.tab.reload();
  if (page.token) await live(page);
  equal(await ground(), seen.Dark, 'the ground after a reload');
  await page.tab.getByRole('radio', { name: 'System' }).check({ force: true });
  await page.tab.emulateMedia({ colorScheme: 'light' });
  equal(await ground(), seen.Light, 'the ground when the system is light');
  await page.tab.emulateMedia({ colorScheme: 'dark' });
  await live(page);
}

export async function keyboard({ page }) {
  await page.tab.reload();
  await live(page);
  await page.until('a row', () => document.querySelector('[data-decision]') !== null);
  const seen = [];
  for (let press = 0; press < 140; press += 1) {
    await page.tab.keyboard.press('Tab');
    const stop = await page.tab.evaluate(() => {
      const element = document.activeElement;
      if (element === document.body) return null;
      const by = document.getElementById(element.getAttribute('aria-labelledby'));
      const named = by?.innerText ?? element.getAttribute('aria-label') ?? element.labels?.[0]?.innerText ?? element.innerText;
      const shown = element.closest('label') ?? element;
      const { outlineStyle, outlineWidth } = getComputedStyle(shown);
      return { tag: element.tagName, name: (named ?? '').trim(), outlined: outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1.5 };
    });
    if (stop === null) break;
    seen.push(stop);
  }
  equal(seen.filter((stop) => stop.name === ''), [], 'stops without a name');
  equal(seen.filter((stop) => !stop.outlined), [], 'stops without visible focus');
  for (const wanted of ['Skip to the fleet', 'System', 'Replace', 'Add a slot at the end', 'Filter decisions', 'Outcome']) {
    check(seen.some((stop) => stop.name.includes(wanted)), `the Tab key reaches "${wanted}": ${seen.map((stop) => stop.name).join(' | ').slice(0, 900)}`);
  }
  check(seen.filter((stop) => stop.name.includes('open this decision')).length === 1, `the Tab key reaches the decisions, once: ${seen.map((stop) => stop.name).join(' | ')}`);
  await page.tab.getByRole('button', { name: 'Pause' }).click();
  await page.tab.locator('[data-decision] .time button').first().focus();
  await page.tab.keyboard.press('ArrowDown');
  check(await page.tab.evaluate(() => document.activeElement === document.querySelectorAll('[data-decision] .time button')[1]), 'the arrow keys move between decisions');
  await page.tab.getByRole('button', { name: /^Resume/ }).click();
  return `${seen.length} stops`;
}

export async function outage({ page }) {
  page.expected.push('ERR_FAILED', 'ERR_CONNECTION', 'ERR_NETWORK', 'ERR_INTERNET_DISCONNECTED', 'history could not be read');
  // Refuses new streams, and drops the open one by loading the page's data anew.
  let refused = 0;
  await page.tab.route('**/admin/v1/events', (route) => {
    refused += 1;
    return route.abort();
  });
  await page.tab.evaluate(() => window.dispatchEvent(new Event('online')));
  await page.tab.locator('[data-state="waiting"]').waitFor();
  await page.tab.getByRole('button', { name: 'Try now' }).waitFor();
  check((await page.tab.locator('[data-replica]').count()) > 0, 'the last known fleet stays on the page');
  await page.picture('error');
  const before = refused;
  await page.tab.getByRole('button', { name: 'Try now' }).click();
  await page.untilTrue('another try', () => refused > before);
  check(await page.tab.getByRole('button', { name: 'Try now' }).isVisible(), 'the notice stays while it tries');
  // From here on nobody clicks: the page heals by itself.
  await page.tab.unroute('**/admin/v1/events');
  await live(page);
  await page.tab.locator('.notice').waitFor({ state: 'detached' });
}

export async function signIn({ page, token }) {
  const wanted = 'a token for this test';
  page.expected.push('status of 401');
  // A guard before the real proxy: it knows one token, whatever the proxy itself wants.
  await page.tab.route('**/admin/v1/**', async (route) => {
    const headers = { ...route.request().headers() };
    if (headers.authorization !== `Bearer ${wanted}`) {
      return route.fulfill({ status: 401, contentType: 'application/json', body: JSON.stringify({ error: { message: 'this token is not the admin token', type: 'authentication_error', param: null, code: null } }) });
    }
    delete headers.authorization;
    if (token) headers.authorization = `Bearer ${token}`;
    return route.continue({ headers });
  });
  await page.tab.evaluate(() => sessionStorage.clear());
  await page.tab.reload();
  await page.tab.getByLabel('Admin token').waitFor();
  await page.picture('sign-in');
  await signInWith(page, 'a wrong one');
  await page.until('the refusal', () => document.getElementById('refusal')?.innerText === 'this token is not the admin token');
  await signInWith(page, wanted);
  await live(page);
  await page.until('the fleet', () => document.querySelector('[data-replica]') !== null);
  equal(await page.tab.evaluate(() => localStorage.getItem('headworks.token')), null, 'the token in lasting storage');
  await page.tab.getByRole('button', { name: 'Sign out' }).click();
  await page.tab.getByLabel('Admin token').waitFor();
  await page.tab.unrouteAll({ behavior: 'ignoreErrors' });
  await page.tab.reload();
  if (token) await signInWith(page, token);
  await live(page);
}

export async function still({ page }) {
  const shift = await page.layoutShiftElsewhere();
  check(shift < SHIFT_MAX, `the page moved by less than ${SHIFT_MAX}: ${JSON.stringify(await page.tab.evaluate(() => window.shifts))}`);
  return `layout shift ${shift.toFixed(4)}`;
}

export async function narrow({ page }) {
  for (const width of [1920, 1320, 1250, 1100, 850, 768, 380]) {
    await page.tab.setViewportSize({ width, height: 900 });
    await page.until('the fleet', () => document.querySelector('[data-replica]') !== null);
    await page.checkNoOverflow(`the page at ${width}`);
    const clipped = await page.tab.locator('.card').evaluateAll((cards) => cards.filter((card) => card.scrollWidth > card.clientWidth).map((card) => `${card.className} ${card.scrollWidth}/${card.clientWidth}`));
    equal(clipped, [], `cards with clipped content at ${width}`);
    await page.picture(width === 380 ? 'narrow' : `width-${width}`, { fullPage: true });
  }
  await page.tab.locator('[data-decision] .time button').first().click();
  await page.tab.getByRole('dialog').waitFor();
  await page.checkNoOverflow('the detail');
  await page.picture('narrow-detail');
  await page.tab.keyboard.press('Escape');
}

export async function live(page) {
  await page.until('the connection to be live', () => document.getElementById('connection')?.textContent === 'Live');
}

async function signInWith(page, token) {
  await page.tab.getByLabel('Admin token').fill(token);
  await page.tab.getByRole('button', { name: 'Sign in' }).click();
}

function numberOf(text) {
  return Number(text.replaceAll(',', ''));
}

async function requestsByReplica(admin) {
  return new Map((await admin.fleet()).regions.flatMap((region) => region.replicas).map((one) => [one.name, one.requests_total]));
}

export function rowsOf(page) {
  return page.tab.locator('[data-decision]').evaluateAll((rows) => rows.map((row) => {
    const cell = (name) => row.querySelector(`.${name}`).textContent.replaceAll(/\s+/g, ' ').trim();
    return { id: row.dataset.decision, policy: cell('policy'), verdict: cell('verdict'), reason: cell('reason') };
  }));
}

/** Runs in the page: every visible text whose colour stands out less than 4.5 to 1 from what lies behind it. */
export function contrasts() {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 1;
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = context.getImageData(0, 0, 1, 1).data;
    return { rgb: [red, green, blue], alpha: alpha / 255 };
  };
  const luminance = (rgb) => rgb.map((part) => part / 255).map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)).reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const { rgb, alpha } = rgba(getComputedStyle(at).backgroundColor);
      if (alpha > 0.99) return rgb;
    }
    return [255, 255, 255];
  };
  const low = new Map();
  for (const element of document.querySelectorAll('body *')) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== '')) continue;
    if (!element.checkVisibility() || element.closest('.visually-hidden, :disabled, svg, noscript, script')) continue;
    const [front, back] = [rgba(getComputedStyle(element).color).rgb, behind(element)].map(luminance);
    const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
    if (ratio < 4.5) low.set(element.className || element.tagName, `${ratio.toFixed(2)} "${element.textContent.trim().slice(0, 20)}"`);
  }
  return [...low].map(([of, ratio]) => `${of}: ${ratio}`);
}
