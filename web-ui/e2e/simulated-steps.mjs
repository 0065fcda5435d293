// What only the make-believe proxy does on demand: policies that fail, registries that answer, configurations that are refused.

import { check, equal } from './page.mjs';
import { asCanary, close, openConfig } from './policy-steps.mjs';
import { contrasts } from './steps.mjs';

const OPERATOR = 'carol';
const component = (name) => Buffer.from(`\0asm\x0d\0\x01\0${name}`);

export async function cards({ page, admin }) {
  for (const { slot, scope, versions, history } of (await admin.policies()).chain) {
    const card = await page.card(slot).innerText();
    for (const word of [...scope.models, ...scope.tenants, ...scope.endpoints]) check(card.includes(word), `${slot} tells that it is asked about ${word}`);
    const active = versions.find((version) => version.state === 'active');
    for (const word of [active.name, `#${active.number}`, active.by, active.signed_by ?? 'nobody', active.mode, history[0].by]) check(card.includes(word), `${slot} shows ${word}`);
  }
  const row = page.card('placement').locator('[data-version-state="quarantined"]');
  await row.locator('summary').first().click();
  const words = await row.innerText();
  for (const word of ['quarantined', 'ghcr.io/example/lmetric:0.3', 'release-2026', 'bob', 'integer divide by zero', 'cannot be activated']) check(words.includes(word), `the quarantined version tells ${word}`);
  equal(await row.getByRole('button', { name: /^Activate/ }).count(), 0, 'ways to activate what is quarantined');
  await row.locator('summary').first().click();
}

export async function form({ page }) {
  const sheet = await openConfig(page, 'limits');
  const field = (path) => sheet.locator(`[data-field="${path}"]`);
  const rate = field('default.requests_per_min').getByRole('textbox');
  for (const [typed, words] of [['many', 'Must be a whole number.'], ['0', 'Must be at least 1.'], ['1.5', 'Must be a whole number.'], ['1000000', 'Must be at most 100000.'], ['', 'Fill this in.']]) {
    await rate.fill(typed);
    await rate.blur();
    equal(await field('default.requests_per_min').locator('.problem').innerText(), words, `what is said of "${typed}"`);
    equal(await rate.getAttribute('aria-invalid'), 'true', 'the mark on the field');
  }
  await sheet.getByRole('button', { name: 'Apply' }).click();
  check(await rate.evaluate((element) => element === document.activeElement), 'the first field at fault has the focus');
  await page.picture('form-problems');
  await rate.fill('900');
  await field('exempt').getByRole('button', { name: 'Add' }).click();
  await page.tab.keyboard.type('internal');
  equal(await field('exempt[1]').locator('.problem').innerText(), 'Stands here twice.', 'what is said of a double row');
  await page.tab.keyboard.press('ControlOrMeta+A');
  await page.tab.keyboard.type('batch');
  await field('tenants').getByRole('button', { name: 'Add', exact: true }).click();
  await page.tab.keyboard.type('Not A Name');
  await field('tenants.Not A Name').getByText('As a name').waitFor();
  await page.tab.keyboard.press('ControlOrMeta+A');
  await page.tab.keyboard.type('hooli');
  await field('headers').getByRole('radio', { name: 'off', exact: true }).check({ force: true });
  await sheet.getByRole('button', { name: 'Remove globex' }).click();
  const changes = await sheet.locator('.changes').innerText();
  for (const word of ['default.requests_per_min', '600', '900', 'tenants.globex', 'not set']) check(changes.includes(word), `the changes name ${word}: ${changes}`);
  await page.picture('form');
}

