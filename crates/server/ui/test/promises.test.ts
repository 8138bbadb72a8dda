import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { STANDING, headline, meaning, ranked } from '../src/lib/promises';
import type { DetectorHealth } from '../src/lib/types';

const one = (state: string, more: Partial<DetectorHealth> = {}): DetectorHealth => ({ id: state, title: state, state, promised: 0.01, measured: 0, hours: 500, ...more });

test('the states are told in the words of the program', () => {
  const audit = readFileSync(new URL('../../../detect/src/audit.rs', import.meta.url), 'utf8');
  const words = [...audit.matchAll(/Self::(\w+) => "([^"]+)"/g)].map(([, name, text]): [string, string] => [(name ?? '').replace(/(?<=.)[A-Z]/g, (letter) => `_${letter}`).toLowerCase(), text ?? '']);
  expect(STANDING).toEqual(Object.fromEntries(words));
});

test('the headline claims no more than what was measured', () => {
  expect(headline([])).toBe('No promise has been measured yet');
  expect(headline([one('learning')])).toBe('No promise has been measured yet');
  expect(headline([one('ok'), one('ok')])).toBe('Every detector keeps its promise');
  expect(headline([one('ok'), one('so_far')])).toBe('Every detector keeps its promise so far');
  expect(headline([one('ok'), one('learning')])).toBe('1 detector measured, all keep their promise');
  expect(headline([one('ok'), one('within_chance')])).toBe('No promise is broken; 1 detector is above what it promised, within chance');
  expect(headline([one('ok'), one('above'), one('within_chance')])).toBe('1 detector is above its promise, none is demoted');
  expect(headline([one('demoted'), one('demoted'), one('disabled')])).toBe('2 detectors broke their promise and are demoted, 1 is switched off');
});

test('the worst comes first', () => {
  expect(ranked([one('ok'), one('learning'), one('demoted'), one('within_chance'), one('so_far'), one('disabled'), one('above')]).map((each) => each.state)).toEqual(['disabled', 'demoted', 'above', 'within_chance', 'so_far', 'ok', 'learning']);
});

test('what is above its promise says by how much, and what that means', () => {
  const chance = meaning(one('within_chance', { measured: 1 / 49, interval: [0.006, 0.05] }), 0) ?? '';
  expect(chance).toContain('2.0 times as often as promised');
  expect(chance).toContain('1 in 170 to 1 in 20');
  const now = Date.parse('2026-01-11T00:00:00Z');
  const demoted = meaning(one('demoted', { measured: 0.04, weight: 4, demoted_since: '2026-01-10T00:00:00Z' }), now) ?? '';
  expect(demoted).toContain('Demoted for 1 d: of late it speaks 4.0 times as often as promised, so what it says is weighed 4.0 times less');
  expect(meaning(one('ok'), 0)).toBeNull();
});
