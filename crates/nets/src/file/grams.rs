//! The bytes of a piece as rows of five tables: every 2, 3, 4, 6 and 8 bytes in a row have a row by
//! their hash (the hashing trick of Weinberger et al., *Feature hashing for large scale multitask
//! learning*, ICML 2009).

/// Bytes in a row that have a row, table by table.
pub const ORDERS: [usize; 5] = [2, 3, 4, 6, 8];
/// The largest tables there may be, as the power of two of their rows.
pub const ROW_BITS_MAX: u32 = 20;

/// Odd multipliers, one for each table.
const MULTIPLIERS: [u64; 5] = [
    0xff51_afd7_ed55_8ccd,
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
    0xd6e8_feb8_6659_fd93,
];

/// The rows of the runs at the front of `word`, eight bytes with the first lowest, in tables of
/// `2^row_bits` rows.
#[inline]
pub fn rows(word: u64, row_bits: u32) -> [usize; ORDERS.len()] {
    std::array::from_fn(|table| {
        let run = word & (u64::MAX >> (64 - 8 * ORDERS[table]));
        (run.wrapping_mul(MULTIPLIERS[table]) >> (64 - row_bits)) as usize
    })
}

/// Calls `each` with the table and the row of every run of bytes in `piece`. A run that has the same
/// row as the one before it is left out, so that long stretches of one byte weigh nothing.
#[inline]
pub fn for_each_row(piece: &[u8], row_bits: u32, mut each: impl FnMut(usize, usize)) {
    let mut last = [usize::MAX; ORDERS.len()];
    let mut take = |word: u64, tables: usize| {
        for (table, row) in rows(word, row_bits).into_iter().enumerate().take(tables) {
            if row != last[table] {
                last[table] = row;
                each(table, row);
            }
        }
    };
    let mut rest = piece;
    while let Some(word) = rest.first_chunk::<8>() {
        take(u64::from_le_bytes(*word), ORDERS.len());
        rest = &rest[1..];
    }
    while !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        let fit = ORDERS.iter().filter(|order| **order <= rest.len());
        take(u64::from_le_bytes(word), fit.count());
        rest = &rest[1..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_run_has_its_row_and_repetitions_none() {
        let mut rows = Vec::new();
        for_each_row(b"abcde", 14, |table, row| rows.push((table, row)));
        let of = |table| rows.iter().filter(|row| row.0 == table).count();
        assert_eq!([of(0), of(1), of(2), of(3), of(4)], [4, 3, 2, 0, 0]);
        let mut zeros = 0;
        for_each_row(&[0; 1000], 14, |_, _| zeros += 1);
        assert_eq!(zeros, ORDERS.len());
    }

    #[test]
    fn the_same_bytes_have_the_same_rows_wherever_they_stand() {
        let rows = |piece: &[u8]| {
            let mut rows = Vec::new();
            for_each_row(piece, 14, |table, row| rows.push((table, row)));
            rows.sort_unstable();
            rows
        };
        let alone = rows(b"GET /index.html");
        let inside = rows(b"\x01\x02GET /index.html");
        assert!(alone.iter().all(|row| inside.contains(row)));
    }
}
