// The whole story of a console, from its first start on, against the real program with a real store.

import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { enter, fits, isAccessible as check, launch, login, somebody } from './browser';
import { Server } from './server';

const PASSWORD = 'a sentence nobody guesses';
const IMAGES = process.env['THYMUS_IMAGES'] ?? join(tmpdir(), 'thymus-ui-images');

let server: Server;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let wrong: string[];

beforeAll(async () => {
  server = new Server();
  await server.start();
  browser = await launch();
  ({ context, page, wrong } = await somebody(browser, server.url));
});
afterAll(async () => {
  await browser?.close();
  await server?.remove();
});

const heading = (name: string | RegExp) => page.getByRole('heading', { name }).first();
const firstIncident = async (): Promise<void> => {
  await page.goto('/incidents');
  await page.locator('.row a.title').first().click();
  await page.getByRole('heading', { name: 'Next steps' }).waitFor();
};

describe('the first start', () => {
  test('asks for the one-time token, and takes no other', async () => {
    await page.goto('/');
    await page.getByText('This is the first start').waitFor();
    await page.getByLabel(/One-time token/).fill('wrong-wrong-wrong');
    await page.getByLabel('User', { exact: true }).fill('anna');
    await page.getByLabel('Password', { exact: true }).fill('short');
    expect(await page.getByRole('button', { name: /Create/ }).isDisabled()).toBe(true);
    await page.getByLabel('Password', { exact: true }).fill(PASSWORD);
    await page.getByLabel('Password again').fill(PASSWORD);
    await page.getByRole('button', { name: /Create/ }).click();
    await page.getByRole('alert').waitFor();
    await page.getByLabel(/One-time token/).fill(server.token);
    await page.getByRole('button', { name: /Create/ }).click();
    await heading('Good. It is running.').waitFor();
  });

  test('the guide loads the demo data set with one click', async () => {
    await page.getByRole('button', { name: 'Load the demo data set' }).click();
    await heading(/to look at/).waitFor();
    await page.getByText('Demo data set:').waitFor();
    expect(await page.locator('.row a.title').count()).toBeGreaterThan(0);
  });
});

describe('incidents', () => {
  test('those below the line are one key away', async () => {
    const before = await page.locator('.row a.title').count();
    await page.keyboard.press('b');
    await page.waitForFunction((n) => document.querySelectorAll('.row a.title').length > n, before);
    await page.keyboard.press('b');
    await page.waitForFunction((n) => document.querySelectorAll('.row a.title').length === n, before);
  });

  test('filters by text, and says when nothing fits', async () => {
    await page.keyboard.press('/');
    await page.keyboard.type('no such thing anywhere');
    await heading('Nothing fits these filters').waitFor();
    await page.getByRole('button', { name: 'Show all' }).click();
    await page.locator('.row a.title').first().waitFor();
  });

  test('are chosen and opened by keys alone', async () => {
    await page.locator('main').focus();
    await page.keyboard.press('j');
    await page.locator('.row.picked').waitFor();
    await page.keyboard.press('Enter');
    await page.getByRole('heading', { name: 'Next steps' }).waitFor();
    await page.keyboard.press('Escape');
    await heading(/to look at/).waitFor();
  });
});

