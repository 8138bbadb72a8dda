//! Connections that another one announced: FTP's data connections. Whoever listens is known by the control
//! connection; what passes is the file it named.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use thymus_schema::{Conn, Endpoint, Service, Transport};

use super::{Carving, FileTold};
use crate::analyzer::{Analyzer, AnalyzerCx, Side};

/// Connections announced that have not come, or not ended.
const EXPECTED_MAX: usize = 4_096;

/// What an announced connection will carry.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expected {
    /// Who will connect.
    pub(crate) peer: Option<IpAddr>,
    /// The file's name.
    pub(crate) name: Box<str>,
    /// Only a part of it passes.
    pub(crate) is_part: bool,
    /// Its bytes, when somebody said so.
    pub(crate) size: Option<u64>,
    /// The connection has begun.
    pub(crate) is_used: bool,
}

type Place = (IpAddr, u16);

/// All that is expected.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    by_place: BTreeMap<Place, (u64, Expected)>,
    order: VecDeque<(u64, Place)>,
    stamp: u64,
}

const fn place(listener: Endpoint) -> Place {
    (listener.addr, listener.port)
}

impl Expectations {
    /// A connection to `listener` is announced.
    pub(crate) fn add(&mut self, listener: Endpoint, expected: Expected) {
        self.stamp += 1;
        let place = place(listener);
        self.by_place.insert(place, (self.stamp, expected));
        self.order.push_back((self.stamp, place));
        while self.order.len() > EXPECTED_MAX
            && let Some((stamp, place)) = self.order.pop_front()
        {
            if self.by_place.get(&place).is_some_and(|of| of.0 == stamp) {
                self.by_place.remove(&place);
            }
        }
    }

    /// The file's bytes became known.
    pub(crate) fn set_size(&mut self, listener: Endpoint, size: u64) {
        if let Some((_, expected)) = self.by_place.get_mut(&place(listener)) {
            expected.size = Some(size);
        }
    }

    /// What was announced of a connection that begins.
    pub(crate) fn of(&mut self, conn: &Conn) -> Option<Expected> {
        if conn.transport != Transport::Tcp || self.by_place.is_empty() {
            return None;
        }
        let (_, expected) = self.by_place.get_mut(&place(conn.server))?;
        // One connection for each announcement, and only between the two that made it.
        if expected.peer != Some(conn.client.addr) || std::mem::replace(&mut expected.is_used, true)
        {
            return None;
        }
        Some(expected.clone())
    }

    fn take(&mut self, conn: &Conn) -> Option<Expected> {
        self.by_place
            .remove(&place(conn.server))
            .map(|(_, expected)| expected)
    }
}

/// Reads a data connection of FTP: all of it is the file.
pub(crate) struct FtpData {
    expected: Expected,
    sender: Option<Side>,
    file: Option<Carving>,
    is_cut: bool,
}

impl FtpData {
    pub(crate) const fn new(expected: Expected) -> Self {
        Self {
            is_cut: expected.is_part,
            expected,
            sender: None,
            file: None,
        }
    }
}

impl Analyzer for FtpData {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if self.sender.is_none() {
            self.sender = Some(side);
            self.file = cx.carve();
        }
        if self.sender != Some(side) {
            self.is_cut = true;
        } else if let Some(file) = &mut self.file {
            file.push(bytes, &self.expected.name);
        }
    }

    fn gap(&mut self, _side: Side, _missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.is_cut = true;
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        let told = cx.carver.expectations().take(cx.conn);
        let Some(file) = self.file.take() else {
            return;
        };
        let size = told.and_then(|told| told.size).or(self.expected.size);
        let ended = self.sender.is_some_and(|side| cx.ended[side as usize]);
        let is_short = size.is_some_and(|size| file.len() < size);
        let told = FileTold {
            name: std::mem::take(&mut self.expected.name),
            content_type: Box::default(),
            service: Some(Service::FtpData),
            // As of any conversation: whether the side that began it sends.
            upload: self.sender == Some(Side::Client),
        };
        cx.file(&file, ended && !is_short && !self.is_cut, told);
    }
}
