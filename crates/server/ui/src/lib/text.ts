// Text from the wire. It is never markup (Svelte escapes it), but it can still lie to the eye: control
// characters, marks that turn the direction of what follows, letters without width. They are shown as
// what they are.

// Control characters, soft hyphen, joiners and marks without width, directional marks, line separators,
// the byte order mark, the specials of the interlinear block and unassigned tags.
const HIDDEN =
  /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb]|[\u{e0000}-\u{e0fff}]/gu;

export function legible(text: unknown): string {
  const raw = typeof text === 'string' ? text : text === null || text === undefined ? '' : String(text);
  return raw.replace(HIDDEN, (letter) => `⟨${(letter.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(2, '0')}⟩`);
}

/** The middle left out, so that beginning and end of a long name stay. */
export function shortened(text: string, max: number): string {
  const letters = [...text];
  if (letters.length <= max) return text;
  const head = Math.ceil((max - 1) * 0.6);
  return `${letters.slice(0, head).join('')}…${letters.slice(letters.length - (max - 1 - head)).join('')}`;
}

/** `device:10.0.0.7` as its two parts. */
export function entityParts(entity: string): { kind: string; key: string } {
  const at = entity.indexOf(':');
  return at < 0 ? { kind: 'device', key: entity } : { kind: entity.slice(0, at), key: entity.slice(at + 1) };
}