describe('one incident', () => {
  test('is told by a picture over time, and by a map', async () => {
    await firstIncident();
    expect(await page.locator('svg .bar').count()).toBeGreaterThan(3);
    await page.getByRole('button', { name: 'Map' }).click();
    expect(await page.locator('svg .node').count()).toBeGreaterThan(2);
    expect(await page.locator('svg .edge').count()).toBeGreaterThan(1);
    await page.getByRole('button', { name: 'Over time' }).click();
  });

  test('a step chosen in the picture is chosen in the story', async () => {
    await page.locator('svg .bar').nth(1).click();
    await page.locator('.step.chosen').waitFor();
    expect(await page.locator('svg .bar.chosen').count()).toBe(1);
  });

  test('each fact leads to the events behind it', async () => {
    await page.locator('.step .seen a[href*="evidence="]').first().click();
    const drawer = page.getByRole('dialog');
    await drawer.locator('.events li').first().waitFor();
    expect(await drawer.locator('tr.on').count()).toBe(1);
    await drawer.locator('.events button').first().click();
    await drawer.locator('pre').first().waitFor();
    expect(await drawer.locator('pre').first().textContent()).toContain('"kind"');
    expect(page.url()).toContain('evidence=');
    await page.keyboard.press('Escape');
    await drawer.waitFor({ state: 'detached' });
  });

  test('says how rare it is and what would have been normal', async () => {
    await page.locator('.sure', { hasText: 'device-hours' }).waitFor();
    await page.getByText('Normal would be').first().waitFor();
  });

  test('is acknowledged, assigned, commented', async () => {
    await page.getByRole('button', { name: 'Acknowledge' }).click();
    await page.locator('aside .chip', { hasText: 'Acknowledged' }).waitFor();
    await page.getByRole('button', { name: 'Assign…' }).click();
    await page.getByRole('dialog').getByLabel('To').fill('anna');
    await page.getByRole('dialog').getByRole('button', { name: 'Assign' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    await page.getByLabel('Comment', { exact: true }).fill('Looks <b>real</b>: calling the owner.');
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    await page.locator('.comments').getByText('Looks <b>real</b>: calling the owner.').waitFor();
  });

  test('is handed out as one HTML file that needs nothing else, and as JSON', async () => {
    await page.getByRole('button', { name: 'Export' }).click();
    const [report] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: /^Report/ }).click()]);
    const html = readFileSync(await report.path(), 'utf8');
    expect(html).toContain('<html');
    expect(html).not.toMatch(/(src|href)="https?:/);
    await page.getByRole('button', { name: 'Export' }).click();
    const [json] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: /^JSON/ }).click()]);
    expect(JSON.parse(readFileSync(await json.path(), 'utf8'))).toBeTypeOf('object');
  });

  test('says why there are no packets when none were kept', async () => {
    await page.getByRole('button', { name: 'Export' }).click();
    await page.getByRole('menuitem', { name: /^Packets/ }).click();
    await page.locator('.toast.bad').waitFor();
  });

  test('is closed with a verdict, found among the closed, and opened again', async () => {
    const title = (await page.locator('.words > p').textContent()) ?? '';
    await page.getByRole('button', { name: 'Close…' }).click();
    await page.getByRole('dialog').getByText('False alarm').click();
    await page.getByRole('dialog').getByLabel('Why').fill('It was the demo.');
    await page.getByRole('dialog').getByRole('button', { name: 'Close it' }).click();
    await page.locator('aside .chip', { hasText: 'False alarm' }).waitFor();
    await page.goto('/incidents?state=closed');
    await page.locator('.row a.title', { hasText: title.slice(0, 20) }).first().click();
    await page.getByRole('button', { name: 'Open again' }).click();
    await page.locator('aside .chip', { hasText: 'Open' }).waitFor();
    // The same by one click.
    await page.getByRole('group', { name: 'It was' }).getByRole('button', { name: 'Harmless' }).click();
    await page.locator('aside .chip', { hasText: 'Harmless' }).waitFor();
    await page.getByRole('button', { name: 'Open again' }).click();
    await page.locator('aside .chip', { hasText: 'Open' }).waitFor();
  });

  test('what is normal here is said with its effect before it is made, and taken back', async () => {
    const incident = page.url();
    const step = page.locator('.step').first();
    await step.getByRole('button', { name: 'Normal here…' }).click();
    const dialog = page.getByRole('dialog', { name: 'This is normal here' });
    await dialog.getByText(/of \d+ alerts? of the last 30 days/).waitFor();
    await dialog.getByLabel('any device').check();
    await dialog.getByText('choose what it is about').waitFor();
    expect(await dialog.getByRole('button', { name: 'Make the exception' }).isDisabled()).toBe(true);
    await dialog.getByRole('radio').first().check();
    await dialog.getByText(/of \d+ alerts? of the last 30 days/).waitFor();
    await dialog.getByLabel('Why').fill('The nightly backup, change 4711.');
    await dialog.getByRole('button', { name: 'Make the exception' }).click();
    await step.locator('.chip', { hasText: 'normal here' }).waitFor();
    await page.goto('/settings/exceptions');
    await page.getByText('The nightly backup, change 4711.').waitFor();
    await page.getByRole('button', { name: 'Remove' }).click();
    await page.getByRole('button', { name: 'Remove it' }).click();
    await page.getByText('There is none.').waitFor();
    await page.goto(incident);
    await page.getByRole('button', { name: 'Normal here…' }).first().waitFor();
  });
});

