import { describe, expect, test } from 'vitest';
import { byChance, bytes, count, counted, duration, likeHarmless, oneIn, rate, share } from '../src/lib/format';

describe('rarity', () => {
  test('a p-value reads as one in so many device-hours', () => {
    expect(oneIn(4.301)).toBe('1 in 20,000');
    expect(oneIn(2.67)).toBe('1 in 470');
    expect(oneIn(0)).toBe('1 in 1');
    expect(oneIn(6.5)).toBe('1 in 3.2 million');
    expect(oneIn(9)).toBe('1 in 1 billion');
    expect(oneIn(30)).toBe('rarer than 1 in a trillion');
  });
  test('chance is told for the network at hand', () => {
    expect(byChance(4.301, 27)).toBe('by chance about once in 31 days with 27 devices');
    expect(byChance(2, 500)).toBe('by chance about 120 times a day with 500 devices');
    expect(byChance(30, 27)).toBe('by chance less than once in a century with 27 devices');
    expect(byChance(3, 0)).toBeNull();
  });
  test('a promised rate reads the same way, and none is said as none', () => {
    expect(rate(1 / 4000)).toBe('1 in 4,000');
    expect(rate(0)).toBe('none');
    expect(rate(null)).toBe('–');
  });
});

test('a share that is not whole never reads as whole', () => {
  expect(share(0.99996)).toBe('99.99 %');
  expect(share(1)).toBe('100 %');
  expect(share(0)).toBe('0 %');
  expect(share(0.00001)).toBe('< 0.01 %');
  expect(share(null)).toBe('not known');
});

test('numbers are grouped and carry their unit', () => {
  expect(count(1234567)).toBe('1,234,567');
  expect(count(undefined)).toBe('–');
  expect(counted(1, 'device')).toBe('1 device');
  expect(counted(0, 'entry', 'entries')).toBe('0 entries');
  expect(bytes(999)).toBe('999 B');
  expect(bytes(1_500_000)).toBe('1.5 MB');
  expect(bytes(81_000_000_000)).toBe('81 GB');
  expect(duration(250_000)).toBe('4 min 10 s');
  expect(duration(0)).toBe('at once');
});

test('how a file compares with harmless ones is said in the fewest digits', () => {
  expect(likeHarmless(0.00010445)).toBe('1 in 9,600 harmless files looks');
  expect(likeHarmless(0.42)).toBe('42 % of harmless files look');
});
