// Bytes as the classic dump: offset, hex, text.

export interface HexRow {
  offset: string;
  hex: string;
  text: string;
}

export function hexRows(hex: string, offset: number, most = 32): HexRow[] {
  const rows: HexRow[] = [];
  const clean = hex.replace(/[^0-9a-fA-F]/g, '');
  for (let at = 0; at + 1 < clean.length && rows.length < most; at += 32) {
    const part = clean.slice(at, Math.min(at + 32, clean.length - (clean.length % 2)));
    const bytes = part.match(/../g) ?? [];
    rows.push({
      offset: (offset + at / 2).toString(16).padStart(8, '0'),
      hex: bytes.map((byte, index) => (index === 8 ? ` ${byte}` : byte)).join(' '),
      text: bytes
        .map((byte) => {
          const code = parseInt(byte, 16);
          return code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : '·';
        })
        .join(''),
    });
  }
  return rows;
}
