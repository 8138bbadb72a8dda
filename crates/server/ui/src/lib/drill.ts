// What drills said, in words.

import { count } from './format';
import type { DrillScenario } from './types';

type Size = DrillScenario['sizes'][number];
/** `30 ports`, `1 port`. */
export const sized = (n: number, unit: string): string => `${count(n)} ${n === 1 && unit.endsWith('s') && !unit.endsWith('ss') ? unit.slice(0, -1) : unit}`;

/** The smallest size that was found on every device; else the largest with how many it was found on. */
export function reach(scenario: DrillScenario): { isAll: boolean; text: string } {
  const all = scenario.sizes.find((size) => size.of > 0 && size.found === size.of);
  if (all) return { isAll: true, text: `from ${sized(all.size, scenario.unit)} on` };
  const last: Size | undefined = scenario.sizes[scenario.sizes.length - 1];
  if (!last || last.found === 0) return { isAll: false, text: last ? `not even ${sized(last.size, scenario.unit)}` : 'not tried' };
  return { isAll: false, text: `${sized(last.size, scenario.unit)} on ${count(last.found)} of ${count(last.of)}` };
}

/** The detector that found it on most devices. */
export function finder(scenario: DrillScenario): string | null {
  const times = new Map<string, number>();
  for (const one of scenario.tried) if (one.detector) times.set(one.detector, (times.get(one.detector) ?? 0) + 1);
  return [...times].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1))[0]?.[0] ?? null;
}

/** One sentence over all attacks. */
export function summary(scenarios: DrillScenario[]): string {
  const found = scenarios.filter((one) => reach(one).isAll).length;
  const n = scenarios.length;
  if (found === n) return n === 1 ? 'The attack tried is found on every device at some size' : `All ${count(n)} attacks tried are found on every device at some size`;
  return `${count(found)} of ${count(n)} attacks tried ${found === 1 ? 'is' : 'are'} found on every device at some size`;
}
