// People's say in the response: the real console and a real enforcer whose responder touches nothing.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PHONE, fits, isAccessible, launch, login, somebody } from './browser';
import { Server } from './server';

const PROGRAM = process.env['THYMUS'] ?? '';
const LOOKED_AT = join(tmpdir(), 'thymus-ui-images');
const IMAGES = process.env['THYMUS_IMAGES'] ?? LOOKED_AT;
const PASSWORD = 'a sentence nobody guesses';
const SCRIPT = '<script>window.__ran=1</script><img src=x onerror="window.__ran=1">';
const POLICY = `
mode = "approve"
responders = ["bouncers"]
answer_minutes = 40
never = ["10.44.0.1/32", "10.44.0.53/32"]
never_services = [{ transport = "udp", port = 67 }]
[[rules]]
mode = "act"
verbs = ["block_pattern"]
`;

const ago = (minutes: number): string => new Date(Date.now() - minutes * 60_000).toISOString();
const tcp = (port: number) => ({ transport: 'tcp', port });

function incident(id: string, title: string, name: string, address: string): Record<string, unknown> {
  return {
    id,
    rank: 1,
    shown: true,
    title,
    hypothesis: `An intruder steers ${name} and reaches for the files of others.`,
    confidence: 'high',
    p_value: 9,
    entities: [address],
    affected: [{ entity: `device:${address}`, name, aliases: [name], suspected: true }],
    techniques: ['T1071.001'],
    first_seen: ago(50),
    last_seen: ago(2),
    narrative: name,
    next_steps: [],
    merged_from: [],
    alerts: [],
  };
}

interface Wish {
  id: string;
  device: string;
  verb: string;
  cuts: unknown[];
  reason: string;
  named?: unknown[];
  cut?: number;
  flows?: number;
}

const proposal = (wish: Wish): Record<string, unknown> => ({
  incident: wish.id,
  confidence: 'high',
  device: `device:${wish.device}`,
  addrs: [wish.device],
  verb: wish.verb,
  cuts: wish.cuts,
  reason: wish.reason,
  stage: 0,
  evidence_at: ago(1),
  rehearsal: { days: 7, flows: wish.flows ?? 4120, cut: wish.cut ?? 0, flows_all: 410_000, devices: wish.cut ? 1 : 0, devices_all: 120, named: wish.named ?? [], unknown: 0 },
});

const DESK = '10.44.0.17';
const PRINTER = '10.44.0.31';
const ATTACK = 'aaaaaaaaaaaaaaa1';
const HOSTILE = 'aaaaaaaaaaaaaaa2';

let server: Server;
let enforcer: ChildProcess | null = null;
let browser: Browser;
let page: Page;
let wrong: string[];

async function until(what: string, is: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 200; tries += 1) {
    if (await is()) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error(`waited in vain for ${what}`);
}

async function enforce(): Promise<void> {
  const policy = join(server.state, 'policy.toml');
  writeFileSync(policy, POLICY);
  enforcer = spawn(PROGRAM, ['enforce', '--state', server.state, '--policy', policy], { stdio: 'ignore' });
  await until('the enforcer', () => existsSync(join(server.state, 'response/control')));
}

