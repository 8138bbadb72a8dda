// Debian's Chromium, driven without a screen.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { type Browser, type BrowserContext, type Page, chromium } from 'playwright-core';
import { expect } from 'vitest';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const DESK = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });

export interface Look {
  light?: boolean;
  phone?: boolean;
  /** axe is put into the page, which the policy of the page forbids. */
  loose?: boolean;
}

/** Somebody's browser; what goes wrong in its pages is collected. */
export async function somebody(browser: Browser, url: string, look: Look = {}): Promise<{ context: BrowserContext; page: Page; wrong: string[] }> {
  const context = await browser.newContext({
    baseURL: url,
    viewport: look.phone ? PHONE : DESK,
    deviceScaleFactor: look.phone ? 2 : 1,
    colorScheme: look.light ? 'light' : 'dark',
    timezoneId: 'Europe/Berlin',
    locale: 'en-GB',
    reducedMotion: 'reduce',
    acceptDownloads: true,
    bypassCSP: !!look.loose,
  });
  context.setDefaultTimeout(15_000);
  const wrong: string[] = [];
  const page = await context.newPage();
  page.on('pageerror', (error) => wrong.push(String(error)));
  page.on('console', (message) => {
    // Answers that say no are told to people by the page itself.
    if (message.type() === 'error' && !/Failed to load resource|ERR_CONNECTION|ERR_EMPTY|ERR_INCOMPLETE/.test(message.text())) wrong.push(message.text());
  });
  return { context, page, wrong };
}

export async function login(page: Page, user: string, password: string): Promise<void> {
  await page.getByLabel('User', { exact: true }).fill(user);
  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByRole('button', { name: 'Log in' }).click();
}

/** Logs in and waits until the first page is there. */
export async function enter(page: Page, user: string, password: string): Promise<void> {
  await page.goto('/');
  await login(page, user, password);
  await page.locator('.row a.title').first().waitFor();
}

/** No violation of WCAG 2.2 A and AA. */
export async function isAccessible(page: Page, what: string): Promise<void> {
  await page.addScriptTag({ content: AXE });
  const found = await page.evaluate(async () => {
    const axe = (globalThis as unknown as { axe: { run: (root: Document, options: object) => Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> } }).axe;
    const result = await axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] });
    return result.violations.map((violation) => `${violation.id}: ${violation.nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(' | ')}`);
  });
  expect(found, what).toEqual([]);
}

/** Nothing pushes the page wider than the window. */
export async function fits(page: Page, what: string): Promise<void> {
  const wide = await page.evaluate(() =>
    [document.documentElement, ...document.querySelectorAll('main, .page')].filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => `${one.tagName}.${one.className}: ${one.scrollWidth} in ${one.clientWidth}`),
  );
  expect(wide, what).toEqual([]);
}
