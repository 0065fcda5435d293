// Opens the dashboard of a live proxy in Chromium and checks that what it shows is true: `node e2e/dashboard.mjs --help`.

import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Admin, keepSending } from './proxy.mjs';
import { Page, check, equal, launch } from './page.mjs';
import * as policySteps from './policy-steps.mjs';
import * as decisionSteps from './decision-steps.mjs';
import * as steps from './steps.mjs';

const HELP = `Every option may be an environment variable instead (ADMIN_URL, DATA_URL, …).
  --admin-url URL      the proxy's admin port
  --data-url URL       its data port
  --policy-file FILE   a component that is not the active one, swapped in and rolled back
  --slot NAME          the slot to swap (default: the first of the chain)
  --admin-token TOKEN  what the admin port wants, if it wants one
  --chromium FILE      the browser (default /usr/bin/chromium)
  --out DIR            where the screenshots go (default web-ui/test-results)`;

const names = ['admin-url', 'data-url', 'policy-file', 'slot', 'admin-token', 'chromium', 'out'];
const { values } = parseArgs({ options: { ...Object.fromEntries(names.map((name) => [name, { type: 'string' }])), help: { type: 'boolean' } } });
if (values.help) {
  console.log(HELP);
  process.exit(0);
}
const option = (name) => values[name] ?? process.env[name.toUpperCase().replaceAll('-', '_')];
for (const needed of ['admin-url', 'data-url', 'policy-file']) {
  if (!option(needed)) {
    console.error(`--${needed} is missing\n${HELP}`);
    process.exit(2);
  }
}

const out = option('out') ?? join(dirname(fileURLToPath(import.meta.url)), '../test-results');
mkdirSync(out, { recursive: true });
const admin = new Admin(option('admin-url'), option('admin-token'));
const component = readFileSync(option('policy-file'));
const slot = option('slot') ?? (await admin.policies()).chain[0]?.slot;
check(slot !== undefined, 'the proxy has a slot to swap, or --slot names one');

const browser = await launch(option('chromium'));
let failed = null;
let traffic = null;
let page = null;
try {
  page = await Page.open(browser, { adminUrl: option('admin-url'), token: option('admin-token'), out });
  const given = { page, admin, slot, component, token: option('admin-token'), dataUrl: option('data-url'), adminUrl: option('admin-url') };
  const run = async (name, step) => {
    const begun = performance.now();
    const said = await step(given);
    console.log(`ok  ${name}${said ? `: ${said}` : ''} (${Math.round(performance.now() - begun)} ms)`);
  };
  await run('the page loads and is live', steps.load);
  await run('a proxy without traffic says so', steps.empty);
  traffic = keepSending(option('data-url'), await admin.model());
  await run('the fleet shown is the fleet', steps.fleet);
  await run('traffic moves', steps.traffic);
  await run('decisions are shown with their reasons', steps.decisions);
  await run('a decision opens in full', steps.detail);
  await run('decisions are filtered and held still', steps.filter);
  await run('decisions are narrowed by what they have in common', decisionSteps.facets);
  await run('older decisions are asked for', decisionSteps.older);
  await run('recording is switched on, or refused with the reason', decisionSteps.recording);
  await run('both themes are drawn', steps.themes);
  await run('everything is reached by keyboard', steps.keyboard);
  await run('garbage is refused with the reason', policySteps.refusal);
  await run('a policy is swapped by upload', policySteps.swap);
  await run('a component is downloaded', policySteps.download);
  await run('the swap is rolled back', policySteps.rollback);
  await run('an earlier version is activated', policySteps.activate);
  await run('a configuration is tried out and promoted', policySteps.configure);
  await run('a configuration that breaks its schema is not sent', policySteps.misconfigure);
  await run('a canary is dropped', policySteps.dropCanary);
  await run('the history tells all of it', policySteps.history);
  await run('a lost connection is told and healed', steps.outage);
  await run('a token is asked for', steps.signIn);
  await run('nothing jumped', steps.still);
  await run('it fits 380 pixels', steps.narrow);
  await traffic.stop();
  equal(traffic.failures, [], 'requests that failed while policies were swapped');
  check(traffic.sent > 0, 'requests were sent');
  page.checkQuiet();
  console.log(`ok  ${traffic.sent} requests, no failure, no console error, no external request`);
} catch (error) {
  failed = error;
  await page?.picture('failure').catch(() => {});
}
await traffic?.stop();
await browser.close();
if (failed) {
  console.error(failed);
  process.exit(1);
}