async function end(): Promise<void> {
  const child = enforcer;
  enforcer = null;
  if (!child || child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGTERM');
  await ended;
}

function propose(...wishes: Wish[]): void {
  mkdirSync(join(server.state, 'response'), { recursive: true, mode: 0o700 });
  const line = { say: 'proposals', at: new Date().toISOString(), proposals: wishes.map(proposal) };
  appendFileSync(join(server.state, 'response/proposals.jsonl'), `${JSON.stringify(line)}\n`);
}

const card = (text: string | RegExp) => page.locator('article.one', { hasText: text });

/** For the documents, or only to be looked at. */
async function picture(name: string, of: Page = page, into: string = LOOKED_AT): Promise<void> {
  mkdirSync(into, { recursive: true });
  await of.screenshot({ path: join(into, `${name}.png`) });
}

beforeAll(async () => {
  server = new Server();
  server.fill([
    { kind: 'incidents', items: [incident(ATTACK, 'eng-pc17 called an unknown server every minute, then opened files of 38 others', 'eng-pc17', DESK), incident(HOSTILE, SCRIPT, SCRIPT, PRINTER)] },
  ]);
  await server.start();
  const made = await fetch(`${server.url}/api/v1/setup`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ token: server.token, user: 'anna', password: PASSWORD }) });
  expect(made.ok).toBe(true);
  browser = await launch();
  ({ page, wrong } = await somebody(browser, server.url));
  await page.goto('/');
  await login(page, 'anna', PASSWORD);
  await page.getByRole('heading', { name: /to look at/ }).first().waitFor();
});
afterAll(async () => {
  await end();
  await browser?.close();
  await server?.remove();
});

test('without a response the page says how to begin', async () => {
  await page.keyboard.press('g');
  await page.keyboard.press('r');
  await page.getByRole('heading', { name: 'Nothing is done about incidents here' }).waitFor();
  await page.getByText('--respond policy.toml').waitFor();
});

test('what was proposed is asked, live, with what it would cost', async () => {
  await enforce();
  propose(
    {
      id: ATTACK,
      device: DESK,
      verb: 'quarantine',
      cuts: [{ what: 'address', of: `${DESK}/32`, side: 'both' }],
      reason: 'it opens file shares of 38 devices that it never talked to before; cutting it off entirely contains that, whatever it tries next',
      cut: 137,
      flows: 4120,
      named: [
        [{ client: DESK, server: '10.44.0.5', transport: 'tcp', port: 445 }, 96],
        [{ client: DESK, server: '10.44.0.8', transport: 'tcp', port: 443 }, 31],
        [{ client: '10.44.0.40', server: DESK, transport: 'tcp', port: 3389 }, 10],
      ],
    },
    { id: ATTACK, device: DESK, verb: 'block_pattern', cuts: [{ what: 'pattern', client: `${DESK}/32`, server: '203.0.113.80/32', port: tcp(8443) }], reason: 'it calls 203.0.113.80 every 60 seconds, which nobody else here does' },
    { id: ATTACK, device: '10.44.0.1', verb: 'quarantine', cuts: [{ what: 'address', of: '10.44.0.1/32', side: 'both' }], reason: 'it takes part in the attack' },
  );
  await page.getByRole('heading', { name: '1 question to answer' }).waitFor();
  const asked = card('Quarantine the device');
  await asked.getByText('Would have cut 137 of 4120 usual conversations of the last 7 days').waitFor();
  await asked.getByText('tcp/445').waitFor();
  expect(await asked.getByRole('timer').textContent()).toMatch(/^(39|40):\d\d$/);
  await asked.getByRole('link', { name: /eng-pc17 called/ }).waitFor();
  await card('Block one connection pattern').getByText('In force').waitFor();
  await page.locator('nav.rail b[aria-label="1 to answer"]').waitFor();
  for (const path of ['/incidents', '/health']) {
    await page.goto(path);
    await page.getByRole('link', { name: '1 question to answer, 1 action in force.' }).waitFor();
  }
  await page.goto('/response');
  await asked.waitFor();
  expect(await page.locator('.past').getByText('Refused').count()).toBe(1);
  await page.setViewportSize({ width: 1440, height: 1080 });
  await picture('response', page, IMAGES);
  await page.setViewportSize({ width: 1440, height: 900 });
});

test('names that are scripts are text', async () => {
  propose({ id: HOSTILE, device: PRINTER, verb: 'outbound_only', cuts: [{ what: 'address', of: `${PRINTER}/32`, side: 'taken' }], reason: `it answers to ${SCRIPT}` });
  await page.getByRole('heading', { name: '2 questions to answer' }).waitFor();
  await card(PRINTER).getByText('Let nobody begin').waitFor();
  expect(await page.evaluate(() => '__ran' in window)).toBe(false);
});