describe('devices, files, hunt, health', () => {
  test('a device shows its week, its peers and what is still cold', async () => {
    await page.goto('/devices');
    await page.locator('.row .name').first().click();
    await heading('Pattern of life').waitFor();
    await page.getByRole('img', { name: /Hours of the week/ }).waitFor();
    await heading(/Still cold|Known/).waitFor();
    await page.getByLabel('Add a label').fill('crown jewel');
    await page.keyboard.press('Enter');
    await page.locator('.labels .chip', { hasText: 'crown jewel' }).waitFor();
    await page.getByLabel('Value').selectOption('3');
    await page.locator('.toast', { hasText: 'Value set' }).waitFor();
  });

  test('files say what they are, or that there is none', async () => {
    await page.goto('/files');
    await page.locator('h1').waitFor();
    expect(await page.locator('h1').textContent()).toMatch(/file|No file/i);
  });

  test('a query is answered, drawn and taken along', async () => {
    await page.goto('/hunt');
    await page.getByRole('button', { name: /Events over time/ }).first().click();
    await page.locator('.uplot canvas').waitFor();
    const [file] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'CSV' }).click()]);
    expect(readFileSync(await file.path(), 'utf8').split('\r\n')[0]).toBe('time,events');
    await page.getByLabel('Query in SQL').fill('SELECT nonsense FROM events');
    await page.keyboard.press('Control+Enter');
    await page.locator('p.error').waitFor();
    expect(await page.locator('p.error').textContent()).toContain('nonsense');
  });

  test('every example of the page runs', async () => {
    for (const name of ['Who talks most', 'Names asked for only once', 'Failed log-ins by account', 'Uploads to the outside']) {
      await page.goto('/hunt');
      await page.getByRole('button', { name: new RegExp(name) }).first().click();
      await page.locator('.about [role=status]').waitFor();
      expect(await page.locator('p.error').count(), name).toBe(0);
    }
  });

  test('health says what was promised and what nobody looked at', async () => {
    await page.goto('/health');
    await heading('Blind spots').waitFor();
    await heading('Promised and measured false alarms').waitFor();
  });
});

