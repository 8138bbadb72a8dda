// How the console bears a large site: 500 devices, 100,000 alerts in 2,000 incidents, 10,000 files. Measures how
// soon the API answers and how long the page is busy at a time; prints both, and asserts no times.
//
// `cargo xtask load`

import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { launch, somebody } from './browser';
import { Server } from './server';

const PASSWORD = 'a sentence nobody guesses';
const DEVICES = 500;
const INCIDENTS = 2_000;
const ALERTS = 100_000;
const FILES = 10_000;
const FLOWS = 40_000;
const NOW = Date.now();
const SPAN = 28 * 86_400_000;
const ASKED = 40;

const hex = (n: number, width = 16): string => n.toString(16).padStart(width, '0');
const time = (share: number): string => new Date(NOW - SPAN + share * SPAN).toISOString();
const address = (n: number): string => `10.${20 + (n >> 8)}.3.${n & 255}`;
const device = (n: number): string => `device:${address(n % DEVICES)}`;
const KINDS = [
  ['beacon', 'control'],
  ['scan_horizontal', 'reconnaissance'],
  ['password_guessing', 'credentials'],
  ['lateral_movement', 'lateral'],
  ['exfiltration', 'exfiltration'],
  ['rare_destination', 'unusual'],
] as const;

function alert(n: number, incident: number): Record<string, unknown> {
  const [detector, phase] = KINDS[n % KINDS.length] ?? KINDS[0];
  const at = incident / INCIDENTS;
  const server = `host-${n % 4000}.example`;
  const events = Array.from({ length: 8 }, (_, index) => `${hex(7)}-${(n * 8 + index) % FLOWS}`);
  const fact = (key: string, type: string, value: unknown): Record<string, unknown> => ({ key, type, value, text: String(value), events, events_total: 40 });
  return {
    id: hex(n + 1),
    detector,
    entity: device(incident + (n % 3)),
    peers: [{ role: 'target', entity: device(n * 7) }, { role: 'controller', entity: `external:${server}` }],
    phase,
    techniques: ['T1071.001', 'T1046'],
    first_seen: time(at),
    last_seen: time(Math.min(1, at + 0.002)),
    p_value: 2 + (n % 50) / 10,
    calibrated_by: 'peers',
    discovered: n % 2 === 0,
    statement: `called ${server} ${1 + (n % 90)} times over tls, each time about 60 s after the time before`,
    template: 'called {server} {count} times over tls, each time about {period} after the time before',
    evidence: [fact('server', 'name', server), fact('count', 'count', 1 + (n % 90)), fact('period', 'name', '60 s')],
    counterfactual: 'People call when they want something, at times that vary, and go on to other places.',
  };
}

function incident(n: number): Record<string, unknown> {
  const each = ALERTS / INCIDENTS;
  // Most are small, one in twenty is a long story.
  const size = n % 20 === 0 ? each * 10 : Math.round((each * 10) / 19);
  const names = [0, 1, 2].map((k) => device(n + k));
  return {
    id: hex(n + 1, 15).padStart(16, 'f'),
    rank: n + 1,
    shown: n % 2 === 0,
    title: `desk-${n % DEVICES} and 2 others: beaconing, port sweep and unusual upload`,
    hypothesis: `An intruder steers desk-${n % DEVICES} from outside and moves from device to device.`,
    confidence: ['high', 'medium', 'low', 'low'][n % 4],
    p_value: 4 + (n % 700) / 100,
    entities: names.map((name) => name.slice(7)),
    affected: names.map((entity, k) => ({ entity, name: `desk-${(n + k) % DEVICES}`, aliases: [entity.slice(7)], suspected: k === 0 })),
    techniques: ['T1071.001', 'T1046'],
    first_seen: time(n / INCIDENTS),
    last_seen: time(Math.min(1, n / INCIDENTS + 0.002)),
    narrative: 'It began with a sweep and went on from there. '.repeat(20),
    next_steps: ['Keep a memory image before switching it off.', 'Block the address at the border.'],
    merged_from: [],
    alerts: Array.from({ length: size }, (_, index) => alert(n * 1000 + index, n)),
  };
}

const flow = (n: number): Record<string, unknown> => ({
  id: `${hex(7)}-${n}`,
  ts: time(n / FLOWS),
  conn: { flow: hex(n + 1), client: { addr: address(n % DEVICES), port: 40_000 + (n % 20_000) }, server: { addr: n % 3 ? address((n * 13) % DEVICES) : `203.0.${n % 113}.${n % 250}`, port: [443, 53, 445, 80][n % 4] }, transport: 'tcp' },
  kind: 'flow',
  start: time(n / FLOWS),
  duration: { secs: 2, nanos: 0 },
  client_bytes: 1000 + (n % 5000),
  server_bytes: 9000 + (n % 90_000),
  client_packets: 12,
  server_packets: 14,
  state: 'SF',
  history: 'ShADadFf',
  service: ['ssl', 'dns', 'smb', 'http'][n % 4],
  missed_bytes: 0,
  client_mac: null,
  server_mac: null,
  part: 0,
  last: true,
});

