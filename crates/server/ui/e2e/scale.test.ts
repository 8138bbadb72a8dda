// Names that want to do harm, and a network that is large: from a journal as an analysis writes it.

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PHONE, fits, launch, somebody } from './browser';
import { Server } from './server';

const PASSWORD = 'a sentence nobody guesses';
const SCRIPT = '<script>window.__ran=1</script><img src=x onerror="window.__ran=1"><svg onload="window.__ran=1">';
const TURNED = '\u202Efdp.exe\u0000\u0007\u200b invoice';
const LONG = 'a'.repeat(4000);
const DEVICES = 500;
const ALERTS = 100_000;
const INCIDENTS = 50;

const time = (second: number): string => new Date(Date.UTC(2025, 4, 13, 8) + second * 1000).toISOString();
const device = (n: number): string => `10.${1 + (n >> 8)}.0.${n & 255}`;

function alert(n: number): Record<string, unknown> {
  const key = device(n % DEVICES);
  return {
    id: n.toString(16).padStart(16, '0'),
    detector: ['beacon', 'scan_horizontal', 'rare_destination', 'password_guessing'][n % 4],
    entity: `device:${key}`,
    peers: [{ role: 'target', entity: `device:${device((n * 7) % DEVICES)}` }, { role: 'controller', entity: `external:${n % 5 ? `host${n % 300}.example` : SCRIPT}` }],
    phase: ['control', 'reconnaissance', 'unusual', 'credentials'][n % 4],
    techniques: ['T1071.001'],
    first_seen: time(n % 80_000),
    last_seen: time((n % 80_000) + 60),
    p_value: 2 + (n % 50) / 10,
    calibrated_by: 'shipped',
    discovered: n % 2 === 0,
    statement: `called ${SCRIPT} ${1 + (n % 90)} times`,
    evidence: [
      { key: 'server', type: 'name', value: SCRIPT, text: SCRIPT, events: ['0000000000000001-1'], events_total: 1 },
      { key: 'count', type: 'count', value: 1 + (n % 90), text: String(1 + (n % 90)), events: ['0000000000000001-1'], events_total: 1 },
    ],
    counterfactual: `People do not call ${TURNED}.`,
  };
}

/** A file that was called malicious, as evidence. */
function verdict(): Record<string, unknown> {
  const sha256 = (0).toString(16).padStart(64, '0');
  return { ...alert(0), id: 'abcdef0123456789', detector: 'threat_observation', entity: `device:${device(0)}`, phase: 'access', statement: `fetched a file, SHA-256 ${sha256}`, template: 'fetched a file, SHA-256 {sha256}', evidence: [{ key: 'sha256', type: 'name', value: sha256, text: sha256, events: ['0000000000000001-1'], events_total: 1 }] };
}

function incident(n: number): Record<string, unknown> {
  const each = ALERTS / INCIDENTS;
  const name = [SCRIPT, TURNED, LONG][n % 4] ?? device(n);
  return {
    id: (n + 1).toString(16).padStart(16, 'f'),
    rank: n + 1,
    shown: n < 5,
    title: `${name}: beaconing and port sweep`,
    hypothesis: `An intruder steers ${name}.`,
    confidence: ['high', 'medium', 'low'][n % 3],
    p_value: 9 - n / 10,
    entities: [device(n)],
    affected: [{ entity: `device:${device(n)}`, name, aliases: [name], suspected: true }],
    techniques: ['T1071.001'],
    first_seen: time(0),
    last_seen: time(80_060),
    narrative: name,
    next_steps: [`Block ${name}.`],
    merged_from: [],
    alerts: [...Array.from({ length: each }, (_, index) => alert(n * each + index)), ...(n === 0 ? [verdict()] : [])],
  };
}

/** Detectors in every state, of which none is to be called better than it is. */
const DETECTORS = [
  { id: 'beacon', state: 'ok', words: 'keeps its promise', measured: 0.002, interval: [0.0008, 0.004] },
  { id: 'scan_horizontal', state: 'so_far', words: 'kept so far', measured: 0.004, interval: [0.0001, 0.02] },
  { id: 'rare_destination', state: 'within_chance', words: 'above its promise, within chance', measured: 1 / 49, interval: [0.006, 0.05], by_chance_hours: 300 },
  { id: 'password_guessing', state: 'above', words: 'above its promise', measured: 0.04, interval: [0.02, 0.07], by_chance_hours: 90_000 },
  { id: 'dga', state: 'demoted', words: 'demoted', measured: 0.05, interval: [0.04, 0.06], weight: 5, demoted_since: time(40_000) },
  { id: 'flood', state: 'disabled', words: 'switched off', measured: 0, interval: [0, 0.01] },
  { id: 'mining', state: 'learning', words: 'too early to say', measured: 0, interval: [0, 0.3] },
].map((one) => ({ title: one.id, promised: 0.01, hours: 500, ...one }));

