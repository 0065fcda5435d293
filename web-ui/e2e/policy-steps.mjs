// What an operator does to a slot, step by step, and that the proxy then says the same as the page.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { check, equal } from './page.mjs';

const COMPONENT = { name: 'next.wasm', mimeType: 'application/wasm' };
const OPERATOR = 'e2e operator';
/** Small enough that no budget is judged while a step looks at the canary. */
const PERCENT = '10';

export async function refusal({ page, admin, slot }) {
  const garbage = Buffer.from('this is not a component');
  const { status, body } = await admin.put(slot, garbage);
  check(status >= 400 && status < 500, `the proxy refuses garbage with 4xx, not ${status}`);
  const before = await admin.active(slot);
  page.expected.push(`status of ${status}`);
  await drop(page, slot, { name: 'garbage.wasm', text: garbage.toString() });
  const sheet = page.tab.getByRole('dialog');
  await sheet.getByText('garbage.wasm').waitFor();
  await sheet.getByRole('button', { name: 'Load and activate' }).click();
  await sheet.locator('[data-reason]').waitFor();
  equal(await sheet.locator('[data-reason]').innerText(), body.error.message, 'the reason shown');
  check((await sheet.innerText()).includes(`${before.name} ${before.version} stays active`), 'the sheet says what stays');
  equal((await admin.active(slot)).digest, before.digest, 'the active version after a refusal');
  await page.picture('refused');
  await close(page);
  return body.error.message;
}

export async function swap({ page, admin, slot, component }) {
  const before = await admin.active(slot);
  await page.card(slot).getByRole('button', { name: 'Replace' }).click();
  const sheet = page.tab.getByRole('dialog');
  await sheet.locator('input[type=file]').setInputFiles({ ...COMPONENT, buffer: component });
  await sheet.getByLabel('Kept in the history as').fill(OPERATOR);
  await page.picture('load');
  await sheet.getByRole('button', { name: 'Load and activate' }).click();
  await sheet.waitFor({ state: 'detached' });
  const after = await admin.active(slot);
  check(after.number > before.number && after.digest !== before.digest, 'another component is active');
  equal([after.by, after.source], [OPERATOR, 'admin'], 'who brought it, and how');
  const active = page.card(slot).locator(`.active[data-version="${after.number}"]`);
  await active.waitFor();
  const shown = await active.innerText();
  for (const part of [after.name, after.version, after.digest.replace('sha256:', '').slice(0, 12), OPERATOR]) check(shown.includes(part), `the slot shows ${part}: ${shown}`);
  check((await page.card(slot).locator('.earlier').innerText()).includes(before.name), 'the version before stands below');
  await page.until(`a decision by ${after.name}`, (name) => [...document.querySelectorAll('[data-decision] .policy')].some((cell) => cell.innerText.startsWith(name)), after.name);
  await page.until(`${after.name} to count decisions`, (number) => Number(document.querySelector(`.active[data-version="${number}"] [data-field="decisions"]`).innerText.replaceAll(',', '')) > 0, String(after.number));
  await page.picture('swapped', { fullPage: true });
  return `${before.name} → ${after.name} ${after.version}`;
}

export async function download({ page, admin, slot, component }) {
  const { number, name, version, digest } = await admin.active(slot);
  const [file] = await Promise.all([page.tab.waitForEvent('download'), page.card(slot).getByRole('button', { name: `Download version ${number} of ${slot}` }).click()]);
  equal(file.suggestedFilename(), `${name}-${version}.wasm`, 'the name of the file');
  const bytes = readFileSync(await file.path());
  equal(`sha256:${createHash('sha256').update(bytes).digest('hex')}`, digest, 'the digest of the file');
  check(component === undefined || bytes.equals(component), 'the file is what was uploaded');
  return `${bytes.length} bytes`;
}

