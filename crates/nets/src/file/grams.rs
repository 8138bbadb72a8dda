//! The bytes of a piece as rows of five tables: every 2, 3, 4, 6 and 8 bytes in a row have a row by
//! their hash (the hashing trick of Weinberger et al., *Feature hashing for large scale multitask
//! learning*, ICML 2009).

/// Bytes in a row that have a row, table by table.
pub const ORDERS: [usize; 5] = [2, 3, 4, 6, 8];
/// Rows of each table.
pub const ROWS: usize = 1 << 16;

/// Odd multipliers, one for each table; the shortest is its own number.
const MULTIPLIERS: [u64; 5] = [
    0x0001_0000_0000_0000,
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
    0xd6e8_feb8_6659_fd93,
];

/// Calls `each` with the table and the row of every run of bytes in `piece`. A run that has the same
/// row as the one before it is left out, so that long stretches of one byte weigh nothing.
#[inline]
pub fn for_each_row(piece: &[u8], mut each: impl FnMut(usize, usize)) {
    let mut last = [usize::MAX; ORDERS.len()];
    let mut at_word = |word: u64, left: usize| {
        for (table, order) in ORDERS.iter().enumerate() {
            if *order > left {
                break;
            }
            let run = word & (u64::MAX >> (64 - 8 * order));
            let row = (run.wrapping_mul(MULTIPLIERS[table]) >> 48) as usize;
            if row != last[table] {
                last[table] = row;
                each(table, row);
            }
        }
    };
    let mut whole = 0;
    for window in piece.windows(8) {
        if let Some(word) = window.first_chunk::<8>() {
            at_word(u64::from_le_bytes(*word), 8);
        }
        whole += 1;
    }
    for at in whole..piece.len() {
        let rest = &piece[at..];
        let mut word = [0; 8];
        for (slot, byte) in word.iter_mut().zip(rest) {
            *slot = *byte;
        }
        at_word(u64::from_le_bytes(word), rest.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_its_row_and_repetitions_none() {
        let mut rows = Vec::new();
        for_each_row(b"abcde", |table, row| rows.push((table, row)));
        let of = |table| rows.iter().filter(|row| row.0 == table).count();
        assert_eq!([of(0), of(1), of(2), of(3), of(4)], [4, 3, 2, 0, 0]);
        assert_eq!(rows[0], (0, usize::from(u16::from_le_bytes(*b"ab"))));
        let mut zeros = 0;
        for_each_row(&[0; 1000], |_, _| zeros += 1);
        assert_eq!(zeros, ORDERS.len());
    }

    #[test]
    fn the_same_bytes_have_the_same_rows_wherever_they_stand() {
        let rows = |piece: &[u8]| {
            let mut rows = Vec::new();
            for_each_row(piece, |table, row| rows.push((table, row)));
            rows.sort_unstable();
            rows
        };
        let alone = rows(b"GET /index.html");
        let inside = rows(b"\x01\x02GET /index.html");
        assert!(alone.iter().all(|row| inside.contains(row)));
    }
}