describe('people', () => {
  test('an administrator adds a viewer and makes a token, which is shown once', async () => {
    await page.goto('/settings/users');
    await page.getByRole('button', { name: 'Add a user' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('vera');
    await page.getByRole('dialog').getByLabel('Password').fill(PASSWORD);
    await page.getByRole('dialog').getByLabel(/^viewer/).check();
    await page.getByRole('dialog').getByRole('button', { name: 'Add' }).click();
    await page.getByRole('cell', { name: 'vera' }).first().waitFor();
    await page.goto('/settings/tokens');
    await page.getByRole('button', { name: 'New token' }).click();
    await page.getByLabel('What it is for').fill('graphs');
    await page.getByRole('button', { name: 'Make it' }).click();
    const token = (await page.locator('.made').textContent()) ?? '';
    await page.keyboard.press('Escape');
    await page.getByRole('cell', { name: 'graphs' }).waitFor();
    const answer = await fetch(`${server.url}/api/v1/incidents`, { headers: { Authorization: `Bearer ${token.trim()}` } });
    expect(answer.status).toBe(200);
    await page.getByRole('button', { name: 'Revoke' }).click();
    await page.getByText('There is none').waitFor();
  });

  test('a viewer reads, and is offered nothing else', async () => {
    const other = await somebody(browser, server.url);
    await other.page.goto('/incidents');
    await login(other.page, 'vera', PASSWORD);
    await other.page.locator('.row a.title').first().click();
    await other.page.getByRole('heading', { name: 'Next steps' }).waitFor();
    expect(await other.page.getByRole('button', { name: /Acknowledge|Close…|Assign…/ }).count()).toBe(0);
    await other.page.goto('/hunt');
    await other.page.getByRole('heading', { name: 'Hunting is for analysts' }).waitFor();
    await other.page.goto('/settings/audit');
    await other.page.getByRole('heading', { name: 'This is for administrators' }).waitFor();
    expect(other.wrong).toEqual([]);
    await other.context.close();
  });

  test('what was done stands in the audit log, whose chain is whole', async () => {
    await page.goto('/settings/audit');
    await page.getByText('The chain is intact').waitFor();
    expect(await page.locator('.row').count()).toBeGreaterThan(5);
  });

  test('names are replaced in the pseudonymised view, and back', async () => {
    await page.goto('/settings');
    await page.getByLabel('Replace names for me').check();
    await page.locator('.tools .chip', { hasText: 'Pseudonyms' }).waitFor();
    await page.goto('/devices');
    await page.locator('.row .name').first().waitFor();
    expect((await page.locator('.row .name').allTextContents()).join(' ')).not.toContain('10.69.189.');
    await page.goto('/settings');
    await page.getByLabel('Replace names for me').uncheck();
    await page.locator('.tools .chip').waitFor({ state: 'detached' });
  });
});

describe('when things go wrong', () => {
  test('a wrong password is refused in words', async () => {
    const other = await somebody(browser, server.url);
    await other.page.goto('/');
    await login(other.page, 'anna', 'not this one, surely');
    await other.page.getByRole('alert').waitFor();
    await other.context.close();
  });

  test('a session that ended asks for the password over the page, and goes on there', async () => {
    await firstIncident();
    const url = page.url();
    await page.getByLabel('Comment', { exact: true }).fill('half a thought');
    await context.clearCookies();
    await page.getByRole('button', { name: 'Add', exact: true }).click();
    const dialog = page.getByRole('dialog', { name: 'Your session has ended' });
    await dialog.waitFor();
    await dialog.getByLabel('Password').fill(PASSWORD);
    await dialog.getByRole('button', { name: 'Log in' }).click();
    await dialog.waitFor({ state: 'detached' });
    expect(page.url()).toBe(url);
    expect(await page.getByLabel('Comment', { exact: true }).inputValue()).toBe('half a thought');
  });

  test('a server that is gone is told, and the page goes on when it is back', async () => {
    await page.goto('/incidents');
    await page.locator('.row a.title').first().waitFor();
    await server.stop();
    await page.locator('.banner').waitFor();
    expect(await page.locator('.row a.title').count()).toBeGreaterThan(0);
    await server.start();
    await page.locator('.banner').waitFor({ state: 'detached', timeout: 30_000 });
    // The demo outlives the server, with what was written about it.
    await page.goto('/incidents');
    await page.locator('.row a.title').first().waitFor();
    await page.getByText('Demo data set:').waitFor();
  });

  test('an address that leads nowhere says so', async () => {
    await page.goto('/nowhere/at/all');
    await heading('There is no such page').waitFor();
    await page.goto('/incidents/ffffffffffffffff');
    await heading('This incident is not here').waitFor();
  });
});

describe('everybody', () => {
  const PAGES = ['/incidents?below=1', '/devices', '/files', '/hunt', '/health', '/settings', '/settings/exceptions', '/settings/users', '/settings/tokens', '/settings/audit'];
  for (const light of [false, true]) {
    for (const phone of [false, true]) {
      test(`every page is accessible and fits, ${light ? 'light' : 'dark'}, ${phone ? 'on a phone' : 'on a desk'}`, async () => {
        const other = await somebody(browser, server.url, { light, phone, loose: true });
        // What is accessible in light colours on a desk and in dark ones on a phone is so the other way round.
        const isAccessible = light && phone ? async (): Promise<void> => {} : check;
        await other.page.goto('/incidents');
        await isAccessible(other.page, 'login');
        await login(other.page, 'anna', PASSWORD);
        await other.page.locator('.row a.title').first().waitFor();
        const incident = await other.page.locator('.row a.title').first().getAttribute('href');
        for (const path of [...PAGES, incident ?? '']) {
          await other.page.goto(path);
          await other.page.locator('h1').first().waitFor();
          await other.page.waitForLoadState('load');
          await other.page.waitForTimeout(250);
          await isAccessible(other.page, path);
          await fits(other.page, path);
        }
        await other.page.locator('.step .seen a[href*="evidence="]').first().click();
        await other.page.getByRole('dialog').waitFor();
        await isAccessible(other.page, 'evidence');
        await other.page.keyboard.press('Escape');
        await other.page.getByRole('button', { name: 'Normal here…' }).first().click();
        await other.page.getByRole('dialog').getByText(/of the last 30 days/).waitFor();
        await isAccessible(other.page, 'exception');
        await other.page.keyboard.press('Escape');
        await other.page.goto('/devices');
        await other.page.locator('.row .name').first().click();
        await other.page.getByRole('heading', { name: 'Pattern of life' }).waitFor();
        await isAccessible(other.page, 'one device');
        await fits(other.page, 'one device');
        await other.page.keyboard.press('Control+k');
        await isAccessible(other.page, 'palette');
        expect(other.wrong).toEqual([]);
        await other.context.close();
      });
    }
  }

  test('everything can be reached without a mouse', async () => {
    await page.goto('/incidents');
    await page.locator('.row a.title').first().waitFor();
    await page.keyboard.press('Tab');
    expect(await page.evaluate(() => document.activeElement?.textContent)).toContain('Skip');
    for (const [keys, title] of [['gd', /device/], ['gf', /file|Files/i], ['gh', 'Hunt'], ['ge', /promise/i], ['gs', 'Settings'], ['gi', /to look at/]] as const) {
      await page.evaluate(() => (document.activeElement as HTMLElement | null)?.blur());
      for (const key of keys) await page.keyboard.press(key);
      await heading(title).waitFor();
    }
    await page.keyboard.press('Control+k');
    await page.keyboard.type('audit');
    await page.keyboard.press('Enter');
    await page.getByText('The chain is intact').waitFor();
    await page.keyboard.press('?');
    await page.getByRole('dialog', { name: 'Keys' }).waitFor();
    await page.keyboard.press('Escape');
  });
});

/** A real drill on what a day of the lab's office taught, beside the demo. */
function drilled(): void {
  const state = join(server.state, 'drilled');
  const day = join(import.meta.dirname, '../../../../lab/captures/office-day.pcap.gz');
  const run = (...words: string[]): void => {
    const done = spawnSync(process.env['THYMUS'] ?? '', words, { encoding: 'utf8' });
    if ((done.status ?? 2) > 1) throw new Error(`thymus ${words.join(' ')}: ${done.stderr}`);
  };
  run('replay', '--quiet', '--state', state, day);
  run('drill', '--quiet', '--state', state, '--background', day, '--devices', '3');
  copyFileSync(join(state, 'drill.json'), join(server.state, 'store/demo/drill.json'));
}

describe('pictures', () => {
  test('of the README are made, and are small', async () => {
    mkdirSync(IMAGES, { recursive: true });
    const incident = async (view: Page): Promise<string> => {
      await view.goto('/incidents?below=1');
      await view.locator('.row a.title').first().waitFor();
      return (await view.locator('.row a.title').first().getAttribute('href')) ?? '';
    };
    const take = async (view: Page, name: string): Promise<void> => {
      await view.waitForTimeout(600);
      const path = `${IMAGES}/${name}.png`;
      await view.screenshot({ path });
      expect(statSync(path).size, name).toBeLessThan(250_000);
    };
    const desk = await somebody(browser, server.url);
    await enter(desk.page, 'anna', PASSWORD);
    const href = await incident(desk.page);
    await take(desk.page, 'incidents');
    await desk.page.goto(href);
    await desk.page.locator('svg .bar').first().waitFor();
    await take(desk.page, 'incident');
    await desk.page.getByRole('button', { name: 'Normal here…' }).first().click();
    await desk.page.getByRole('dialog').getByText(/of the last 30 days/).waitFor();
    await take(desk.page, 'exception');
    await desk.page.goto('/devices');
    await desk.page.locator('.row .name').first().click();
    await desk.page.getByRole('heading', { name: 'Pattern of life' }).waitFor();
    await take(desk.page, 'device');
    await desk.page.goto('/hunt');
    await desk.page.getByRole('button', { name: /Events over time/ }).first().click();
    await desk.page.locator('.uplot canvas').waitFor();
    await take(desk.page, 'hunt');
    drilled();
    await desk.page.goto('/health');
    await desk.page.getByRole('heading', { name: 'What would be found here' }).waitFor();
    await desk.page.getByText(/attacks tried/).waitFor();
    await desk.page.setViewportSize({ width: 1440, height: 1180 });
    await take(desk.page, 'health');
    await desk.context.close();
    const phone = await somebody(browser, server.url, { phone: true, light: true });
    await enter(phone.page, 'anna', PASSWORD);
    await phone.page.goto(await incident(phone.page));
    await phone.page.locator('svg .bar').first().waitFor();
    await take(phone.page, 'incident-phone');
    await phone.context.close();
  });
});

test('the demo data set is gone with one click, and nothing in the pages failed', async () => {
  await page.goto('/incidents');
  await page.getByRole('button', { name: 'Remove it' }).click();
  await heading(/Good. It is running.|Nothing asks for you/).waitFor();
  await page.getByRole('button', { name: 'Log out' }).click();
  await page.getByRole('button', { name: 'Log in' }).waitFor();
  expect(wrong).toEqual([]);
});