export async function rollback({ page, admin, slot }) {
  const before = await admin.active(slot);
  await page.card(slot).getByRole('button', { name: 'Roll back' }).click();
  const dialog = page.tab.getByRole('dialog');
  await dialog.waitFor();
  check((await dialog.innerText()).includes(before.name), 'the question names what is active');
  equal(await page.tab.evaluate(() => document.activeElement.innerText), 'Cancel', 'what the question begins with');
  await page.picture('rollback');
  await dialog.getByRole('button', { name: 'Cancel' }).click();
  await dialog.waitFor({ state: 'detached' });
  equal((await admin.active(slot)).digest, before.digest, 'the active version after Cancel');
  await page.card(slot).getByRole('button', { name: 'Roll back' }).click();
  await confirm(page, 'Roll back');
  const now = await admin.slot(slot);
  const after = now.versions.find((version) => version.state === 'active');
  check(after.number !== before.number, 'another version is active');
  equal(now.versions.find((version) => version.number === before.number).state, 'rejected', 'the state of what was rolled back from');
  await shows(page, slot, after);
  return `${before.name} → ${after.name}`;
}

export async function activate({ page, admin, slot }) {
  const target = (await admin.slot(slot)).versions.find((version) => version.state === 'rejected');
  const row = page.card(slot).locator(`.earlier [data-version="${target.number}"]`);
  await row.locator('summary').first().click();
  for (const part of ['rolled back', target.by]) check((await row.innerText()).includes(part), `the version tells ${part}`);
  await row.getByRole('button', { name: `Activate version ${target.number}` }).click();
  await confirm(page, 'Activate');
  const now = await admin.active(slot);
  equal(now.number, target.number, 'the active version');
  await shows(page, slot, now);
}

export async function configure({ page, admin, slot }) {
  const before = await admin.slot(slot);
  const sheet = await openConfig(page, slot);
  await sheet.getByRole('radio', { name: 'all', exact: true }).check({ force: true });
  await sheet.locator('.changes').getByText('"all"').waitFor();
  await asCanary(sheet, PERCENT);
  await page.picture('configure');
  await sheet.getByRole('button', { name: `Try out with ${PERCENT} %` }).click();
  await sheet.waitFor({ state: 'detached' });
  const during = await admin.slot(slot);
  equal(during.canary?.percent, Number(PERCENT), 'the share of the canary');
  equal(during.config, before.config, 'the configuration of everyone else');
  const tried = during.versions.find((version) => version.number === during.canary.version);
  equal([tried.state, tried.config], ['canary', { ...before.config, scan: 'all' }], 'what is tried out');
  const panel = page.card(slot).locator('.canary');
  await panel.waitFor();
  await page.until('the canary to meet requests', () => Number(document.querySelector('.canary [data-field="requests"]')?.innerText) > 0);
  await page.until('a decision that the canary made', () => document.querySelector('[data-decision] .tried') !== null);
  await panel.scrollIntoViewIfNeeded();
  await page.picture('canary');
  await panel.getByRole('button', { name: 'Promote' }).click();
  await confirm(page, 'Promote');
  const after = await admin.slot(slot);
  equal([after.canary, after.config.scan], [null, 'all'], 'what everyone gets');
  await panel.waitFor({ state: 'detached' });
  await page.until('the setting on the card', (slot) => /scan\s*all/.test(document.querySelector(`[data-slot="${slot}"] .settings`)?.innerText ?? ''), slot);
  return `version ${tried.number} was promoted`;
}

export async function misconfigure({ page, admin, slot }) {
  const before = await admin.slot(slot);
  const sheet = await openConfig(page, slot);
  await sheet.getByRole('radio', { name: 'JSON' }).check({ force: true });
  const text = sheet.getByLabel('Configuration as JSON');
  for (const [typed, words] of [['{"scan":', 'Not JSON'], ['[]', 'an object'], ['{"scan":"some"}', 'scan: Must be one of "two", "all"'], ['{"skan":"all"}', 'The schema has no "skan"']]) {
    await text.fill(typed);
    await sheet.locator('.problems').getByText(words).waitFor();
    await sheet.getByRole('button', { name: 'Apply' }).click();
    check(await sheet.isVisible(), 'the sheet stays open');
  }
  await page.picture('misconfigured');
  await close(page);
  equal((await admin.slot(slot)).versions.length, before.versions.length, 'the versions after what was not sent');
}

