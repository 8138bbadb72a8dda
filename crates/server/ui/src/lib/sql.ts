// What the editor knows of SQL: enough to colour it and to finish a word.

export type Token = { text: string; kind: 'word' | 'name' | 'text' | 'number' | 'comment' | 'other' };

const WORDS = new Set(
  'select from where and or not in is null like ilike between group by order having limit offset as distinct case when then else end join left right inner outer on union all with asc desc count sum min max avg cast true false exists interval'.split(' '),
);
const PATTERN = /(--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))|('(?:[^']|'')*'?)|("(?:[^"]|"")*"?)|(\b\d+(?:\.\d+)?\b)|([A-Za-z_][A-Za-z0-9_]*)|([\s\S])/g;

export function tokens(sql: string): Token[] {
  const out: Token[] = [];
  for (const match of sql.matchAll(PATTERN)) {
    const [text, comment, string, name, number, word] = match;
    const kind = comment !== undefined ? 'comment' : string !== undefined ? 'text' : name !== undefined ? 'name' : number !== undefined ? 'number' : word !== undefined ? (WORDS.has(word.toLowerCase()) ? 'word' : 'name') : 'other';
    const last = out[out.length - 1];
    if (kind === 'other' && last?.kind === 'other') last.text += text;
    else out.push({ text, kind });
  }
  return out;
}

/** The word before the cursor, and what it could become. */
export function completions(sql: string, cursor: number, known: string[], most = 8): { word: string; options: string[] } {
  const word = /[A-Za-z_][A-Za-z0-9_]*$/.exec(sql.slice(0, cursor))?.[0] ?? '';
  if (word.length < 2) return { word, options: [] };
  const lower = word.toLowerCase();
  const options = [...new Set(known)].filter((name) => name.toLowerCase().startsWith(lower) && name.toLowerCase() !== lower).sort();
  return { word, options: options.slice(0, most) };
}

/** Comma-separated values; what a spreadsheet would run as a formula is made text. */
export function csv(columns: { name: string }[], rows: unknown[][]): string {
  const cell = (value: unknown): string => {
    if (value === null || value === undefined) return '';
    if (typeof value === 'number' || typeof value === 'boolean') return String(value);
    let text = typeof value === 'string' ? value : JSON.stringify(value);
    if (/^[=+\-@\t\r]/.test(text)) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return [columns.map((column) => cell(column.name)), ...rows.map((row) => row.map(cell))].map((row) => row.join(',')).join('\r\n') + '\r\n';
}

/** Which columns can be drawn: one of time, and numbers over it. */
export function drawable(columns: { name: string; type: string }[], rows: unknown[][]): { time: number; values: number[] } | null {
  const sample = rows.slice(0, 20);
  const isTime = (index: number): boolean => sample.length > 1 && sample.every((row) => typeof row[index] === 'string' && /^\d{4}-\d\d-\d\d[T ]\d\d/.test(row[index]) && !Number.isNaN(Date.parse(String(row[index]).replace(' ', 'T'))));
  const isNumber = (index: number): boolean => sample.some((row) => typeof row[index] === 'number') && sample.every((row) => row[index] === null || typeof row[index] === 'number');
  const time = columns.findIndex((_, index) => isTime(index));
  if (time < 0) return null;
  const values = columns.map((_, index) => index).filter((index) => isNumber(index) && !/port$|^id$/i.test(columns[index]?.name ?? ''));
  return values.length > 0 ? { time, values: values.slice(0, 3) } : null;
}
