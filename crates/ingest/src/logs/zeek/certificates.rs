//! Joins `ssl.log` with `x509.log`. A certificate's record is written some moments before or after
//! the handshake's, in another file, and newer versions write each certificate only once a day. So
//! the certificate logs are read ahead of the handshakes by a bounded span into a bounded table.

use std::collections::VecDeque;
use std::time::Duration;

use rustc_hash::FxHashMap;
use thymus_parsers::zeek::{ZeekField as F, ZeekJson, ZeekLine, ZeekRow, ZeekTsv};
use thymus_schema::{Certificate, Timestamp};

use super::{text, time};
use crate::input::Input;
use crate::logs::lines::{Line, Lines};

/// How far certificates are read ahead of handshakes.
const AHEAD: Duration = Duration::from_mins(2);
/// Most certificates remembered; the oldest are forgotten first.
const CERTIFICATES_MAX: usize = 65_536;
/// Most names kept of a certificate.
const NAMES_MAX: usize = 32;

/// Certificates by file id and by fingerprint.
#[derive(Default)]
pub(crate) struct Certificates {
    /// Logs not yet opened, earliest last.
    waiting: Vec<Input>,
    open: Option<Reading>,
    by_key: FxHashMap<Box<str>, Certificate>,
    order: VecDeque<Box<str>>,
    /// Time of the last record read.
    reached: Option<Timestamp>,
    /// The logs are followed: their own lines are handed over as they are written.
    followed: bool,
}

struct Reading {
    lines: Lines,
    json: bool,
    tsv: ZeekTsv,
    objects: ZeekJson,
}

impl Certificates {
    pub(crate) fn new(mut logs: Vec<Input>) -> Self {
        logs.sort_by(|a, b| (b.first, &b.path).cmp(&(a.first, &a.path)));
        Self {
            waiting: logs,
            ..Self::default()
        }
    }

    /// Of logs that grow: nothing is read ahead, [`Self::learn`] is told of each line.
    pub(crate) fn followed() -> Self {
        Self {
            followed: true,
            ..Self::default()
        }
    }

    /// Whether a certificate that is not here may still come.
    pub(super) const fn is_followed(&self) -> bool {
        self.followed
    }

    /// Takes over a line of a certificate log that is followed.
    pub(super) fn learn(&mut self, row: &ZeekRow<'_>) {
        if !self.followed {
            return;
        }
        if let Some((_, keys, certificate)) = read(row) {
            for key in keys {
                self.keep(key, certificate.clone());
            }
        }
    }

    /// The certificates that came last, at most `count`, for the position file.
    pub(crate) fn last(&self, count: usize) -> Vec<(Box<str>, Certificate)> {
        let skip = self.order.len().saturating_sub(count);
        let keys = self.order.iter().skip(skip);
        keys.filter_map(|key| Some((key.clone(), self.by_key.get(key)?.clone())))
            .collect()
    }

    /// Takes back what [`Self::last`] gave.
    pub(crate) fn restore(&mut self, kept: Vec<(Box<str>, Certificate)>) {
        for (key, certificate) in kept {
            self.keep(key, certificate);
        }
    }

    /// The certificate by the best of these names that is known.
    pub(crate) fn known(&self, keys: &[Box<str>]) -> Option<&Certificate> {
        keys.iter().find_map(|key| self.by_key.get(key))
    }

    /// The certificate with this file id or fingerprint, for a handshake at `ts`.
    pub(crate) fn find(&mut self, key: &str, ts: Timestamp) -> Option<&Certificate> {
        while self.reached.is_none_or(|reached| reached < ts.plus(AHEAD)) && self.read_one(ts) {}
        self.by_key.get(key)
    }

    /// Reads one more record; `false` when there is none to read yet.
    fn read_one(&mut self, ts: Timestamp) -> bool {
        let Some(reading) = &mut self.open else {
            let due = |input: &Input| input.first.is_none_or(|first| first <= ts.plus(AHEAD));
            if !self.waiting.last().is_some_and(due) {
                return false;
            }
            self.open = self.waiting.pop().and_then(|input| {
                Some(Reading {
                    lines: Lines::new(input.open().ok()?),
                    json: input.format.ends_with(" json"),
                    tsv: ZeekTsv::default(),
                    objects: ZeekJson::default(),
                })
            });
            return true;
        };
        let line = match reading.lines.next() {
            Line::Text(line) => line,
            Line::TooLong => return true,
            // The log's own lane reports what is wrong with it.
            Line::Error(_) | Line::End => {
                self.open = None;
                return true;
            }
        };
        let read = if reading.json {
            reading
                .objects
                .line(line)
                .and_then(|object| read(&object.row()))
        } else if let ZeekLine::Row(row) = reading.tsv.line(line) {
            read(&row)
        } else {
            None
        };
        if let Some((ts, keys, certificate)) = read {
            self.reached = self.reached.max(Some(ts));
            for key in keys {
                self.keep(key, certificate.clone());
            }
        }
        true
    }

    fn keep(&mut self, key: Box<str>, certificate: Certificate) {
        if key.is_empty() {
            return;
        }
        if self.by_key.insert(key.clone(), certificate).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > CERTIFICATES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_key.remove(&oldest);
        }
    }
}

fn read(row: &ZeekRow<'_>) -> Option<(Timestamp, [Box<str>; 2], Certificate)> {
    let ts = time(row, F::Ts)?;
    let fingerprint = text(row, F::Fingerprint);
    let is_sha256 = fingerprint.len() == 64;
    let mut names: Vec<Box<str>> = row.list(F::SanDns).into_iter().map(Into::into).collect();
    names.extend(row.list(F::SanIp).into_iter().map(Box::<str>::from));
    names.truncate(NAMES_MAX);
    let subject = text(row, F::SubjectCert);
    let issuer = text(row, F::IssuerCert);
    let certificate = Certificate {
        self_signed: !subject.is_empty() && subject == issuer,
        not_before: time(row, F::NotBefore).unwrap_or_default(),
        not_after: time(row, F::NotAfter).unwrap_or_default(),
        sha256: if is_sha256 {
            fingerprint.clone()
        } else {
            Box::default()
        },
        subject,
        issuer,
        names,
        chain_len: 0,
    };
    Some((ts, [text(row, F::CertFile), fingerprint], certificate))
}
