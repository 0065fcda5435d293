// Finding decisions and recording them, step by step.

import { check, equal } from './page.mjs';
import { rowsOf } from './steps.mjs';

export async function facets({ page, admin }) {
  await page.tab.getByRole('button', { name: 'Pause' }).click();
  const some = (await admin.decisions()).find((decision) => decision.slot !== null && decision.outcome !== 'running');
  for (const facet of ['slot', 'policy', 'verdict', 'tenant', 'model']) {
    const menu = page.tab.locator(`select[data-facet="${facet}"]`);
    check((await menu.locator('option').allInnerTexts()).includes(some[facet]), `the menu offers the ${facet} ${some[facet]}`);
    await menu.selectOption(some[facet]);
    await page.until(`a row of ${facet} ${some[facet]}`, () => document.querySelector('[data-decision]') !== null);
    const ids = (await rowsOf(page)).map((row) => row.id);
    const wrong = (await Promise.all(ids.slice(0, 5).map((id) => admin.decision(id).catch(() => null)))).filter((decision) => decision !== null && decision[facet] !== some[facet]);
    equal(wrong, [], `decisions shown for ${facet} ${some[facet]} that have another`);
  }
  await page.picture('narrowed');
  await page.tab.getByRole('button', { name: 'Clear', exact: true }).click();
  equal(await page.tab.locator('select[data-facet]').evaluateAll((menus) => menus.map((menu) => menu.value)), ['', '', '', '', ''], 'the menus after they were cleared');
  await page.tab.getByRole('button', { name: /^Resume/ }).click();
}

export async function older({ page, admin }) {
  const kept = (await admin.decisions()).length;
  const button = page.tab.getByRole('button', { name: 'Show older' });
  if (!(await button.count())) return `skipped, ${kept} decisions are too few`;
  const before = (await rowsOf(page)).length;
  await button.click();
  await page.until('more rows, or the word that there are none', (before) => document.querySelectorAll('[data-decision]').length > before || document.body.innerText.includes('That is all the proxy keeps'), before);
  const ids = (await rowsOf(page)).map((row) => row.id);
  equal(ids.length, new Set(ids).size, 'rows shown twice');
  await page.tab.getByRole('button', { name: /^Resume/ }).click();
  return `${before} → ${ids.length} rows`;
}

export async function recording({ page, admin }) {
  const button = page.tab.getByRole('button', { name: 'Record', exact: true });
  await page.until('the state of the recording', () => document.querySelector('[data-recording="off"]') !== null);
  equal((await admin.recording()).on, false, 'recording before it is asked for');
  await button.click();
  const dialog = page.tab.getByRole('dialog');
  check((await dialog.innerText()).includes('prompts'), 'the question speaks of the prompts');
  page.expected.push('status of 409');
  await dialog.getByRole('button', { name: 'Start recording' }).click();
  await page.until('an answer', () => document.querySelector('[data-recording="on"]') !== null || document.querySelector('dialog .refusal')?.innerText);
  if (!(await admin.recording()).on) {
    const refusal = await dialog.locator('.refusal').innerText();
    await dialog.getByRole('button', { name: 'Cancel' }).click();
    await dialog.waitFor({ state: 'detached' });
    return `refused: ${refusal}`;
  }
  await dialog.waitFor({ state: 'detached' });
  await page.until('calls to be recorded', () => /[1-9]\d* calls/.test(document.querySelector('[data-recording="on"]').innerText));
  await page.picture('recording');
  await page.tab.locator('[data-recording]').getByRole('button', { name: 'Stop' }).click();
  await page.until('the recording to end', () => document.querySelector('[data-recording="off"]') !== null);
  const { on, calls, file } = await admin.recording();
  equal(on, false, 'recording after it was stopped');
  check(calls > 0, 'calls were recorded');
  return `${calls} calls in ${file}`;
}