export async function refusedField({ page, admin }) {
  const sheet = page.tab.getByRole('dialog');
  const atOnce = sheet.locator('[data-field="tenants.hooli.concurrent_max"]');
  page.expected.push('status of 422');
  await atOnce.getByRole('textbox').fill('5000');
  await sheet.getByLabel('Kept in the history as').fill(OPERATOR);
  await sheet.getByRole('button', { name: 'Apply' }).click();
  await atOnce.locator('.problem').getByText('lower it to 600').waitFor();
  check(await atOnce.getByRole('textbox').evaluate((element) => element === document.activeElement), 'the field that was refused has the focus');
  await page.picture('refused-field');
  await atOnce.getByRole('textbox').fill('64');
  equal(await atOnce.locator('.problem').innerText(), '', 'the refusal after the field was put right');
  await sheet.getByRole('button', { name: 'Apply' }).click();
  await sheet.waitFor({ state: 'detached' });
  const { config, history } = await admin.slot('limits');
  equal(config, { default: { requests_per_min: 900 }, tenants: { acme: { requests_per_min: 6000, tokens_per_min: 2_000_000, concurrent_max: 128 }, hooli: { requests_per_min: 600, concurrent_max: 64 } }, exempt: ['internal', 'batch'], headers: false }, 'the configuration that was applied');
  equal([history[0].what, history[0].by], ['configured', OPERATOR], 'the newest entry of the history');
  await page.card('limits').getByText('(#2) is active').waitFor();
}

export async function views({ page, admin, slot }) {
  const { config } = await admin.slot(slot);
  const sheet = await openConfig(page, slot);
  await sheet.getByRole('radio', { name: 'JSON' }).check({ force: true });
  const text = sheet.getByLabel('Configuration as JSON');
  equal(JSON.parse(await text.inputValue()), config, 'the text');
  await text.fill('{"mode": "aibrix", "balance": {"difference_max": 3}, "notes": [1, {"a": null}]}');
  await sheet.getByRole('radio', { name: 'Form' }).check({ force: true });
  check(await sheet.getByRole('radio', { name: /^AIBrix/ }).first().isChecked(), 'the form shows what was typed');
  equal(await sheet.locator('[data-field="balance.difference_max"]').getByRole('textbox').inputValue(), '3', 'a number that was typed');
  await sheet.getByRole('radio', { name: 'JSON' }).check({ force: true });
  equal(JSON.parse(await text.inputValue()), { mode: 'aibrix', balance: { difference_max: 3 }, notes: [1, { a: null }] }, 'the text again');
  await text.fill('{"mode":');
  await sheet.getByRole('radio', { name: 'Form' }).check({ force: true }).catch(() => {});
  check(await text.isVisible(), 'text that is no JSON stays as text');
  await close(page);
}

export async function overtaken({ page, adminUrl, slot }) {
  const sheet = await openConfig(page, slot);
  const response = await fetch(new URL(`/admin/v1/policies/${slot}/config`, adminUrl), { method: 'PUT', body: '{"mode":"blocks"}' });
  check(response.ok, 'another operator changes the configuration');
  await sheet.locator('.overtaken').waitFor();
  await sheet.getByRole('button', { name: /^Begin with/ }).click();
  check(await sheet.getByRole('radio', { name: /^Block hashes/ }).first().isChecked(), 'the form begins with the newer configuration');
  await close(page);
}

export async function sheets({ page, slot }) {
  for (const open of ['Configure', 'Replace']) {
    await page.card(slot).getByRole('button', { name: open }).click();
    await page.tab.getByRole('dialog').waitFor();
    for (const scheme of ['light', 'dark']) {
      await page.tab.emulateMedia({ colorScheme: scheme });
      equal(await page.tab.evaluate(contrasts), [], `${open}, ${scheme}: texts without enough contrast`);
    }
    const stops = [];
    for (let press = 0; press < 40; press += 1) {
      await page.tab.keyboard.press('Tab');
      const stop = await page.tab.evaluate(() => {
        const element = document.activeElement;
        const named = element.getAttribute('aria-label') ?? element.labels?.[0]?.innerText ?? element.innerText;
        const { outlineStyle } = getComputedStyle(element.closest('label:has(:focus-visible)') ?? element);
        const own = getComputedStyle(element).outlineStyle;
        return { named: (named ?? '').trim(), outlined: outlineStyle !== 'none' || own !== 'none', inside: element === document.body || element.closest('dialog') !== null };
      });
      stops.push(stop);
    }
    equal(stops.filter((stop) => !stop.inside), [], 'stops outside the sheet');
    equal(stops.filter((stop) => stop.inside && stop.named === ''), [], 'stops without a name');
    await page.tab.setViewportSize({ width: 380, height: 800 });
    await page.checkNoOverflow(`${open} at 380`);
    const wide = await page.tab.locator('dialog .body').evaluate((body) => body.scrollWidth - body.clientWidth);
    check(wide <= 0, `${open} fits 380 pixels, and not ${wide} more`);
    await page.picture(`narrow-${open.toLowerCase()}`);
    await page.tab.setViewportSize({ width: 1440, height: 1000 });
    await close(page);
    const back = await page.tab.evaluate(() => document.activeElement.innerText);
    equal(back, open, 'where the focus returns');
  }
}

