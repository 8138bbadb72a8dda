//! Flow exports: NetFlow v5, NetFlow v9 (RFC 3954) and IPFIX (RFC 7011, with the two directions of RFC 5103).
//!
//! Version 9 and IPFIX say in templates how their records are laid out. A template is data of its exporter:
//! who keeps it, for whom and how many, is the caller's affair; here are its reading, its bounds, and the
//! reading of records by it.
//!
//! Reading order: what a datagram holds ([`read`]), its sets ([`Message::sets`]), templates in a set
//! ([`templates`]), the records of a set ([`Template::records`]), what a record says ([`FlowFields`]).

mod fields;
mod template;
mod v5;

pub use fields::{Counts, FlowFields, Stamp};
pub use template::{Declared, FIELDS_MAX, Field, Records, Template, Templates, templates};
pub use v5::V5;

use crate::Reader;

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Export<'a> {
    /// Of a fixed layout.
    V5(V5<'a>),
    /// NetFlow v9 or IPFIX.
    Message(Message<'a>),
    /// A version that is not read.
    Version(u16),
}

/// Which layout sets and templates have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layout {
    /// NetFlow v9.
    V9,
    /// IPFIX.
    Ipfix,
}

/// A message of NetFlow v9 or IPFIX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Which of the two.
    pub layout: Layout,
    /// How long the exporter has been up, in milliseconds; only version 9 says it.
    pub uptime_ms: Option<u32>,
    /// When it was sent, in seconds since 1970.
    pub export_secs: u32,
    /// Messages (version 9) or data records (IPFIX) sent before.
    pub sequence: u32,
    /// Which part of the exporter observed: source id, observation domain.
    pub domain: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The sets of the message.
    pub const fn sets(&self) -> Sets<'a> {
        Sets {
            rest: Reader::new(self.body),
            is_broken: false,
        }
    }
}

/// Looks at a datagram; `None` when it ends inside its header.
pub fn read(bytes: &[u8]) -> Option<Export<'_>> {
    let mut reader = Reader::new(bytes);
    match reader.u16()? {
        5 => V5::read(reader).map(Export::V5),
        9 => message_v9(reader).map(Export::Message),
        10 => message_ipfix(reader).map(Export::Message),
        version => Some(Export::Version(version)),
    }
}

fn message_v9(mut reader: Reader<'_>) -> Option<Message<'_>> {
    // The number of records is not needed: sets say how long they are.
    reader.skip(2)?;
    Some(Message {
        layout: Layout::V9,
        uptime_ms: Some(reader.u32()?),
        export_secs: reader.u32()?,
        sequence: reader.u32()?,
        domain: reader.u32()?,
        body: reader.rest(),
    })
}

fn message_ipfix(mut reader: Reader<'_>) -> Option<Message<'_>> {
    let length = usize::from(reader.u16()?);
    let (export_secs, sequence, domain) = (reader.u32()?, reader.u32()?, reader.u32()?);
    Some(Message {
        layout: Layout::Ipfix,
        uptime_ms: None,
        export_secs,
        sequence,
        domain,
        body: reader.take_up_to(length.saturating_sub(16)),
    })
}

/// What a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Templates of records.
    Templates,
    /// Templates of what the exporter says about itself.
    OptionsTemplates,
    /// Records by the template of this number.
    Data(u16),
    /// A number that means nothing.
    Reserved,
}

/// A set of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Set<'a> {
    /// What it holds.
    pub kind: SetKind,
    /// Its bytes, behind its header.
    pub body: &'a [u8],
}

/// The sets of a message, one after another.
#[derive(Clone, Debug)]
pub struct Sets<'a> {
    rest: Reader<'a>,
    is_broken: bool,
}

impl Sets<'_> {
    /// Whether reading ended at a length that cannot be; to be asked after the last set.
    pub const fn is_broken(&self) -> bool {
        self.is_broken
    }
}

impl<'a> Iterator for Sets<'a> {
    type Item = Set<'a>;

    fn next(&mut self) -> Option<Set<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let (id, length) = (self.rest.u16(), self.rest.u16());
        let (Some(id), Some(length)) = (id, length) else {
            // Padding at the end is no damage.
            self.is_broken = self.rest.rest().iter().any(|byte| *byte != 0);
            self.rest = Reader::new(&[]);
            return None;
        };
        let Some(length) = usize::from(length).checked_sub(4) else {
            self.is_broken = id != 0;
            self.rest = Reader::new(&[]);
            return None;
        };
        self.is_broken |= length > self.rest.len();
        let body = self.rest.take_up_to(length);
        let kind = match id {
            0 | 2 => SetKind::Templates,
            1 | 3 => SetKind::OptionsTemplates,
            256.. => SetKind::Data(id),
            _ => SetKind::Reserved,
        };
        Some(Set { kind, body })
    }
}

/// Entry of the mutation test and the fuzzer: reads a datagram with its own templates, and its data also
/// by each of them.
pub fn fuzz(bytes: &[u8]) {
    let message = match read(bytes) {
        Some(Export::V5(v5)) => {
            debug_assert!(v5.records().count() <= v5.announced());
            return;
        }
        Some(Export::Message(message)) => message,
        _ => return,
    };
    let mut known: Vec<Template> = Vec::new();
    for set in message.sets() {
        let is_options = set.kind == SetKind::OptionsTemplates;
        if let SetKind::Templates | SetKind::OptionsTemplates = set.kind {
            for declared in templates(message.layout, is_options, set.body).take(64) {
                if let Declared::Template(template) = declared {
                    debug_assert!(template.len_min() > 0);
                    known.push(template);
                }
            }
        }
    }
    for set in message.sets() {
        for template in known.iter().take(16) {
            let records = template.records(set.body);
            debug_assert!(records.count() <= set.body.len());
        }
    }
}

#[cfg(test)]
mod tests;
