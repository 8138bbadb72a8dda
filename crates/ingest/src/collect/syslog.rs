//! Syslog: messages in datagrams, and in streams out of which they are cut.

use std::collections::BTreeMap;
use std::net::IpAddr;

use thymus_parsers::syslog::{FRAME_BYTES_MAX, Framing, frame, message as read};
use thymus_schema::{Coverage, Timestamp};

use super::exporter::UNREADABLE;
use super::join::Told;
use crate::logs::syslog::{self, SyslogCx};
use crate::logs::{Decoded, Records};

/// What a message told.
pub(super) struct Message {
    pub(super) records: Vec<Told>,
    /// The program that wrote it, when nothing of it is judged.
    pub(super) program: Option<String>,
}

/// Reads a message from the exporter with that number and address.
pub(super) fn message(
    bytes: &[u8],
    (exporter, addr): (u32, IpAddr),
    received: Timestamp,
    coverage: &mut Coverage,
) -> Message {
    coverage.records += 1;
    let nothing = |program: &str| Message {
        records: Vec::new(),
        program: Some(program.to_owned()),
    };
    let Some(message) = read(bytes) else {
        coverage.drop_for("syslog_malformed", 1);
        return nothing(UNREADABLE);
    };
    let mut records = Records::default();
    let cx = SyslogCx {
        // Half of all senders leave the zone out, and clocks differ: the arrival is known.
        ts: received,
        // A message may name another host, where a relay sent it.
        host: message.host.parse().unwrap_or(addr),
    };
    if syslog::read(&message, &cx, &mut records) != Decoded::Used {
        coverage.drop_for("syslog_not_used", 1);
        return nothing(&name(message.program));
    }
    coverage.records_judged += 1;
    let told = records.take().map(|record| Told {
        exporter,
        conn: record.conn,
        body: record.body,
    });
    Message {
        records: told.collect(),
        program: None,
    }
}

/// A program's name without what could be anything.
fn name(program: &str) -> String {
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '/' | '.');
    let name: String = program.chars().take(32).filter(plain).collect();
    if name.is_empty() {
        "unnamed".to_owned()
    } else {
        name
    }
}

/// The connections that messages come over.
#[derive(Debug)]
pub(super) struct Connections {
    max: usize,
    open: BTreeMap<u64, Vec<u8>>,
}

impl Connections {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            max,
            open: BTreeMap::new(),
        }
    }

    /// More bytes of a connection: the messages that are whole; `None` when nothing of it can be read.
    pub(super) fn bytes(
        &mut self,
        connection: u64,
        bytes: &[u8],
        coverage: &mut Coverage,
    ) -> Option<Vec<Vec<u8>>> {
        if !self.open.contains_key(&connection) && self.open.len() >= self.max {
            coverage.drop_for("syslog_connections_full", 1);
            return None;
        }
        let held = self.open.entry(connection).or_default();
        held.extend_from_slice(bytes);
        let mut messages = Vec::new();
        let mut at = 0;
        loop {
            let rest = held.get(at..).unwrap_or_default();
            match frame(rest) {
                Framing::Whole { message, used } => {
                    if !message.is_empty() {
                        messages.push(message.to_vec());
                    }
                    at += used;
                }
                Framing::More => break,
                Framing::Lost => {
                    coverage.records += 1;
                    coverage.drop_for("syslog_frame_too_long", 1);
                    at = held.len();
                    break;
                }
            }
        }
        held.drain(..at);
        debug_assert!(held.len() <= FRAME_BYTES_MAX + 8);
        Some(messages)
    }

    /// The connection has ended; what is left of it.
    pub(super) fn end(&mut self, connection: u64) -> Option<Vec<u8>> {
        let rest = self.open.remove(&connection)?;
        let is_line = rest.first().is_some_and(|first| !first.is_ascii_digit());
        is_line.then_some(rest)
    }
}
