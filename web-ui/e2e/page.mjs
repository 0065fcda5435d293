// One browser page with its eyes open: what it logged, what it asked for, how its layout moved; and how a test waits.

import { isDeepStrictEqual } from 'node:util';
import { chromium } from 'playwright-core';

/** Longest wait for a condition; far beyond what is needed, so that only a hang meets it. */
const PATIENCE_MS = 30_000;

export function check(holds, fact) {
  if (!holds) throw new Error(`not so: ${fact}`);
}

export function equal(is, should, what) {
  if (!isDeepStrictEqual(is, should)) throw new Error(`${what}: ${JSON.stringify(is)} instead of ${JSON.stringify(should)}`);
}

export function launch(executablePath = '/usr/bin/chromium') {
  return chromium.launch({ executablePath, headless: true, args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--disable-background-networking', '--no-first-run'] });
}

export class Page {
  /** Console errors that a step provokes on purpose, by what they contain. */
  expected = [];
  errors = [];
  external = [];

  static async open(browser, { adminUrl, token, out }) {
    const page = new Page();
    page.adminUrl = adminUrl;
    page.token = token;
    page.out = out;
    const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, colorScheme: 'dark' });
    page.tab = await context.newPage();
    page.tab.setDefaultTimeout(PATIENCE_MS);
    page.tab.on('pageerror', (error) => page.errors.push(String(error)));
    page.tab.on('console', (message) => {
      if (message.type() === 'error' || message.type() === 'warning') page.errors.push(message.text());
    });
    const home = new URL(adminUrl).origin;
    page.tab.on('request', (request) => {
      if (new URL(request.url()).origin !== home) page.external.push(request.url());
    });
    await page.tab.addInitScript(() => {
      window.shifts = [];
      new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
          const moved = entry.sources.map(({ node }) => node?.parentElement).filter(Boolean);
          // New decisions push the older ones down their list: that is what a list is for.
          const isRow = (element) => element.closest('[data-decision], .decisions tbody') !== null;
          const inSlot = (element) => element.closest('.policies') !== null;
          if (entry.hadRecentInput || moved.every(isRow)) continue;
          window.shifts.push({ value: entry.value, bySlots: moved.every((element) => isRow(element) || inSlot(element)), at: Math.round(entry.startTime), under: moved.map((element) => element.className || element.nodeName) });
        }
      }).observe({ type: 'layout-shift', buffered: true });
    });
    return page;
  }

  async picture(name, options = {}) {
    if (options.fullPage) await this.tab.evaluate(() => window.scrollTo(0, 0));
    return this.tab.screenshot({ path: `${this.out}/${name}.png`, animations: 'disabled', ...options });
  }

  /** Waits until `holds`, a function in the page, gives something true. */
  until(what, holds, argument) {
    return this.tab.waitForFunction(holds, argument, { timeout: PATIENCE_MS }).catch(() => {
      throw new Error(`waited ${PATIENCE_MS} ms for ${what}`);
    });
  }

  /** Waits until `holds`, a function out here, gives something true, asking again after every change of the page. */
  async untilTrue(what, holds) {
    const end = performance.now() + PATIENCE_MS;
    while (performance.now() < end) {
      const found = await holds();
      if (found) return found;
      await this.changed();
    }
    throw new Error(`waited ${PATIENCE_MS} ms for ${what}`);
  }

  /** The next change of the page, or its next half second. */
  changed() {
    return this.tab.evaluate(() => new Promise((resolve) => {
      const watch = new MutationObserver(done);
      const timer = setTimeout(done, 500);
      watch.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
      function done() {
        watch.disconnect();
        clearTimeout(timer);
        resolve();
      }
    }));
  }

  card(slot) {
    return this.tab.locator(`[data-slot="${slot}"]`);
  }

  text(selector) {
    return this.tab.locator(selector).first().innerText();
  }

  layoutShift() {
    return this.tab.evaluate(() => window.shifts.reduce((sum, shift) => sum + shift.value, 0));
  }

  /** The same without the cards of slots: they grow and shrink with what a test does to them. */
  layoutShiftElsewhere() {
    return this.tab.evaluate(() => window.shifts.filter((shift) => !shift.bySlots).reduce((sum, shift) => sum + shift.value, 0));
  }

  async checkNoOverflow(what) {
    const { wide, room } = await this.tab.evaluate(() => ({ wide: document.documentElement.scrollWidth, room: document.documentElement.clientWidth }));
    check(wide <= room, `${what} fits its ${room} pixels instead of taking ${wide}`);
  }

  checkQuiet() {
    equal(this.errors.filter((error) => !this.expected.some((part) => error.includes(part))), [], 'console errors');
    equal(this.external, [], 'external requests');
  }
}
