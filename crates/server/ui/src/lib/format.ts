// Numbers as people write them, in the words of the reports of the command line.

import type { Confidence, Phase } from './types';

const grouping = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

export const count = (n: number | null | undefined): string =>
  n === null || n === undefined || !Number.isFinite(n) ? '–' : grouping.format(n);

/** `1 device`, `2 devices`. */
export const counted = (n: number, noun: string, plural = `${noun}s`): string =>
  `${count(n)} ${n === 1 ? noun : plural}`;

export function bytes(n: number | null | undefined): string {
  if (n === null || n === undefined || !Number.isFinite(n)) return '–';
  let value = n;
  for (const unit of ['B', 'kB', 'MB', 'GB', 'TB']) {
    if (value < 999.5 || unit === 'TB') {
      return unit === 'B' ? `${Math.round(value)} B` : `${value < 9.95 ? value.toFixed(1) : Math.round(value)} ${unit}`;
    }
    value /= 1000;
  }
  return '';
}

export function share(x: number | null | undefined): string {
  if (x === null || x === undefined || !Number.isFinite(x)) return 'not known';
  const percent = x * 100;
  if (percent === 0 || percent === 100) return `${percent} %`;
  if (percent > 99) return `${(Math.floor(percent * 100) / 100).toFixed(2)} %`;
  if (percent < 1) return percent < 0.01 ? '< 0.01 %' : `${percent.toFixed(2)} %`;
  return `${percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

/** Two significant digits: a p-value is not known better than that. */
function rounded(n: number): number {
  if (n < 10) return Math.max(1, Math.round(n));
  const scale = 10 ** (Math.floor(Math.log10(n)) - 1);
  return Math.round(n / scale) * scale;
}

/** How many ordinary device-hours there are for one like this; `p` is −log10. */
export const oddsOf = (p: number): number => 10 ** Math.min(p, 300);

/** "1 in 20,000"; `p` is −log10 of the p-value, as everywhere in the interface. */
export function oneIn(p: number): string {
  if (p >= 12) return 'rarer than 1 in a trillion';
  const n = rounded(oddsOf(p));
  if (n <= 1) return '1 in 1';
  if (n >= 1e9) return `1 in ${trimmed(n / 1e9)} billion`;
  if (n >= 1e6) return `1 in ${trimmed(n / 1e6)} million`;
  return `1 in ${count(n)}`;
}

const trimmed = (x: number): string => (x < 10 ? x.toFixed(1).replace(/\.0$/, '') : String(Math.round(x)));

/** How often chance alone would show this here: "about once in 3 days with 27 devices". */
export function byChance(p: number, devices: number): string | null {
  if (devices < 1) return null;
  const days = oddsOf(p) / (devices * 24);
  const many = `with ${counted(devices, 'device')}`;
  if (days > 36_500) return `by chance less than once in a century ${many}`;
  if (days >= 730) return `by chance about once in ${rounded(days / 365.25)} years ${many}`;
  if (days >= 60) return `by chance about once in ${rounded(days / 30.4)} months ${many}`;
  if (days >= 1.5) return `by chance about once in ${Math.round(days)} days ${many}`;
  if (days >= 0.67) return `by chance about once a day ${many}`;
  return `by chance about ${rounded(1 / days)} times a day ${many}`;
}

/** What part of the harmless files looks as bad: `1 in 9,600 harmless files looks`, `42 % of harmless files look`. */
export function likeHarmless(benignShare: number): string {
  if (benignShare >= 0.05) return `${share(benignShare)} of harmless files look`;
  return `1 in ${count(rounded(1 / Math.max(benignShare, 1e-7)))} harmless files looks`;
}

export const CALIBRATED: Record<string, string> = {
  entity: 'its own earlier hours',
  peers: 'hours of devices like it',
  site: 'hours of this network',
  shipped: 'ordinary networks elsewhere, because this one is not known well enough yet',
};

export const PHASES: Phase[] = [
  'reconnaissance',
  'access',
  'credentials',
  'control',
  'lateral',
  'exfiltration',
  'impact',
];

export const PHASE_TITLE: Record<Phase, string> = {
  unusual: 'Unusual behaviour',
  reconnaissance: 'Reconnaissance',
  access: 'Initial access',
  credentials: 'Credential access',
  control: 'Command and control',
  lateral: 'Lateral movement',
  exfiltration: 'Exfiltration',
  impact: 'Impact',
};

export const CONFIDENCE_TITLE: Record<Confidence, string> = {
  high: 'Look now',
  medium: 'Look today',
  low: 'Worth knowing',
};

export const OUTCOME_TITLE: Record<string, string> = {
  malicious: 'Malicious',
  suspicious: 'Suspicious',
  clean: 'Clean',
  not_judged: 'Not judged',
};

export const VERDICT_TITLE: Record<string, string> = {
  attack: 'Attack',
  harmless: 'Harmless',
  wrong: 'False alarm',
};

export const words = (snake: string): string => {
  const text = snake.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
};

export function duration(ms: number): string {
  const s = Math.max(0, ms) / 1000;
  if (s < 0.001) return 'at once';
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  const whole = Math.round(s);
  const [d, h, m, sec] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const pair = (a: number, ua: string, b: number, ub: string): string => (b ? `${a} ${ua} ${b} ${ub}` : `${a} ${ua}`);
  if (d) return pair(d, 'd', h, 'h');
  if (h) return pair(h, 'h', m, 'min');
  if (m) return pair(m, 'min', sec, 's');
  return `${sec} s`;
}

/** A promise or a measurement of false alarms: alarms of one device in one hour. */
export function rate(perDeviceHour: number | null | undefined): string {
  if (perDeviceHour === null || perDeviceHour === undefined) return '–';
  if (perDeviceHour <= 0) return 'none';
  return `1 in ${count(rounded(1 / perDeviceHour))}`;
}
