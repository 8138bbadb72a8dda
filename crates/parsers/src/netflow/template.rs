//! Templates: which fields a record has, in which order, and how long each is.

use super::Layout;
use super::fields::FlowFields;
use crate::Reader;

/// Most fields of a template; real ones have some dozens.
pub const FIELDS_MAX: usize = 512;
/// The length of a field that says its length itself.
const VARIABLE: u16 = 0xffff;
/// The bit of an IPFIX field's number that says that an enterprise's number follows.
const ENTERPRISE_BIT: u16 = 0x8000;

/// A field of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Which information element (IANA, "IPFIX Information Elements").
    pub element: u16,
    /// Whose it is; 0 for IANA's.
    pub enterprise: u32,
    /// Its length in bytes.
    pub length: u16,
    /// Whether it tells what the record is about, in version 9 by a numbering of its own.
    pub is_scope: bool,
}

/// How the records of one kind are laid out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its number in its exporter's domain.
    pub id: u16,
    /// Whether its records are about the exporter instead of flows.
    pub is_options: bool,
    layout: Layout,
    fields: Box<[Field]>,
    len_min: usize,
}

/// What a set of templates says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Declared {
    /// A template.
    Template(Template),
    /// Of a template that it no longer holds (IPFIX); all of them when the number is that of the set.
    Withdrawn(u16),
    /// A template that cannot be used, because it has too many fields or its records would be empty.
    Refused,
}

/// The templates of a set, one after another.
#[derive(Clone, Debug)]
pub struct Templates<'a> {
    layout: Layout,
    is_options: bool,
    rest: Reader<'a>,
}

/// Reads the body of a set of templates.
pub const fn templates(layout: Layout, is_options: bool, body: &[u8]) -> Templates<'_> {
    Templates {
        layout,
        is_options,
        rest: Reader::new(body),
    }
}

impl Iterator for Templates<'_> {
    type Item = Declared;

    fn next(&mut self) -> Option<Declared> {
        let id = self.rest.u16()?;
        // What is left of a set may be padding.
        if id < 2 {
            return None;
        }
        let (scopes, count) = match (self.is_options, self.layout) {
            (false, _) => (0, self.rest.u16()?),
            (true, Layout::V9) => {
                // Lengths in bytes, four for a field.
                let (scopes, others) = (self.rest.u16()? / 4, self.rest.u16()? / 4);
                (scopes, scopes.saturating_add(others))
            }
            (true, Layout::Ipfix) => {
                let count = self.rest.u16()?;
                if count == 0 {
                    return Some(Declared::Withdrawn(id));
                }
                (self.rest.u16()?, count)
            }
        };
        if count == 0 {
            return Some(match self.layout {
                Layout::Ipfix => Declared::Withdrawn(id),
                Layout::V9 => Declared::Refused,
            });
        }
        let mut fields = Vec::new();
        for at in 0..count {
            let field = self.field(at < scopes)?;
            if fields.len() < FIELDS_MAX {
                fields.push(field);
            }
        }
        let len_min = fields.iter().map(Field::len_min).sum();
        if usize::from(count) > FIELDS_MAX || len_min == 0 || id < 256 {
            return Some(Declared::Refused);
        }
        Some(Declared::Template(Template {
            id,
            is_options: self.is_options,
            layout: self.layout,
            fields: fields.into(),
            len_min,
        }))
    }
}

impl Templates<'_> {
    fn field(&mut self, is_scope: bool) -> Option<Field> {
        let (element, length) = (self.rest.u16()?, self.rest.u16()?);
        let has_enterprise = self.layout == Layout::Ipfix && element & ENTERPRISE_BIT != 0;
        Some(Field {
            element: if has_enterprise {
                element & !ENTERPRISE_BIT
            } else {
                element
            },
            enterprise: if has_enterprise { self.rest.u32()? } else { 0 },
            length,
            is_scope,
        })
    }
}

impl Field {
    /// The least it takes of a record.
    fn len_min(&self) -> usize {
        match self.length {
            VARIABLE => 1,
            length => usize::from(length),
        }
    }
}

impl Template {
    /// The least that a record takes; at least 1.
    pub const fn len_min(&self) -> usize {
        self.len_min
    }

    /// Its fields.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Memory it takes, in bytes.
    pub fn size(&self) -> usize {
        size_of::<Self>().saturating_add(size_of_val(&*self.fields))
    }

    /// The records of a set's body.
    pub const fn records<'a>(&'a self, body: &'a [u8]) -> Records<'a> {
        Records {
            template: self,
            rest: Reader::new(body),
            is_broken: false,
        }
    }

    /// Reads one record; `None` when it ends too early.
    fn record(&self, reader: &mut Reader<'_>) -> Option<FlowFields> {
        let mut fields = FlowFields::default();
        for field in &self.fields {
            let length = match field.length {
                VARIABLE => match reader.u8()? {
                    255 => usize::from(reader.u16()?),
                    short => usize::from(short),
                },
                length => usize::from(length),
            };
            let value = reader.take(length)?;
            // Version 9 numbers scopes in its own way, and none of them is needed.
            if !(field.is_scope && self.layout == Layout::V9) {
                fields.enter(self.layout, field, value);
            }
        }
        fields.settle();
        Some(fields)
    }
}

/// The records of a set, one after another; what is left behind the last is padding.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    template: &'a Template,
    rest: Reader<'a>,
    is_broken: bool,
}

impl Records<'_> {
    /// Whether a record ended too early; to be asked after the last record.
    pub const fn is_broken(&self) -> bool {
        self.is_broken
    }
}

impl Iterator for Records<'_> {
    type Item = FlowFields;

    fn next(&mut self) -> Option<FlowFields> {
        if self.rest.len() < self.template.len_min {
            return None;
        }
        // Only a field of variable length can run out here.
        let record = self.template.record(&mut self.rest);
        if record.is_none() {
            self.is_broken = true;
            self.rest = Reader::new(&[]);
        }
        record
    }
}