const file = (n: number): Record<string, unknown> => ({
  path: `/downloads/part-${n}.exe`,
  member: null,
  sha256: hex(n + 1, 64),
  type: 'pe',
  outcome: n % 50 === 0 ? 'malicious' : n % 7 === 0 ? 'not_judged' : 'clean',
  reason: n % 7 === 0 ? 'no network for its type' : null,
  benign_share: 0.0001,
  ranges: Array.from({ length: 4 }, (_, index) => ({ offset: 512 * index, length: 64, weight: 0.2, section: '.text', shown_offset: 512 * index, hex: '90'.repeat(64), text: '.'.repeat(64) })),
  seen_at: time(n / FILES),
  device: device(n),
  peer: '203.0.113.9',
  protocol: 'http',
  event: `${hex(7)}-${n}`,
  size: 120_000,
});

const chunks = <T>(all: number, size: number, make: (n: number) => T): T[][] => Array.from({ length: Math.ceil(all / size) }, (_, index) => Array.from({ length: Math.min(size, all - index * size) }, (__, k) => make(index * size + k)));

let server: Server;
let browser: Browser;
let page: Page;
let token = '';
const rows = { push: (...lines: string[]): void => void process.stdout.write(`${lines.join('\n')}\n`) };

async function ask(path: string, body?: unknown): Promise<{ ms: number; bytes: number; json: unknown }> {
  const began = performance.now();
  const answer = await fetch(`${server.url}/api/v1/${path}`, { headers: { Authorization: `Bearer ${token}`, ...(body ? { 'Content-Type': 'application/json' } : {}) }, ...(body ? { method: 'POST', body: JSON.stringify(body) } : {}) });
  const text = await answer.text();
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${text.slice(0, 300)}`);
  return { ms: performance.now() - began, bytes: text.length, json: JSON.parse(text) };
}

beforeAll(async () => {
  server = new Server();
  const devices = Array.from({ length: DEVICES }, (_, n) => ({ entity: device(n), name: `desk-${n}`, addresses: [address(n)], names: [`desk-${n}.example`], mac: `02:00:00:00:${hex(n >> 8, 2)}:${hex(n & 255, 2)}`, first_seen: time(0), last_seen: time(1), is_cold: n % 9 === 0, days_seen: 28, roles: ['workstation'], group: null }));
  server.fill([
    { kind: 'devices', items: devices },
    { kind: 'status', items: { at: time(1), source: 'eth0', coverage: { packets: 1e9, packets_judged: 1e9 - 5000, entities: DEVICES, cold_entities: 55 }, local_networks: ['10.0.0.0/8'], lag_ms: 3 } },
    ...chunks(FLOWS, 4000, flow).map((items) => ({ kind: 'events', items })),
    ...chunks(FILES, 500, file).map((items) => ({ kind: 'files', items })),
    ...chunks(INCIDENTS, 20, incident).map((items) => ({ kind: 'incidents', items })),
  ]);
  await server.start();
  browser = await launch();
  ({ page } = await somebody(browser, server.url));
  await page.addInitScript(() => {
    const seen: number[] = [];
    (globalThis as unknown as { __long: number[] }).__long = seen;
    new PerformanceObserver((list) => list.getEntries().forEach((entry) => seen.push(entry.duration))).observe({ type: 'longtask', buffered: true });
  });
  await page.goto('/');
  await page.getByLabel(/One-time token/).fill(server.token);
  await page.getByLabel('User', { exact: true }).fill('anna');
  await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
  await page.getByLabel('Password again').fill(PASSWORD);
  await page.getByRole('button', { name: /Create/ }).click();
  await page.getByRole('button', { name: 'Log out' }).waitFor();
  token = await page.evaluate(async () => {
    const me = (await (await fetch('/api/v1/me')).json()) as { csrf: string };
    const made = await fetch('/api/v1/tokens', { method: 'POST', headers: { 'Content-Type': 'application/json', 'X-CSRF-Token': me.csrf }, body: JSON.stringify({ name: 'load', role: 'admin' }) });
    return ((await made.json()) as { token: string }).token;
  });
  const began = performance.now();
  for (;;) {
    const { json } = await ask('incidents?state=all&limit=1');
    if ((json as { total: number }).total >= INCIDENTS) break;
    if (performance.now() - began > 900_000) throw new Error('the console does not take it all in');
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
  const taken = (performance.now() - began) / 1000;
  process.stdout.write(`\n${DEVICES} devices, ${INCIDENTS} incidents of ${ALERTS} alerts, ${FILES} files, ${FLOWS} flows; the last of it was taken in after ${taken.toFixed(0)} s\n\n`);
}, 1_200_000);
afterAll(async () => {
  await browser?.close();
  await server?.remove();
});

test('the API answers', async () => {
  const id = (n: number): string => hex(n + 1, 15).padStart(16, 'f');
  const asked: [string, (n: number) => Promise<{ ms: number; bytes: number }>][] = [
    ['overview', () => ask('overview')],
    ['200 incidents above the line', (n) => ask(`incidents?shown=true&limit=200&cursor=${(n % 5) * 200}`)],
    ['200 incidents below it', () => ask('incidents?shown=false&limit=200')],
    ['incidents by text', (n) => ask(`incidents?limit=200&q=desk-${n}`)],
    ['incidents of a device', (n) => ask(`incidents?limit=200&device=${encodeURIComponent(device(n))}`)],
    ['an incident of 26 alerts', (n) => ask(`incidents/${id(n * 20 + 1)}`)],
    ['an incident of 500 alerts', (n) => ask(`incidents/${id(n * 20)}`)],
    ['500 devices', () => ask('devices?limit=500')],
    ['a device', (n) => ask(`devices/${encodeURIComponent(device(n * 12))}`)],
    ['200 files', (n) => ask(`files?limit=200&cursor=${n * 200}`)],
    ['files by text', (n) => ask(`files?limit=200&q=part-${n}`)],
    ['health', () => ask('health')],
    ['an exception, tried', (n) => ask('exceptions/test', { detector: 'beacon', device: device(n), facts: [] })],
  ];
  rows.push('| asked | p50 | p95 | at most | answer |', '|---|---|---|---|---|');
  for (const [name, one] of asked) {
    const took: number[] = [];
    let bytes = 0;
    for (let n = 0; n < ASKED; n += 1) {
      const answer = await one(n);
      took.push(answer.ms);
      bytes = Math.max(bytes, answer.bytes);
    }
    took.sort((a, b) => a - b);
    const part = (share: number): string => `${Math.round(took[Math.min(took.length - 1, Math.floor(took.length * share))] ?? 0)} ms`;
    rows.push(`| ${name} | ${part(0.5)} | ${part(0.95)} | ${part(1)} | ${Math.round(bytes / 1000)} kB |`);
  }
  rows.push('');
}, 600_000);

test('the page does not stutter', async () => {
  const wrong: string[] = [];
  page.on('pageerror', (error) => wrong.push(String(error)));
  rows.push('| in Chromium | ready after | tasks over 50 ms | over 200 ms | longest |', '|---|---|---|---|---|');
  const measure = async (name: string, ready: () => Promise<void>, then: () => Promise<void> = async () => {}): Promise<void> => {
    await page.evaluate(() => ((globalThis as unknown as { __long: number[] }).__long.length = 0)).catch(() => 0);
    const began = performance.now();
    await ready();
    const after = performance.now() - began;
    await then();
    await page.waitForTimeout(300);
    const tasks = await page.evaluate(() => [...(globalThis as unknown as { __long: number[] }).__long]);
    rows.push(`| ${name} | ${Math.round(after)} ms | ${tasks.length} | ${tasks.filter((ms) => ms > 200).length} | ${Math.round(Math.max(0, ...tasks))} ms |`);
  };
  /** Through a long list by the wheel. */
  const wheel = async (steps: number): Promise<void> => {
    await page.mouse.move(700, 600);
    for (let step = 0; step < steps; step += 1) {
      await page.mouse.wheel(0, 1200);
      await page.waitForTimeout(16);
    }
  };
  const open = (path: string, what: string) => async (): Promise<void> => {
    await page.goto(path);
    await page.locator(what).first().waitFor();
  };
  await measure('incidents', open('/incidents', '.row a.title'));
  await measure('incidents, through all', async () => {}, () => wheel(80));
  await measure('incidents, with those below the line', open('/incidents?below=1', '.row a.title'), () => wheel(60));
  await measure('incidents, filtered by text', async () => {
    await page.getByLabel(/Filter/).first().fill('desk-17');
    await page.waitForFunction(() => [...document.querySelectorAll('.row a.title')].every((one) => /desk-17/.test(one.textContent ?? '')));
  });
  for (const [name, nth] of [['an incident of 26 alerts', 1], ['an incident of 500 alerts', 0], ['another of 500 alerts', 20]] as const) {
    await measure(name, open(`/incidents/${hex(nth + 1, 15).padStart(16, 'f')}`, 'svg .bar'), () => wheel(30));
  }
  await measure('its steps by keys', async () => {}, async () => {
    for (let n = 0; n < 20; n += 1) await page.keyboard.press('j');
  });
  await measure('its map', async () => {
    await page.getByRole('button', { name: 'Map' }).click();
    await page.locator('svg .node').first().waitFor();
  });
  await measure('devices', open('/devices', '.row .name'), () => wheel(40));
  await measure('a device', open(`/devices/${encodeURIComponent(device(3))}`, 'svg, canvas'), () => wheel(20));
  await measure('files', open('/files', '.row .name'), () => wheel(120));
  await measure('health', open('/health', '#promises'), () => wheel(20));
  expect(wrong).toEqual([]);
}, 600_000);