export async function pull({ page, admin, slot }) {
  await page.card(slot).getByRole('button', { name: 'Replace' }).click();
  const sheet = page.tab.getByRole('dialog');
  await sheet.getByRole('radio', { name: 'From a registry' }).check({ force: true });
  const act = sheet.getByRole('button', { name: 'Load and activate' });
  for (const [reference, words] of [['policy', 'registry/repository:tag'], ['registry.example/nowhere/policy:1', 'no such manifest']]) {
    page.expected.push('status of 400');
    await sheet.getByLabel('Reference').fill(reference);
    await act.click();
    await sheet.locator('[data-reason]').getByText(words).waitFor();
  }
  await page.picture('pull-refused');
  await sheet.getByLabel('Reference').fill('registry.example/team/least-load:1.2');
  await act.click();
  await sheet.waitFor({ state: 'detached' });
  const active = await admin.active(slot);
  equal([active.name, active.source, active.source_detail], ['least-load', 'oci', 'registry.example/team/least-load:1.2'], 'what was pulled');
}

export async function budget({ page, admin, slot }) {
  await load(page, slot, 'faulty', async (sheet) => {
    await asCanary(sheet, '90');
    await sheet.getByRole('button', { name: 'Try out with 90 %' }).click();
  });
  const { version } = (await admin.slot(slot)).canary;
  await page.card(slot).locator('.canary').waitFor();
  await page.until('faults of the canary', () => document.querySelector('.canary .over') !== null);
  await page.picture('canary-faulty');
  await page.card(slot).locator('.canary').waitFor({ state: 'detached' });
  const after = await admin.slot(slot);
  equal([after.history[0].what, after.history[0].by, after.versions.find((one) => one.number === version).state], ['rolled_back', 'budget', 'rejected'], 'what became of it');
  await page.card(slot).locator('.history').getByText(/‰ is over 10 ‰/).waitFor();
  return after.history[0].why;
}

export async function quarantine({ page, admin, slot }) {
  await load(page, slot, 'faulty', (sheet) => sheet.getByRole('button', { name: 'Load and activate' }).click());
  const alarm = page.card(slot).locator('.quarantine');
  await alarm.waitFor();
  const now = await admin.slot(slot);
  const [entry] = now.history;
  equal(entry.what, 'quarantined', 'the newest entry of the history');
  const words = await alarm.innerText();
  for (const word of [`Version ${entry.from} is quarantined`, entry.why, 'least-load']) check(words.includes(word), `the alarm tells ${word}: ${words}`);
  equal(await page.card(slot).locator('.said').count(), 0, 'words that are true no more');
  await alarm.scrollIntoViewIfNeeded();
  await page.picture('quarantine');
  return entry.why;
}

export async function addSlot({ page, admin }) {
  await page.tab.getByRole('button', { name: 'Add a slot at the end' }).click();
  const sheet = page.tab.getByRole('dialog');
  await sheet.getByLabel('Name of the slot').fill('limits');
  await sheet.getByText('in the chain already').waitFor();
  await sheet.getByLabel('Name of the slot').fill('last');
  await sheet.locator('input[type=file]').setInputFiles({ name: 'round-robin.wasm', mimeType: 'application/wasm', buffer: component('round-robin') });
  await sheet.getByRole('button', { name: 'Load and activate' }).click();
  await sheet.waitFor({ state: 'detached' });
  await page.card('last').waitFor();
  equal((await admin.slot('last')).versions[0].name, 'round-robin', 'the policy of the new slot');
}

async function load(page, slot, name, go) {
  await page.card(slot).getByRole('button', { name: 'Replace' }).click();
  const sheet = page.tab.getByRole('dialog');
  await sheet.locator('input[type=file]').setInputFiles({ name: `${name}.wasm`, mimeType: 'application/wasm', buffer: component(name) });
  await go(sheet);
  await sheet.waitFor({ state: 'detached' });
}
