// Opens the dashboard of the make-believe proxy and does what no real one would stand for: `node e2e/simulated.mjs`.

import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as decisionSteps from './decision-steps.mjs';
import { Page, launch } from './page.mjs';
import * as policySteps from './policy-steps.mjs';
import { Admin } from './proxy.mjs';
import * as simulatedSteps from './simulated-steps.mjs';
import * as steps from './steps.mjs';

const here = dirname(fileURLToPath(import.meta.url));
const out = process.env.OUT ?? join(here, '../test-results/simulated');
mkdirSync(out, { recursive: true });

const server = spawn(process.execPath, [join(here, '../dev/server.mjs'), '--port', '0'], { stdio: ['ignore', 'pipe', 'inherit'] });
const { admin_url: adminUrl, data_url: dataUrl } = JSON.parse(await new Promise((resolve, reject) => {
  server.stdout.once('data', (line) => resolve(line.toString()));
  server.once('exit', (code) => reject(new Error(`the make-believe proxy ended with ${code}`)));
}));
const browser = await launch(process.env.CHROMIUM);
let failed = null;
let page = null;
try {
  page = await Page.open(browser, { adminUrl, out });
  const given = { page, admin: new Admin(adminUrl), slot: 'placement', adminUrl, dataUrl };
  const run = async (name, step) => {
    const begun = performance.now();
    const said = await step(given);
    console.log(`ok  ${name}${said ? `: ${said}` : ''} (${Math.round(performance.now() - begun)} ms)`);
  };
  await run('the page loads and is live', steps.load);
  await run('slots tell whom they are asked about and what they remember', simulatedSteps.cards);
  await run('decisions are shown with their reasons', steps.decisions);
  await run('a decision opens in full', steps.detail);
  await run('decisions are narrowed by what they have in common', decisionSteps.facets);
  await run('older decisions are asked for', decisionSteps.older);
  await run('recording is switched on and off', decisionSteps.recording);
  await run('a form checks what is typed', simulatedSteps.form);
  await run('a refusal lands on its field', simulatedSteps.refusedField);
  await run('a form and its JSON say the same', simulatedSteps.views);
  await run('a form that was overtaken says so', simulatedSteps.overtaken);
  await run('sheets are read in both themes, by keyboard and at 380 pixels', simulatedSteps.sheets);
  await run('garbage is refused with the reason', policySteps.refusal);
  await run('a component is pulled by reference', simulatedSteps.pull);
  await run('a component is downloaded', policySteps.download);
  await run('a canary over its budget is rolled back by itself', simulatedSteps.budget);
  await run('a version that keeps failing is quarantined, loudly', simulatedSteps.quarantine);
  await run('a slot is added', simulatedSteps.addSlot);
  await run('nothing jumped', steps.still);
  await run('both themes are drawn', steps.themes);
  await run('everything is reached by keyboard', steps.keyboard);
  await run('it fits 380 pixels', steps.narrow);
  page.checkQuiet();
} catch (error) {
  failed = error;
  await page?.picture('failure').catch(() => {});
}
await browser.close();
server.kill();
if (failed) {
  console.error(failed);
  process.exit(1);
}
