// What is done about incidents: how it stands, for every page that says so.

import { get } from './api';
import { Resource } from './resource.svelte';
import type { Decision, ResponseStanding } from './types';

export const response = new Resource<ResponseStanding>((signal) => get<ResponseStanding>('/response', {}, signal));

/** Where a decision stands, in words. */
export const STATE_TITLE: Record<string, string> = {
  simulated: 'Only written down',
  pending: 'Waits for an answer',
  active: 'In force',
  denied: 'Denied',
  lapsed: 'Nobody answered',
  cleared: 'Taken back',
  expired: 'Time is over',
  refused: 'Refused',
  undone: 'Undone by itself',
};

/** Whether it once held, or never did. */
export const wasInForce = (one: Decision): boolean => one.began_at !== null && one.began_at !== undefined;

/** How long is left: `41:07` within the hour, `3 h 05 min` within the day. */
export function left(ms: number): string {
  const s = Math.max(0, Math.ceil(ms / 1000));
  const two = (n: number): string => String(n).padStart(2, '0');
  const [d, h, m] = [Math.floor(s / 86_400), Math.floor(s / 3600) % 24, Math.floor(s / 60) % 60];
  if (d) return `${d} d ${h} h`;
  if (h) return `${h} h ${two(m)} min`;
  return `${m}:${two(s % 60)}`;
}

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** Times in what others wrote are for machines: here they are left to the time beside them. */
export const plainly = (what: string): string => what.replace(/ until \d{4}-\d\d-\d\dT[\d:.]+Z$/, '');
