//! A cursor over hostile bytes: every step is checked, nothing is copied, nothing can panic.

/// Reads a byte slice from front to back. Each method gives `None`, and moves nothing, when fewer
/// bytes are left than it needs.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// How many bytes are left.
    pub const fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(count)?;
        self.rest = tail;
        Some(head)
    }

    /// The next `count` bytes, or as many as are left.
    pub fn take_up_to(&mut self, count: usize) -> &'a [u8] {
        let (head, tail) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = tail;
        head
    }

    /// Steps over `count` bytes.
    pub fn skip(&mut self, count: usize) -> Option<()> {
        self.take(count).map(|_| ())
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.rest.split_first_chunk::<N>()?;
        self.rest = tail;
        Some(*head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, most significant first.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes, most significant first.
    pub fn u24(&mut self) -> Option<u32> {
        self.array()
            .map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes, most significant first.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes, most significant first.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Two bytes, least significant first.
    pub fn u16_le(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, least significant first.
    pub fn u32_le(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, least significant first.
    pub fn u64_le(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A reader over what a one-byte length announces.
    pub fn sub8(&mut self) -> Option<Reader<'a>> {
        let mut ahead = *self;
        let len = ahead.u8()?;
        let body = ahead.take(usize::from(len))?;
        *self = ahead;
        Some(Reader::new(body))
    }

    /// A reader over what a two-byte length announces.
    pub fn sub16(&mut self) -> Option<Reader<'a>> {
        let mut ahead = *self;
        let len = ahead.u16()?;
        let body = ahead.take(usize::from(len))?;
        *self = ahead;
        Some(Reader::new(body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_moves_nothing() {
        let mut reader = Reader::new(&[1, 2, 3]);
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.u16(), Some(0x0102));
        assert_eq!(reader.u16_le(), None);
        assert_eq!(reader.u8(), Some(3));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_length_beyond_the_end_moves_nothing() {
        let mut reader = Reader::new(&[0, 2, 9, 9, 5, 1]);
        assert_eq!(reader.sub16().map(|sub| sub.rest()), Some(&[9, 9][..]));
        assert!(reader.sub8().is_none());
        assert_eq!(reader.rest(), &[5, 1]);
        assert_eq!(reader.take_up_to(9), &[5, 1]);
    }
}
