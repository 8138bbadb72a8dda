//! The NRV codes, a literal-or-match code each: 2B, 2D and 2E of the UCL library, whose data are known from
//! what UPX packs. Bits say what comes next and are taken from units of one, two or four bytes, the highest
//! first; literals and the low byte of a distance stand as whole bytes between those units.

/// Which of the codes: they differ in how distance and length are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    B,
    D,
    E,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    /// Whether the mark of the end was reached.
    pub(super) is_whole: bool,
}

/// A distance whose upper bits are these ends the data.
const END: u32 = u32::MAX;

/// Decodes `packed`, whose bits come in units of `unit` bytes, up to `length_max` bytes.
pub(super) fn decode(packed: &[u8], code: Code, unit: usize, length_max: usize) -> Decoded {
    let mut bits = Bits {
        packed,
        at: 0,
        unit,
        held: 0,
        left: 0,
    };
    let mut bytes = Vec::new();
    let is_whole = run(&mut bits, code, length_max, &mut bytes).is_some();
    Decoded { bytes, is_whole }
}

/// None when the data end before their mark, or say what cannot be.
fn run(bits: &mut Bits<'_>, code: Code, length_max: usize, out: &mut Vec<u8>) -> Option<()> {
    // A match at the farthest distances is a byte longer, from here on.
    let far = match code {
        Code::B => 0xd00,
        Code::D | Code::E => 0x500,
    };
    let mut last = 1;
    loop {
        while bits.bit()? == 1 {
            if out.len() >= length_max {
                return None;
            }
            out.push(bits.byte()?);
        }
        let mut length = 0;
        let upper = bits.upper(code)?;
        let distance = if upper == 2 {
            if code != Code::B {
                length = bits.bit()?;
            }
            last
        } else {
            let low = u32::from(bits.byte()?);
            let told = upper.wrapping_sub(3).wrapping_mul(256) | low;
            if told == END {
                return Some(());
            }
            let told = if code == Code::B {
                told
            } else {
                // The lowest bit belongs to the length.
                length = !told & 1;
                told >> 1
            };
            told.checked_add(1)?
        };
        last = distance;
        let length = bits.length(code, length)? + u32::from(distance > far);
        copy(out, distance as usize, length as usize + 1, length_max)?;
    }
}

/// Repeats what stands `distance` bytes before the end.
fn copy(out: &mut Vec<u8>, distance: usize, length: usize, length_max: usize) -> Option<()> {
    let from = out.len().checked_sub(distance)?;
    if length > length_max - out.len() {
        return None;
    }
    if distance >= length {
        out.extend_from_within(from..from + length);
        return Some(());
    }
    for at in from..from + length {
        let byte = *out.get(at)?;
        out.push(byte);
    }
    Some(())
}

struct Bits<'p> {
    packed: &'p [u8],
    at: usize,
    /// Bytes of a unit of bits.
    unit: usize,
    held: u32,
    left: u32,
}

impl Bits<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.packed.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn bit(&mut self) -> Option<u32> {
        if self.left == 0 {
            let unit = self.packed.get(self.at..self.at + self.unit)?;
            let fold = |sum: u32, byte: &u8| (sum << 8) | u32::from(*byte);
            self.held = unit.iter().rev().fold(0, fold);
            self.at += self.unit;
            self.left = 8 * self.unit as u32;
        }
        self.left -= 1;
        Some((self.held >> self.left) & 1)
    }

    fn append(&mut self, number: u32) -> Option<u32> {
        Some(number.wrapping_mul(2).wrapping_add(self.bit()?))
    }

    /// The upper part of a distance, where two stands for the distance of before.
    fn upper(&mut self, code: Code) -> Option<u32> {
        let mut upper = 1;
        loop {
            upper = self.append(upper)?;
            if self.bit()? == 1 {
                return Some(upper);
            }
            if code != Code::B {
                upper = self.append(upper.wrapping_sub(1))?;
            }
        }
    }

    /// Bytes of a match less one; `known` is the first bit of it where the distance has told that.
    fn length(&mut self, code: Code, known: u32) -> Option<u32> {
        if code == Code::E {
            return Some(if known == 1 {
                1 + self.bit()?
            } else if self.bit()? == 1 {
                3 + self.bit()?
            } else {
                self.long(3)?
            });
        }
        let known = if code == Code::B { self.bit()? } else { known };
        match self.append(known)? {
            0 => self.long(2),
            short => Some(short),
        }
    }

    fn long(&mut self, more: u32) -> Option<u32> {
        let mut length: u32 = 1;
        loop {
            length = length.checked_mul(2)? + self.bit()?;
            if self.bit()? == 1 {
                return length.checked_add(more);
            }
        }
    }
}
