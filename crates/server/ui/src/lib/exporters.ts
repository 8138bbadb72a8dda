// What is wrong with an exporter, and what to do about it.

import { count, counted, duration, share } from './format';
import type { Exporter } from './types';

export function troubles(it: Exporter): string[] {
  const out: string[] = [];
  const missing = it.templates_missing + it.waiting;
  const isFlow = it.kinds.some((kind) => kind !== 'syslog') || it.datagrams > 0;
  if (it.unreadable > 0 && it.kinds.length === 0) out.push(`Nothing that came from it could be read (${counted(it.unreadable, 'datagram')}): does it send another format, or to another port?`);
  else if (it.unreadable > 0) out.push(`${isFlow ? counted(it.unreadable, 'datagram or part of one', 'datagrams or parts of them') : counted(it.unreadable, 'message')} could not be read.`);
  if (missing > 0) out.push(`${counted(missing, 'set')} of records came without a template: ${it.waiting > 0 ? `${count(it.waiting)} still ${it.waiting === 1 ? 'waits' : 'wait'}` : ''}${it.waiting > 0 && it.templates_missing > 0 ? ', ' : ''}${it.templates_missing > 0 ? `${count(it.templates_missing)} given up` : ''}. Let it repeat its templates every minute.`);
  if (it.templates_refused > 0) out.push(`${counted(it.templates_refused, 'template')} could not be kept: broken, or more than there is room for.`);
  if (it.lost > 0) {
    const what = it.kinds.some((kind) => /v5|IPFIX/.test(kind)) ? 'record' : 'datagram';
    const all = it.lost + (what === 'record' ? it.records : it.datagrams);
    out.push(`${counted(it.lost, what)} ${it.lost === 1 ? 'was' : 'were'} sent and did not arrive (${share(it.lost / Math.max(all, 1))}): the way here or the buffer of a device on it is too narrow.`);
  }
  if (it.clock_shift_secs !== 0) out.push(`Its clock is ${duration(Math.abs(it.clock_shift_secs) * 1000)} ${it.clock_shift_secs > 0 ? 'behind' : 'ahead'}; its times are moved by that. Give it a time server.`);
  if (it.times_not_believed > 0) out.push(`${counted(it.times_not_believed, 'record')} had times that no flow can have; the time of their export stands for them.`);
  return out;
}

/** What is so, and no fault. */
export function remarks(it: Exporter): string[] {
  const out: string[] = [];
  if (it.sampling > 1) out.push(`It looks at one packet in ${count(it.sampling)}: a scan through it is mostly not seen.`);
  if (it.programs.length > 0) out.push(`Messages not judged: ${it.programs.map((one) => `${one.program} ${count(one.not_judged)}`).join(', ')}.`);
  return out;
}
