// Makes the facts of a sentence clickable. The sentence comes with its facts as data; each fact says
// of which events it was read or counted.

import type { Fact } from './types';

export type Piece = { text: string; fact: Fact | null };

const isWord = (letter: string | undefined): boolean => letter !== undefined && /[\p{L}\p{N}]/u.test(letter);

/** Where `needle` stands in `text` from `from` on, as whole words. */
function wholeWord(text: string, needle: string, from: number): number {
  for (let at = text.indexOf(needle, from); at >= 0; at = text.indexOf(needle, at + 1)) {
    const opens = !isWord(needle[0]) || !isWord(text[at - 1]);
    const end = at + needle.length;
    const closes = !isWord(needle[needle.length - 1]) || !isWord(text[end]);
    // `3` must not be found inside `3.5` or `10.3`.
    const isNumber = /\d$/.test(needle) && /^[.,]\d/.test(text.slice(end, end + 2));
    const isTail = /^\d/.test(needle) && /\d[.,]$/.test(text.slice(Math.max(0, at - 2), at));
    if (opens && closes && !isNumber && !isTail) return at;
  }
  return -1;
}

/** Where the slots of a template lie in the sentence made of it; `null` when it was made of another one. */
function slots(sentence: string, facts: Fact[], template: string): Place[] | null {
  const parts = template.split(/\{(\w+)\}/);
  const taken: Place[] = [];
  let at = 0;
  for (let index = 1; index < parts.length; index += 2) {
    const fact = facts.find((one) => one.key === parts[index]);
    const before = parts[index - 1] ?? '';
    if (!fact) return null;
    // After the number one the words that follow are in the singular, so they are not those of the template.
    const start = sentence.startsWith(before, at) ? at + before.length : wholeWord(sentence, fact.text, at);
    if (start < at) return null;
    let end = start + fact.text.length;
    if (!sentence.startsWith(fact.text, start)) {
      // A device is named as people know it.
      const after = parts[index + 1] ?? '';
      end = after === '' && index + 2 >= parts.length ? sentence.length : after === '' ? -1 : sentence.indexOf(after, start);
    }
    if (end <= start) return null;
    taken.push({ at: start, end, fact });
    at = end;
  }
  return taken;
}

type Place = { at: number; end: number; fact: Fact };

/** Cuts a sentence into plain text and facts, by its template where there is one. A fact that is not found in it
    stays out. */
export function pieces(sentence: string, facts: Fact[], template?: string | null): Piece[] {
  const taken = (template ? slots(sentence, facts, template) : null) ?? guessed(sentence, facts);
  const out: Piece[] = [];
  let at = 0;
  for (const part of taken) {
    if (part.at > at) out.push({ text: sentence.slice(at, part.at), fact: null });
    out.push({ text: sentence.slice(part.at, part.end), fact: part.fact });
    at = part.end;
  }
  if (at < sentence.length) out.push({ text: sentence.slice(at), fact: null });
  return out;
}

/** Where facts are named in a sentence, by their text. */
function guessed(sentence: string, facts: Fact[]): Place[] {
  const taken: Place[] = [];
  const isFree = (at: number, end: number): boolean => taken.every((t) => end <= t.at || at >= t.end);
  const place = (fact: Fact, from: number): boolean => {
    for (let at = wholeWord(sentence, fact.text, from); at >= 0; at = wholeWord(sentence, fact.text, at + 1)) {
      if (isFree(at, at + fact.text.length)) {
        taken.push({ at, end: at + fact.text.length, fact });
        return true;
      }
    }
    return false;
  };
  // Long ones first: what is short and common may stand inside what is long and rare. Facts of equal
  // length keep the order in which the sentence names them.
  const order = facts
    .filter((fact) => fact.text.length > 0)
    .map((fact, index) => ({ fact, index }))
    .sort((a, b) => b.fact.text.length - a.fact.text.length || a.index - b.index);
  for (const { fact } of order) place(fact, 0);
  return taken.sort((a, b) => a.at - b.at);
}
