//! What every parser takes and gives back.

/// Limits a parser keeps whatever the input says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseBudget {
    /// Longest text field kept, in bytes; longer ones are cut and quirked.
    pub text_bytes_max: usize,
    /// Most items kept of any list (answers, headers, certificates).
    pub items_max: usize,
    /// Deepest nesting followed (compression pointers, ASN.1, encapsulation).
    pub depth_max: usize,
}

impl Default for ParseBudget {
    fn default() -> Self {
        Self {
            text_bytes_max: 1024,
            items_max: 32,
            depth_max: 16,
        }
    }
}

/// Something odd in the input, snake case, stable: detectors read it.
pub type Quirk = &'static str;

/// A value together with what was odd about its encoding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed<T> {
    /// What was understood.
    pub value: T,
    /// What was odd, in order of appearance, each once.
    pub quirks: Vec<Quirk>,
}

impl<T> Parsed<T> {
    /// A value with nothing odd.
    pub const fn clean(value: T) -> Self {
        Self {
            value,
            quirks: Vec::new(),
        }
    }

    /// Notes a quirk, once.
    pub fn quirk(&mut self, quirk: Quirk) {
        if !self.quirks.contains(&quirk) {
            self.quirks.push(quirk);
        }
    }

    /// The same quirks around another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Parsed<U> {
        Parsed {
            value: f(self.value),
            quirks: self.quirks,
        }
    }
}

/// What a stream parser made of the bytes at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// This many bytes were used; call again with what follows.
    Consumed(usize),
    /// A whole message is not there yet; at least this many bytes are needed in all.
    NeedMore(usize),
    /// These bytes are not this protocol, or the stream is beyond repair: stop parsing it.
    Stop,
}