const EXPORTERS = [
  { exporter: '192.0.2.1', kinds: ['NetFlow v9'], datagrams: 98, records: 3000, templates: 1, lost: 2, waiting: 1, templates_missing: 3, sampling: 100 },
  { exporter: '192.0.2.2', kinds: [], unreadable: 7 },
  { exporter: '192.0.2.3', kinds: ['syslog'], records: 12, programs: [{ program: SCRIPT, not_judged: 5 }] },
].map((one) => ({ last_seen: time(80_000), datagrams: 0, records: 0, counter_samples: 0, options: 0, templates: 0, templates_refused: 0, templates_missing: 0, waiting: 0, unreadable: 0, lost: 0, times_not_believed: 0, clock_shift_secs: 0, sampling: 1, programs: [], ...one }));

let server: Server;
let browser: Browser;
let page: Page;
let wrong: string[];

beforeAll(async () => {
  server = new Server();
  const devices = Array.from({ length: DEVICES }, (_, n) => ({
    entity: `device:${device(n)}`,
    name: [SCRIPT, TURNED, LONG][n] ?? `desk-${n}`,
    addresses: [device(n)],
    names: [[SCRIPT, TURNED, LONG][n] ?? `desk-${n}.example`],
    mac: `02:00:00:00:${(n >> 8).toString(16).padStart(2, '0')}:${(n & 255).toString(16).padStart(2, '0')}`,
    first_seen: time(0),
    last_seen: time(80_000),
    is_cold: n % 9 === 0,
    days_seen: 7,
    roles: ['workstation'],
    group: null,
  }));
  const files = [SCRIPT, TURNED, LONG].map((path, n) => ({
    path,
    member: null,
    sha256: n.toString(16).padStart(64, '0'),
    type: 'php',
    outcome: 'malicious',
    label: SCRIPT,
    benign_share: 0.0001,
    ranges: [{ offset: 16, length: 8, weight: 0.9, section: SCRIPT, shown_offset: 16, hex: '3c7363726970743e', text: '<script>' }],
    seen_at: time(100 + n),
    device: `device:${device(n)}`,
    peer: '192.0.2.7',
    protocol: 'http',
    event: '0000000000000001-1',
  }));
  server.fill([
    { kind: 'devices', items: devices },
    { kind: 'files', items: files },
    { kind: 'status', items: { at: time(80_000), source: 'eth0', coverage: { packets: 1000, packets_judged: 990, entities: DEVICES, cold_entities: 50 }, lag_ms: 3, detectors: DETECTORS, exporters: { total: 3, items: EXPORTERS } } },
    ...Array.from({ length: INCIDENTS }, (_, n) => ({ kind: 'incidents', items: [incident(n)] })),
  ]);
  await server.start();
  browser = await launch();
  ({ page, wrong } = await somebody(browser, server.url));
  await page.goto('/');
  await page.getByLabel(/One-time token/).fill(server.token);
  await page.getByLabel('User', { exact: true }).fill('anna');
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await page.getByLabel('Password again').fill(PASSWORD);
  await page.getByRole('button', { name: /Create/ }).click();
  await page.locator('.row a.title').first().waitFor({ timeout: 60_000 });
});
afterAll(async () => {
  await browser?.close();
  await server?.remove();
});

const hasRun = (): Promise<boolean> => page.evaluate(() => '__ran' in window);

test('names that are scripts are text, on every page', async () => {
  for (const path of ['/incidents?below=1', '/devices', '/files', `/devices/${encodeURIComponent(`device:${device(0)}`)}`]) {
    await page.goto(path);
    await page.locator('h1').first().waitFor();
    await page.waitForTimeout(300);
    expect(await hasRun(), path).toBe(false);
    await fits(page, path);
  }
  await page.goto('/files');
  await page.locator('.row .name').first().click();
  await page.getByRole('dialog').getByText('The bytes that decided').waitFor();
  expect(await hasRun()).toBe(false);
  await page.keyboard.press('Escape');
});

