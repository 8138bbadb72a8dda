//! The filters of UPX: before packing, targets of calls and jumps are turned from distances into places, so
//! that calls of one function look alike. Here that is taken back. Numbers as UPX writes them.

/// What was done to code before it was packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// Its number; none is 0.
    pub(crate) id: u8,
    /// The byte that marks a changed target, with some.
    pub(crate) mark: u8,
}

/// Takes back what `filter` did to `code`, which stands `base` bytes behind where places are counted from;
/// false when the filter is not known.
pub(super) fn undo(filter: Filter, base: u32, code: &mut [u8]) -> bool {
    let Filter { id, mark } = filter;
    match id {
        0 => {}
        // E8, E9 or both; as it is, turned into big-endian, or from it.
        0x11..=0x19 => {
            let kind = (id - 0x11) % 3;
            let turned = (id - 0x11) / 3;
            let opcode = |byte| (byte == 0xe8 && kind != 1) || (byte == 0xe9 && kind != 0);
            plain(code, base, turned, opcode);
        }
        0x24 => marked(code, base, mark, |code, at, _| is(code, at, &[0xe8])),
        0x25 => marked(code, base, mark, |code, at, _| is(code, at, &[0xe9])),
        0x26 | 0x36 | 0x46 => marked(code, base, mark, |code, at, _| is(code, at, &[0xe8, 0xe9])),
        0x49 => marked(code, base, mark, |code, at, last| {
            is(code, at, &[0xe8, 0xe9]) || (at != last && is_branch(code, at))
        }),
        // Calls of ARM in 24 bits, of ARM 64 in 26, counted in instructions.
        0x50 => words(code, |word, at| {
            let target = (word & 0xff_ffff).wrapping_sub(at / 4 + base);
            (word >> 24 & 0xf == 0xb).then_some(word & !0xff_ffff | target & 0xff_ffff)
        }),
        0x51 => words(code, |word, at| {
            let word = word.swap_bytes();
            let target = (word & 0xff_ffff).wrapping_sub(at / 4 + base);
            let turned = word & !0xff_ffff | target & 0xff_ffff;
            (word >> 24 & 0xf == 0xb).then_some(turned.swap_bytes())
        }),
        0x52 => words(code, |word, at| {
            let target = (word & 0x3ff_ffff).wrapping_sub(at / 4 + base);
            (word >> 26 & 0x1f == 5).then_some(word & !0x3ff_ffff | target & 0x3ff_ffff)
        }),
        _ => return false,
    }
    true
}

fn is(code: &[u8], at: usize, opcodes: &[u8]) -> bool {
    code.get(at).is_some_and(|byte| opcodes.contains(byte))
}

/// Whether the second byte of a long conditional jump stands here.
fn is_branch(code: &[u8], at: usize) -> bool {
    at > 0 && is(code, at - 1, &[0x0f]) && code.get(at).is_some_and(|byte| byte >> 4 == 8)
}

fn target(code: &mut [u8], at: usize) -> Option<&mut [u8; 4]> {
    code.get_mut(at + 1..)?.first_chunk_mut()
}

/// Every call counts.
fn plain(code: &mut [u8], base: u32, turned: u8, is_call: impl Fn(u8) -> bool) {
    let end = code.len().saturating_sub(5);
    let mut at = 0;
    while at < end {
        if !code.get(at).copied().is_some_and(&is_call) {
            at += 1;
            continue;
        }
        if let Some(place) = target(code, at) {
            let from = base.wrapping_add(at as u32 + 1);
            *place = match turned {
                0 => u32::from_le_bytes(*place).wrapping_sub(from).to_le_bytes(),
                1 => u32::from_be_bytes(*place).wrapping_sub(from).to_le_bytes(),
                _ => u32::from_le_bytes(*place).wrapping_sub(from).to_be_bytes(),
            };
        }
        at += 5;
    }
}

/// Only what the mark stands behind was changed, into big-endian. The caller's test is given the place
/// and where the last one ended.
fn marked(code: &mut [u8], base: u32, mark: u8, is_call: impl Fn(&[u8], usize, usize) -> bool) {
    let end = code.len().saturating_sub(5);
    let (mut at, mut last) = (0, 0);
    while at < end {
        if is_call(code, at, last)
            && let Some(place) = target(code, at)
            && place.first() == Some(&mark)
        {
            let from = base.wrapping_add(at as u32 + 1);
            let place_told = u32::from_be_bytes(*place).wrapping_sub(u32::from(mark) << 24);
            *place = place_told.wrapping_sub(from).to_le_bytes();
            at += 5;
            last = at;
        } else {
            at += 1;
        }
    }
}

/// Instructions of four bytes; the last one is never touched.
fn words(code: &mut [u8], change: impl Fn(u32, u32) -> Option<u32>) {
    let end = code.len().saturating_sub(4);
    for (number, word) in code.chunks_exact_mut(4).enumerate() {
        let at = 4 * number;
        if at >= end {
            break;
        }
        if let Some(bytes) = word.first_chunk_mut()
            && let Some(changed) = change(u32::from_le_bytes(*bytes), at as u32)
        {
            *bytes = changed.to_le_bytes();
        }
    }
}
