import { expect, test } from 'vitest';
import { pieces } from '../src/lib/facts';
import type { Fact } from '../src/lib/types';

const fact = (key: string, text: string): Fact => ({ key, type: 'name', value: text, text, events: ['a-1'], events_total: 1 });
const marked = (sentence: string, facts: Fact[]): string => pieces(sentence, facts).map((piece) => (piece.fact ? `[${piece.fact.key}:${piece.text}]` : piece.text)).join('');

test('facts are found as whole words', () => {
  expect(marked('tried 8 ports of 10.0.0.8 in 8.5 s', [fact('ports', '8'), fact('host', '10.0.0.8'), fact('span', '8.5 s')])).toBe('tried [ports:8] ports of [host:10.0.0.8] in [span:8.5 s]');
});

test('facts of equal text are given out in their order', () => {
  expect(marked('13 accounts with 13 tries', [fact('accounts', '13'), fact('tries', '13')])).toBe('[accounts:13] accounts with [tries:13] tries');
});

test('a fact that the sentence does not name changes nothing', () => {
  expect(marked('was quiet', [fact('jitter', '11 %'), fact('empty', '')])).toBe('was quiet');
});

test('nothing of the sentence is lost, whatever the facts are', () => {
  const sentence = 'called a.b on port 443 443 times';
  expect(pieces(sentence, [fact('x', '443'), fact('y', '443'), fact('z', '4'), fact('w', 'a.b')]).map((piece) => piece.text).join('')).toBe(sentence);
});

test('a template says which of two equal facts is meant, and where a device is named otherwise', () => {
  const facts = [fact('tries', '13'), fact('accounts', '13'), fact('peer', 'device:10.0.0.8'), fact('calls', '1')];
  const by = (sentence: string, template: string): string => pieces(sentence, facts, template).map((piece) => (piece.fact ? `[${piece.fact.key}:${piece.text}]` : piece.text)).join('');
  expect(by('13 accounts with 13 tries', '{accounts} accounts with {tries} tries')).toBe('[accounts:13] accounts with [tries:13] tries');
  expect(by('sent it to desk-8 (10.0.0.8) over smb', 'sent it to {peer} over smb')).toBe('sent it to [peer:desk-8 (10.0.0.8)] over smb');
  expect(by('sent it to desk-8', 'sent it to {peer}')).toBe('sent it to [peer:desk-8]');
  // After the number one the noun is in the singular.
  expect(by('made 1 call and 13 tries', 'made {calls} calls and {tries} tries')).toBe('made [calls:1] call and [tries:13] tries');
  // One that does not fit is of no use.
  expect(by('something else with 13', 'made {calls} calls')).toBe('something else with [tries:13]');
});
