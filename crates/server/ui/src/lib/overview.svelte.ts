import { get } from './api';
import { Resource } from './resource.svelte';
import type { Overview } from './types';

/** The share of what passed that was judged; nothing while nothing passed. */
export function judgedShare(coverage: Record<string, unknown> | null | undefined): number | null {
  if (!coverage) return null;
  if (typeof coverage['judged_share'] === 'number') return coverage['judged_share'];
  const number = (key: string): number => (typeof coverage[key] === 'number' ? (coverage[key] as number) : 0);
  const all = number('packets') + number('records');
  return all > 0 ? (number('packets_judged') + number('records_judged')) / all : null;
}

/** What the frame and several pages say of the whole. */
export const overview = new Resource<Overview>((signal) => get<Overview>('/overview', {}, signal));
