// What is said of the promises of detectors: each is called what it is, and no better.

import { count, counted, duration, rate } from './format';
import type { DetectorHealth } from './types';

/** The states in the words of the program (crates/detect/src/audit.rs); a unit test compares both. */
export const STANDING: Record<string, string> = {
  ok: 'keeps its promise',
  so_far: 'kept so far',
  learning: 'too early to say',
  within_chance: 'above its promise, within chance',
  above: 'above its promise',
  demoted: 'demoted',
};

const RANK = ['disabled', 'demoted', 'above', 'within_chance', 'so_far', 'ok', 'learning'];
const rank = (one: DetectorHealth): number => {
  const index = RANK.indexOf(one.state);
  return index < 0 ? RANK.indexOf('ok') : index;
};
const excess = (one: DetectorHealth): number => (one.measured ?? 0) / (one.promised || 1);

/** The worst first, and of those alike the one that speaks most. */
export const ranked = (detectors: DetectorHealth[]): DetectorHealth[] => [...detectors].sort((a, b) => rank(a) - rank(b) || excess(b) - excess(a) || (b.hours ?? 0) - (a.hours ?? 0) || (a.id < b.id ? -1 : 1));

export const standing = (one: DetectorHealth): string => {
  const text = one.words ?? STANDING[one.state] ?? (one.state === 'disabled' ? 'switched off' : one.state.replaceAll('_', ' '));
  return text.charAt(0).toUpperCase() + text.slice(1);
};

/** One sentence over all of them. */
export function headline(detectors: DetectorHealth[]): string {
  const n = (...states: string[]): number => detectors.filter((one) => states.includes(one.state)).length;
  const is = (many: number): string => (many === 1 ? 'is' : 'are');
  const [off, demoted, above, chance, kept, soFar] = [n('disabled'), n('demoted'), n('above'), n('within_chance'), n('ok'), n('so_far')];
  if (off + demoted > 0) {
    const parts = [];
    if (demoted > 0) parts.push(`${counted(demoted, 'detector')} ${demoted === 1 ? 'broke its promise and is' : 'broke their promise and are'} demoted`);
    if (off > 0) parts.push(demoted > 0 ? `${count(off)} ${is(off)} switched off` : `${counted(off, 'detector')} ${is(off)} switched off`);
    return parts.join(', ');
  }
  if (above > 0) return `${counted(above, 'detector')} ${is(above)} above ${above === 1 ? 'its' : 'their'} promise, none is demoted`;
  if (chance > 0) return `No promise is broken; ${counted(chance, 'detector')} ${is(chance)} above what ${chance === 1 ? 'it' : 'they'} promised, within chance`;
  if (kept + soFar === 0) return 'No promise has been measured yet';
  const whose = kept + soFar === detectors.length ? 'Every detector keeps its promise' : `${counted(kept + soFar, 'detector')} measured, all keep their promise`;
  return soFar > 0 ? `${whose} so far` : whose;
}

/** How often chance alone would do this, for people. */
const seldom = (hours: number): string => (hours < 36 ? `every ${Math.max(1, Math.round(hours))} hours` : hours < 24 * 60 ? `every ${Math.round(hours / 24)} days` : hours < 8766 * 2 ? `every ${Math.round(hours / 730)} months` : `in ${count(Math.round(hours / 8766))} years`);

/** What the state of a detector means; nothing where its words say it all. */
export function meaning(one: DetectorHealth, now: number): string | null {
  const times = excess(one);
  const often = times >= 1.05 ? `${times < 10 ? times.toFixed(1) : Math.round(times)} times as often as promised` : 'as often as promised';
  if (one.state === 'demoted') {
    const since = one.demoted_since ? Date.parse(one.demoted_since) : Number.NaN;
    const when = Number.isNaN(since) ? '' : ` for ${duration(now - since)}`;
    return `Demoted${when}: of late it speaks ${often}, so what it says is weighed ${(one.weight ?? 1).toFixed(1)} times less. Strong evidence still counts; weak evidence alone makes no incident any more. It is weighed in full again once it keeps its promise, after 1,000 device-hours at the earliest.`;
  }
  if (one.state === 'disabled') return 'It failed and was switched off: what only it would find is not found. Please report it.';
  const [low, high] = one.interval ?? [0, 0];
  if (high <= 0) return null;
  const fit = `What was counted fits any rate from ${low > 0 ? rate(low) : 'none'} to ${rate(high)}`;
  if (one.state === 'within_chance') return `It speaks ${often}, but too little was seen to say that it breaks its promise: ${fit.charAt(0).toLowerCase()}${fit.slice(1)}. It counts in full.`;
  if (one.state !== 'above') return null;
  const chance = one.by_chance_hours && one.by_chance_hours > 1 ? ` Chance alone brings this about once ${seldom(one.by_chance_hours)}; a detector is demoted at once in 570 years.` : '';
  return `It speaks ${often}. ${fit}, all above what was promised. It still counts in full.${chance}`;
}