test('is accessible and fits, light and dark, on a desk and on a phone', async () => {
  for (const light of [false, true]) {
    const view = await somebody(browser, server.url, { light, loose: true });
    await view.page.goto('/response');
    await login(view.page, 'anna', PASSWORD);
    await view.page.locator('article.one').first().waitFor();
    await view.page.locator('.past .row').first().click();
    await view.page.locator('.past .more').waitFor();
    await isAccessible(view.page, light ? 'response, light' : 'response, dark');
    if (light) await picture('response-light', view.page);
    await view.page.setViewportSize(PHONE);
    await fits(view.page, 'response on a phone');
    await isAccessible(view.page, 'response on a phone');
    if (!light) await picture('response-phone', view.page);
    await view.page.locator('article.one').getByRole('button', { name: 'Approve' }).first().click();
    await view.page.getByRole('dialog').getByRole('button', { name: 'Approve' }).waitFor();
    await isAccessible(view.page, 'the question once more');
    expect(view.wrong).toEqual([]);
    await view.context.close();
  }
});

test('is answered by keys alone, and the history says who did', async () => {
  await page.locator('main').focus();
  await page.keyboard.press('j');
  const picked = page.locator('article.one.picked');
  await picked.waitFor();
  if ((await picked.textContent())?.includes(PRINTER)) await page.keyboard.press('j');
  await page.locator('article.one.picked', { hasText: DESK }).waitFor();
  await page.keyboard.press('y');
  const dialog = page.getByRole('dialog');
  await dialog.getByText('you can take it back at any time').waitFor();
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
  await card('Quarantine the device').getByText('In force').waitFor();
  await card('Quarantine the device').locator('.history').getByText('anna').waitFor();
});

