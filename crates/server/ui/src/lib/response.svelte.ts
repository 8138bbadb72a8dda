// What is done about incidents: how it stands, for every page that says so.

import { get } from './api';
import { counted } from './format';
import { Resource } from './resource.svelte';
import type { Decision, ResponseStanding } from './types';

export const response = new Resource<ResponseStanding>((signal) => get<ResponseStanding>('/response', {}, signal));

/** How it stands as a sentence, and whether somebody has to see to it; nothing where there never was an enforcer. */
export function standing(one: ResponseStanding | undefined): { text: string; isBad: boolean } | null {
  if (!one?.is_set_up) return null;
  const open = `${counted(one.pending, 'question')} to answer, ${counted(one.active, 'action')} in force.`;
  if (one.is_halted) return { text: 'Everything was taken back, and nothing is carried out.', isBad: true };
  if (!one.is_running) return { text: `Nobody carries decisions out. ${open}`, isBad: true };
  if (one.trouble || one.policy_trouble) return { text: `${one.trouble ?? `The policy: ${one.policy_trouble}`}`, isBad: true };
  if (one.acts === false && one.pending + one.active === 0) return { text: 'The policy only simulates: nothing is cut.', isBad: false };
  return { text: open, isBad: false };
}

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