export async function dropCanary({ page, admin, slot }) {
  const before = await admin.active(slot);
  const sheet = await openConfig(page, slot);
  await sheet.getByRole('radio', { name: 'two', exact: true }).check({ force: true });
  await asCanary(sheet, PERCENT);
  await sheet.getByRole('button', { name: `Try out with ${PERCENT} %` }).click();
  await sheet.waitFor({ state: 'detached' });
  const { version } = (await admin.slot(slot)).canary;
  await page.card(slot).locator('.canary').getByRole('button', { name: 'Drop' }).click();
  await confirm(page, 'Drop the canary');
  const after = await admin.slot(slot);
  equal([after.canary, after.versions.find((one) => one.number === version).state], [null, 'rejected'], 'what is left of the canary');
  equal((await admin.active(slot)).number, before.number, 'the active version');
  await page.card(slot).locator('.canary').waitFor({ state: 'detached' });
}

export async function history({ page, admin, slot }) {
  const unfold = page.card(slot).locator('.history').getByRole('button', { name: /^Show \d/ });
  if (await unfold.count()) await unfold.click();
  const truth = (await admin.slot(slot)).history;
  const shown = await page.card(slot).locator('.history li').evaluateAll((entries) => entries.map((entry) => ({ what: entry.dataset.what, words: entry.innerText })));
  equal(shown.map((entry) => entry.what), truth.map((entry) => entry.what), 'the history shown');
  for (const [at, { by, why }] of truth.entries()) for (const word of [by, why]) check(word === null || shown[at].words.includes(word), `entry ${at} tells ${word}`);
  check(truth.some((entry) => entry.by === OPERATOR), 'the history names the operator');
  await page.card(slot).locator('.history').scrollIntoViewIfNeeded();
  await page.picture('history');
  await page.card(slot).locator('.history').getByRole('button', { name: 'Show fewer' }).click();
  return truth.map((entry) => entry.what).join(', ');
}

export async function openConfig(page, slot) {
  await page.card(slot).getByRole('button', { name: 'Configure' }).click();
  const sheet = page.tab.getByRole('dialog');
  await sheet.waitFor();
  return sheet;
}

export async function asCanary(sheet, percent) {
  await sheet.getByRole('radio', { name: /^A canary first/ }).check();
  await sheet.getByLabel('Percent of requests').fill(percent);
  await sheet.getByLabel('Percent of requests').blur();
}

export async function confirm(page, act) {
  const dialog = page.tab.getByRole('dialog');
  await dialog.getByRole('button', { name: act }).click();
  await dialog.waitFor({ state: 'detached' });
}

export async function close(page) {
  await page.tab.keyboard.press('Escape');
  await page.tab.getByRole('dialog').waitFor({ state: 'detached' });
}

function shows(page, slot, { digest, number }) {
  return page.until('the page to show the active version', ({ slot, digest, number }) => document.querySelector(`[data-slot="${slot}"] .active[data-version="${number}"] code`)?.title === digest, { slot, digest, number });
}

/** Drags a file over the slot and lets it go there. */
async function drop(page, slot, file) {
  const carried = await page.tab.evaluateHandle(({ name, text }) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], name, { type: 'application/wasm' }));
    return transfer;
  }, file);
  await page.card(slot).dispatchEvent('dragenter', { dataTransfer: carried });
  check((await page.card(slot).innerText()).includes('Drop to replace'), 'the slot says that it takes the file');
  await page.card(slot).dispatchEvent('drop', { dataTransfer: carried });
}