test('a denial says why, an extension for how long, and an undo takes it back', async () => {
  await card(PRINTER).getByRole('button', { name: 'Deny' }).click();
  await page.getByLabel('Why, for the history').fill('it is the new printer');
  await page.getByRole('dialog').getByRole('button', { name: 'Deny' }).click();
  await card(PRINTER).waitFor({ state: 'detached' });
  const past = page.locator('.past li', { hasText: PRINTER }).first();
  await past.getByText('Denied').waitFor();
  await past.locator('.row').click();
  await past.getByText('denied: it is the new printer').waitFor();

  const pattern = card('Block one connection pattern');
  await pattern.getByRole('button', { name: 'Extend' }).click();
  await page.getByLabel('From now on').selectOption({ label: '4 hours' });
  await page.getByRole('dialog').getByRole('button', { name: 'Extend' }).click();
  await pattern.getByText(/^(4 h 00|3 h 59) min$/).waitFor();
  await pattern.getByRole('button', { name: 'Undo' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Undo' }).click();
  await pattern.waitFor({ state: 'detached' });
});

test('an incident shows what is done about it', async () => {
  await page.goto(`/incidents/${ATTACK}`);
  await page.getByRole('heading', { name: 'Response', exact: true }).waitFor();
  await card('Quarantine the device').getByRole('button', { name: 'Undo' }).waitFor();
  await page.getByText('Taken back').waitFor();
  await page.getByRole('link', { name: 'All of the response' }).click();
});

test('pseudonyms hide who it is about', async () => {
  const view = await somebody(browser, server.url);
  await view.page.goto('/response');
  await login(view.page, 'anna', PASSWORD);
  await view.page.locator('article.one').first().waitFor();
  await view.page.evaluate(async () => {
    const me = (await (await fetch('/api/v1/me')).json()) as { csrf: string };
    await fetch('/api/v1/me', { method: 'PATCH', headers: { 'content-type': 'application/json', 'x-csrf-token': me.csrf }, body: '{"pseudonymised":true}' });
  });
  await view.page.reload();
  await view.page.locator('article.one').first().waitFor();
  expect(await view.page.locator('main').textContent()).not.toContain(DESK);
  const raw = await view.page.evaluate(async () => (await fetch('/api/v1/decisions')).text());
  expect(raw).not.toMatch(/10\.44\.0\.(17|31|5|8|40)\b/);
  await view.context.close();
});

test('a link from a message is answered once, after a login, and never again', async () => {
  propose({ id: HOSTILE, device: '10.44.0.32', verb: 'quarantine', cuts: [{ what: 'address', of: '10.44.0.32/32', side: 'both' }], reason: 'it reaches for shares' });
  await card('10.44.0.32').waitFor();
  const told = join(server.state, 'told.jsonl');
  const done = spawnSync(PROGRAM, ['tell', '--state', server.state, '--once', '--console-url', server.url, '--output', `file://${told}?tell=decisions`], { encoding: 'utf8' });
  expect(done.status, done.stderr).toBe(0);
  interface Told { kind: string; device: string; state: string; link: string | null; text: string }
  const lines = readFileSync(told, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Told);
  const asked = lines.find((one) => one.device === 'device:10.44.0.32');
  expect(asked?.kind).toBe('decision');
  expect(asked?.text).toContain('thymus approve');
  const path = new URL(asked?.link ?? '').pathname;
  expect(readFileSync(join(server.state, 'outputs/links.json'), 'utf8')).not.toContain(path.slice('/approve/'.length));

  const view = await somebody(browser, server.url);
  await view.page.goto(path);
  await view.page.getByRole('button', { name: 'Log in' }).waitFor();
  expect(await view.page.getByText('10.44.0.32').count()).toBe(0);
  await login(view.page, 'anna', PASSWORD);
  await view.page.getByRole('heading', { name: 'A question to answer' }).waitFor();
  await view.page.getByText('Quarantine the device').waitFor();
  await picture('approve', view.page);
  await view.page.getByRole('button', { name: 'Deny' }).click();
  await view.page.getByRole('dialog').getByRole('button', { name: 'Deny' }).click();
  await view.page.getByRole('heading', { name: 'It is denied' }).waitFor();
  await view.page.goto(path);
  await view.page.getByText('This link was used before').waitFor();
  await view.page.goto(`/approve/${'0'.repeat(64)}`);
  await view.page.getByText('This link was not given out here').waitFor();
  await view.page.goto('/settings/audit');
  await view.page.getByText('decision.denied_by_link').first().waitFor();
  expect(await view.page.getByText('link.refused').count()).toBeGreaterThan(1);
  await view.context.close();
});

test('everything is taken back at once, after a question, and resumed', async () => {
  await page.goto('/response');
  await page.getByRole('button', { name: /Take everything back/ }).click();
  await page.getByRole('dialog').getByText('1 action in force ends').waitFor();
  await page.getByRole('dialog').getByRole('button', { name: 'Take everything back' }).click();
  await page.getByText('Everything was taken back.').waitFor();
  await page.getByText('Nothing is cut.', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Resume' }).click();
  await page.getByText('Everything was taken back.').waitFor({ state: 'detached' });
  await page.getByRole('button', { name: /Take everything back/ }).waitFor();
});

test('without an enforcer it is read all the same, and nothing can be answered', async () => {
  await end();
  await page.goto('/response');
  await page.getByText('Nobody carries decisions out.').waitFor();
  await page.locator('.past .row').first().waitFor();
  const status = await page.evaluate(async () => {
    const me = (await (await fetch('/api/v1/me')).json()) as { csrf: string };
    const answer = await fetch('/api/v1/decisions/d1/approve', { method: 'POST', headers: { 'x-csrf-token': me.csrf } });
    return [answer.status, ((await answer.json()) as { error: { message: string } }).error.message];
  });
  expect(status[0]).toBe(503);
  expect(status[1]).toContain('no enforcer answers');
  expect(wrong).toEqual([]);
});
