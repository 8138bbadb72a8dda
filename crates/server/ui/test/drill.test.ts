import { expect, test } from 'vitest';
import { finder, reach, sized, summary } from '../src/lib/drill';
import { remarks, troubles } from '../src/lib/exporters';
import type { DrillScenario, Exporter } from '../src/lib/types';

const scenario = (found: number[], more: Partial<DrillScenario> = {}): DrillScenario => ({
  id: 'port_scan',
  title: 'Port scan',
  unit: 'ports',
  at: '2026-01-01T00:00:00Z',
  sizes: found.map((n, index) => ({ size: 10 ** (index + 1), found: n, of: 5, interval: [0, 1] })),
  devices_tried: 5,
  devices_known: 28,
  background_events: 1000,
  learned_until: '2026-01-01T00:00:00Z',
  tried: [],
  ...more,
});

test('a drill says from what size on, and never more than it found', () => {
  expect(reach(scenario([0, 4, 5]))).toEqual({ isAll: true, text: 'from 1,000 ports on' });
  expect(reach(scenario([0, 1, 2]))).toEqual({ isAll: false, text: '1,000 ports on 2 of 5' });
  expect(reach(scenario([0, 0, 0]))).toEqual({ isAll: false, text: 'not even 1,000 ports' });
  expect(summary([scenario([5]), scenario([0])])).toBe('1 of 2 attacks tried is found on every device at some size');
  expect(sized(1, 'ports')).toBe('1 port');
  const by = (detector: string | null): DrillScenario['tried'][number] => ({ device: 'device:10.0.0.1', name: 'a', detector });
  expect(finder(scenario([5], { tried: [by('beacon'), by('scan_vertical'), by('scan_vertical'), by(null)] }))).toBe('scan_vertical');
  expect(finder(scenario([0]))).toBeNull();
});

test('what is wrong with an exporter is said with what to do', () => {
  const exporter: Exporter = { exporter: '192.0.2.1', kinds: ['NetFlow v9'], datagrams: 98, records: 3000, counter_samples: 0, options: 0, templates: 2, templates_refused: 0, templates_missing: 0, waiting: 0, unreadable: 0, lost: 0, times_not_believed: 0, clock_shift_secs: 0, sampling: 1, programs: [] };
  expect([...troubles(exporter), ...remarks(exporter)]).toEqual([]);
  expect(troubles({ ...exporter, lost: 2 })[0]).toContain('2 datagrams were sent and did not arrive (2.0 %)');
  expect(troubles({ ...exporter, waiting: 1, templates_missing: 3 })[0]).toContain('4 sets of records came without a template: 1 still waits, 3 given up.');
  expect(troubles({ ...exporter, kinds: [], unreadable: 7 })[0]).toContain('Nothing that came from it could be read (7 datagrams)');
  expect(troubles({ ...exporter, clock_shift_secs: -7200 })[0]).toContain('Its clock is 2 h ahead');
  expect(remarks({ ...exporter, sampling: 1000, programs: [{ program: 'cron', not_judged: 5 }] })).toEqual(['It looks at one packet in 1,000: a scan through it is mostly not seen.', 'Messages not judged: cron 5.']);
});
