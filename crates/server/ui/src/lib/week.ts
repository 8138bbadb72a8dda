/** Turns the hours of a week from UTC (Monday 00 first) to a zone, as `Date.getTimezoneOffset` gives
 * it. Zones that are half an hour off are rounded to the hour. */
export function localWeek(hours: number[], offsetMinutes: number): number[] {
  const shift = Math.round(-offsetMinutes / 60);
  return Array.from({ length: 168 }, (_, index) => hours[(((index - shift) % 168) + 168) % 168] ?? 0);
}
