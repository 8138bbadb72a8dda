// Times are shown in the reader's own zone; the hover says UTC, which is what logs elsewhere say.

class Clock {
  now = $state(Date.now());
  constructor() {
    setInterval(() => (this.now = Date.now()), 30_000);
  }
}

export const clock = new Clock();

const two = (n: number): string => String(n).padStart(2, '0');
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

export const at = (text: string | number | null | undefined): Date | null => {
  if (text === null || text === undefined || text === '') return null;
  const date = new Date(text);
  // The beginning of 1970 is what is sent where nothing is known.
  return Number.isNaN(date.getTime()) || date.getTime() <= 0 ? null : date;
};

export const clockTime = (d: Date, seconds = false): string =>
  `${two(d.getHours())}:${two(d.getMinutes())}${seconds ? `:${two(d.getSeconds())}` : ''}`;

export function dayText(d: Date, now: number): string {
  const year = new Date(now).getFullYear() === d.getFullYear() ? '' : ` ${d.getFullYear()}`;
  return `${d.getDate()} ${MONTHS[d.getMonth()]}${year}`;
}

const sameDay = (a: Date, b: Date): boolean => a.toDateString() === b.toDateString();

/** `16:13` today, `13 May 16:13` on another day. */
export function shortTime(d: Date, now: number, seconds = false): string {
  return sameDay(d, new Date(now)) ? clockTime(d, seconds) : `${dayText(d, now)} ${clockTime(d, seconds)}`;
}

export function utc(d: Date): string {
  return `${d.toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}

export function ago(d: Date, now: number): string {
  const s = Math.round((now - d.getTime()) / 1000);
  if (s < -60) return 'ahead of now';
  if (s < 60) return 'just now';
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ago`;
  if (s < 45 * 86_400) return `${Math.floor(s / 86_400)} d ago`;
  return dayText(d, now);
}

/** From first to last, without saying the day twice. */
export function span(first: string, last: string, now: number): string {
  const [a, b] = [at(first), at(last)];
  if (!a || !b) return '';
  if (b.getTime() - a.getTime() < 60_000) return shortTime(a, now);
  return sameDay(a, b) ? `${shortTime(a, now)}–${clockTime(b)}` : `${shortTime(a, now)} – ${shortTime(b, now)}`;
}
