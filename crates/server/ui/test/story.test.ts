import { readFileSync, readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DETECTORS } from '../src/lib/detectors';
import { lanesOf, mapOf, picture, stepsOf, ticksOf } from '../src/lib/story';
import { TECHNIQUES } from '../src/lib/techniques';
import type { Alert, Phase } from '../src/lib/types';

const alert = (id: string, detector: string, phase: Phase, minute: number, peers: Alert['peers'], p = 3): Alert => ({
  id,
  detector,
  entity: 'device:10.0.0.7',
  peers,
  phase,
  techniques: [],
  first_seen: new Date(Date.UTC(2025, 4, 13, 10, minute)).toISOString(),
  last_seen: new Date(Date.UTC(2025, 4, 13, 10, minute + 1)).toISOString(),
  p_value: p,
  calibrated_by: 'site',
  discovered: true,
  evidence: [],
});
const target = (n: number): Alert['peers'][number] => ({ role: 'target', entity: `device:10.0.1.${n}` });
const ALERTS = [
  alert('c', 'lateral_movement', 'lateral', 30, [target(1)]),
  alert('a', 'scan_vertical', 'reconnaissance', 5, [target(1)], 2),
  alert('b', 'scan_vertical', 'reconnaissance', 6, [target(2)], 4),
  alert('d', 'beacon', 'control', 7, [{ role: 'controller', entity: 'external:evil.example' }]),
  alert('e', 'exfiltration', 'exfiltration', 40, [{ role: 'controller', entity: 'external:drop.example' }]),
];
const INCIDENT = { affected: [{ entity: 'device:10.0.0.7', name: 'desk', aliases: [], suspected: true }] };

test('alerts of one detector about one device are one step, told by the rarest', () => {
  const steps = stepsOf(ALERTS);
  expect(steps.map((step) => step.detector)).toEqual(['scan_vertical', 'beacon', 'lateral_movement', 'exfiltration']);
  expect(steps[0]?.lead.id).toBe('b');
  expect(steps[0]?.peers).toHaveLength(2);
});

test('who steers stands outside, who acts is suspected, who is acted on comes last', () => {
  const { lanes } = lanesOf(INCIDENT, stepsOf(ALERTS));
  expect(lanes.map((lane) => lane.group)).toEqual(['outside', 'outside', 'suspected', 'target', 'target']);
  expect(lanes[2]?.name).toBe('desk');
});

test('a sweep over many shares one lane for the rest', () => {
  const sweep = alert('s', 'scan_horizontal', 'reconnaissance', 1, Array.from({ length: 200 }, (_, n) => target(n)));
  const { lanes, of } = lanesOf(INCIDENT, stepsOf([sweep]));
  expect(lanes[lanes.length - 1]).toMatchObject({ group: 'more', name: '192 more' });
  expect(of.size).toBe(201);
});

test('the picture is the same each time, in the order of the alerts or not', () => {
  const draw = (alerts: Alert[]): string => JSON.stringify(picture(INCIDENT, stepsOf(alerts), 1000, 180, (alert) => alert.detector));
  expect(draw(ALERTS)).toBe(draw([...ALERTS].reverse()));
});

test('bars of a lane do not lie on each other, and nothing leaves the picture', () => {
  const many = Array.from({ length: 40 }, (_, n) => alert(`m${n}`, `detector_${n}`, 'reconnaissance', n % 3, [target(n)]));
  const drawn = picture(INCIDENT, stepsOf(many), 1000, 180, (alert) => alert.detector);
  for (const bar of drawn.bars) {
    expect(bar.x).toBeGreaterThanOrEqual(180);
    expect(bar.x + bar.width).toBeLessThanOrEqual(1000);
    for (const other of drawn.bars) if (other !== bar && other.y === bar.y) expect(other.x + other.width <= bar.x || bar.x + bar.width <= other.x).toBe(true);
  }
});

test('in the map what steers comes from outside and what leaks goes there', () => {
  const { edges } = mapOf(INCIDENT, stepsOf(ALERTS), 900);
  const ends = edges.map((edge) => `${edge.from} > ${edge.to}`);
  expect(ends).toContain('external:evil.example > device:10.0.0.7');
  expect(ends).toContain('device:10.0.0.7 > external:drop.example');
});

test('ticks are few and round', () => {
  const first = Date.UTC(2025, 4, 13, 10, 3);
  const ticks = ticksOf(first, first + 4 * 3_600_000, 6);
  expect(ticks).toHaveLength(4);
  expect(ticks.every((tick) => tick % 3_600_000 === 0)).toBe(true);
});

test('ten thousand alerts are grouped and drawn at once', () => {
  const many = Array.from({ length: 10_000 }, (_, n) => alert(`m${n}`, `d${n % 20}`, 'reconnaissance', n % 600, [target(n % 250)]));
  const drawn = picture(INCIDENT, stepsOf(many), 1000, 180, (alert) => alert.detector);
  expect(drawn.bars).toHaveLength(20);
});

// Names that the program has, too: they must not drift apart.
const ROOT = new URL('../../../../', import.meta.url);

test('the techniques are those of the program', () => {
  const source = readFileSync(new URL('crates/schema/src/technique.rs', ROOT), 'utf8');
  const rows = [...source.matchAll(/^ {4}"(T[\d.]+)" "([^"]+)",/gm)].map((match) => [match[1], match[2]]);
  expect(rows.length).toBeGreaterThan(50);
  expect(TECHNIQUES).toEqual(Object.fromEntries(rows));
});

test('the titles of the detectors are those of the program', () => {
  const folder = new URL('crates/detect/src/detectors/', ROOT);
  const rows = readdirSync(folder)
    .filter((name) => name.endsWith('.rs'))
    .map((name) => /id: "([a-z0-9_]+)",\s*title: "([^"]+)"/.exec(readFileSync(new URL(name, folder), 'utf8')))
    .filter((match) => match !== null)
    .map((match) => [match[1], match[2]]);
  expect(rows.length).toBeGreaterThan(30);
  expect(DETECTORS).toEqual(Object.fromEntries(rows));
});
