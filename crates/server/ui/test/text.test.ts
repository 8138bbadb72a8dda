import { expect, test } from 'vitest';
import { hexRows } from '../src/lib/hex';
import { csv, completions, drawable, tokens } from '../src/lib/sql';
import { entityParts, legible, shortened } from '../src/lib/text';
import { localWeek } from '../src/lib/week';

test('what hides in a name is made visible', () => {
  expect(legible('gnp\u202Eexe.')).toBe('gnp⟨202E⟩exe.');
  expect(legible('a\u0000b\u0007\u200bc')).toBe('a⟨00⟩b⟨07⟩⟨200B⟩c');
  expect(legible('línea 日本')).toBe('línea 日本');
  expect(legible(null)).toBe('');
});

test('a long name keeps its beginning and its end, and no letter is cut in two', () => {
  expect(shortened('abcdefghij', 6)).toBe('abc…ij');
  expect(shortened('😀😀😀😀', 3)).toBe('😀😀…');
  expect([...shortened('x'.repeat(5000), 40)]).toHaveLength(40);
});

test('an entity with colons in its key is cut once', () => {
  expect(entityParts('device:fe80::1%10')).toEqual({ kind: 'device', key: 'fe80::1%10' });
});

test('bytes are dumped sixteen to a row', () => {
  const rows = hexRows('4d5a'.repeat(10), 0x1f0);
  expect(rows.map((row) => row.offset)).toEqual(['000001f0', '00000200']);
  expect(rows[1]).toEqual({ offset: '00000200', hex: '4d 5a 4d 5a', text: 'MZMZ' });
  expect(hexRows('4d5', 0)).toHaveLength(1);
  expect(hexRows('', 0)).toEqual([]);
});

test('the hours of a week turn with the zone', () => {
  const hours = Array.from({ length: 168 }, (_, index) => index);
  expect(localWeek(hours, 0)[0]).toBe(0);
  expect(localWeek(hours, -120)[2]).toBe(0);
  expect(localWeek(hours, 300)[0]).toBe(5);
});

test('a cell that a spreadsheet would run is made text', () => {
  expect(csv([{ name: 'a' }, { name: 'b' }], [['=cmd()', 'x,"y"'], [null, -3]])).toBe('a,b\r\n\'=cmd(),"x,""y"""\r\n,-3\r\n');
});

test('SQL is coloured without losing a letter', () => {
  const sql = "SELECT 'it''s', 3.5 -- why\nFROM \"a b\" /* open";
  expect(tokens(sql).map((token) => token.text).join('')).toBe(sql);
  expect(tokens(sql).filter((token) => token.kind === 'text')[0]?.text).toBe("'it''s'");
});

test('words are completed from two letters on', () => {
  expect(completions('select cl', 9, ['client_addr', 'client_port', 'server_addr']).options).toEqual(['client_addr', 'client_port']);
  expect(completions('select c', 8, ['client_addr']).options).toEqual([]);
});

test('a result with a time and a number can be drawn, ports cannot', () => {
  const rows = [['2025-05-13T10:00:00Z', 5, 443], ['2025-05-13T11:00:00Z', 6, 80]];
  expect(drawable([{ name: 'time', type: 'timestamp' }, { name: 'n', type: 'int' }, { name: 'server_port', type: 'int' }], rows)).toEqual({ time: 0, values: [1] });
  expect(drawable([{ name: 'x', type: 'text' }], [['a'], ['b']])).toBeNull();
});
