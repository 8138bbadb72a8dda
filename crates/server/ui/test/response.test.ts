import { expect, test } from 'vitest';
import { standing } from '../src/lib/response.svelte';
import type { ResponseStanding } from '../src/lib/types';

const fine: ResponseStanding = { is_set_up: true, is_running: true, why_not: null, mode: 'approve', acts: true, is_halted: false, trouble: null, policy_trouble: null, pending: 1, active: 2, over: 9, devices: 40, never: [] };

test('how the response stands is one sentence, the worst first', () => {
  expect(standing(undefined)).toBeNull();
  expect(standing({ ...fine, is_set_up: false })).toBeNull();
  expect(standing(fine)).toEqual({ text: '1 question to answer, 2 actions in force.', isBad: false });
  expect(standing({ ...fine, acts: false, pending: 0, active: 0 })?.text).toContain('only simulates');
  expect(standing({ ...fine, acts: false })?.text).toContain('2 actions');
  expect(standing({ ...fine, trouble: 'nft is missing', is_running: false })).toEqual({ text: 'Nobody carries decisions out. 1 question to answer, 2 actions in force.', isBad: true });
  expect(standing({ ...fine, policy_trouble: 'mode: perhaps' })).toEqual({ text: 'The policy: mode: perhaps', isBad: true });
  expect(standing({ ...fine, is_halted: true, trouble: 'x' })?.text).toContain('taken back');
});
