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

/** Cuts a sentence into plain text and facts. A fact that is not found in it stays out. */
export function pieces(sentence: string, facts: Fact[]): Piece[] {
  const taken: { at: number; end: number; fact: Fact }[] = [];
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
  taken.sort((a, b) => a.at - b.at);
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