test('a file leads to the incident that it is evidence of, and back to its bytes', async () => {
  await page.goto('/files?q=script');
  await page.locator('.row .of').first().click();
  await page.getByRole('heading', { name: 'Next steps' }).waitFor();
  await page.getByRole('button', { name: 'The file' }).first().click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('The bytes that decided').waitFor();
  await page.keyboard.press('Escape');
  await page.getByRole('link', { name: 'In files' }).first().click();
  await page.locator('.row .name').first().click();
  await dialog.getByText('Incident', { exact: true }).waitFor();
  expect(await dialog.getByRole('link').allTextContents()).toEqual(expect.arrayContaining([expect.stringContaining('beaconing')]));
  expect(await hasRun()).toBe(false);
  await page.keyboard.press('Escape');
});

test('marks that turn the text are shown as what they are', async () => {
  await page.goto('/devices?q=invoice');
  await page.locator('.row .name').first().waitFor();
  expect(await page.locator('.row .name').first().textContent()).toBe('⟨202E⟩fdp.exe⟨00⟩⟨07⟩⟨200B⟩ invoice');
});

test('a story of thousands of alerts is told in a few steps', async () => {
  await page.goto('/incidents');
  for (const index of [0, 1, 2]) {
    await page.locator('.row a.title').nth(index).click();
    await page.getByRole('heading', { name: 'Next steps' }).waitFor();
    expect(await page.locator('.step').count()).toBeLessThan(100);
    expect(await page.locator('svg .bar').count()).toBeGreaterThan(0);
    await fits(page, `incident ${index}`);
    await page.setViewportSize(PHONE);
    await fits(page, `incident ${index} on a phone`);
    await page.setViewportSize({ width: 1440, height: 900 });
    expect(await hasRun()).toBe(false);
    await page.goBack();
    await page.locator('.row a.title').first().waitFor();
  }
});

test('of 500 devices only those in sight are in the page, and all can be reached', async () => {
  await page.goto('/devices?sort=name');
  await page.locator('.row .name').first().waitFor();
  expect(await page.getByRole('table', { name: 'Devices' }).getAttribute('aria-rowcount')).toBe(String(DEVICES + 1));
  expect(await page.locator('.row').count()).toBeLessThan(80);
  await page.evaluate(() => {
    const box = document.querySelector('main [role=region]');
    if (box) box.scrollTop = box.scrollHeight;
  });
  await page.locator(`[aria-rowindex="${DEVICES + 1}"]`).waitFor();
  expect(await page.locator('.row').count()).toBeLessThan(80);
});

test('health calls no promise kept that is not', async () => {
  await page.goto('/health');
  await page.getByRole('heading', { name: '1 detector broke its promise and is demoted, 1 is switched off' }).waitFor();
  const rows = await page.getByRole('table', { name: 'Detectors' }).locator('.row:not(.title)').allInnerTexts();
  expect(rows.map((row) => row.split('\n')[0])).toEqual(['flood', 'dga', 'password_guessing', 'rare_destination', 'scan_horizontal', 'beacon', 'mining']);
  expect(rows[1]).toMatch(/Demoted for .*weighed 5\.0 times less/s);
  expect(rows[3]).toContain('Above its promise, within chance');
  expect(rows[3]).toContain('1 in 49');
  expect(rows.filter((row) => /^keeps its promise/i.test(row.split('\n')[1] ?? '')).map((row) => row.split('\n')[0])).toEqual(['beacon']);
  for (const said of ['4 sets of records came without a template', '2 datagrams were sent and did not arrive', 'Nothing that came from it could be read (7 datagrams)', 'It looks at one packet in 100']) await page.getByText(said).waitFor();
  await page.getByText('thymus drill --state DIR').waitFor();
  expect(await hasRun()).toBe(false);
  await fits(page, 'health');
  await page.setViewportSize(PHONE);
  await fits(page, 'health on a phone');
  await page.setViewportSize({ width: 1440, height: 900 });
});

test('the page stays small while a long list is scrolled', async () => {
  const most = await page.evaluate(async () => {
    const box = document.querySelector('main [role=region]') as HTMLElement;
    let rows = 0;
    for (let step = 0; step < 60; step += 1) {
      box.scrollTop = (step * 397) % box.scrollHeight;
      await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
      rows = Math.max(rows, document.querySelectorAll('.row').length);
    }
    return rows;
  });
  expect(most).toBeLessThan(80);
});

test('nothing in the pages failed', () => {
  expect(wrong).toEqual([]);
});
