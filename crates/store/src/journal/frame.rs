//! One frame and its bytes.
//!
//! ```text
//! length of the payload u32 · digest of what follows, 8 bytes · number u64 · kind u8 · payload
//! ```
//! Integers are little-endian, the digest is the beginning of BLAKE3, the payload is JSON under Zstandard:
//! events as one object a line, all others as one value.

use std::io::Read;

use serde::de::DeserializeOwned;
use serde_json::Value;
use thymus_schema::{Alert, Event};

/// Bytes before the payload.
pub(super) const HEAD: usize = 4 + DIGEST + 8 + 1;
const DIGEST: usize = 8;
/// Largest payload, packed and unpacked.
pub(super) const PAYLOAD_MAX: usize = 64 << 20;
const JSON_MAX: u64 = 256 << 20;
/// Fast: a journal is written while packets wait.
const ZSTD_LEVEL: i32 = 1;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FrameKind {
    /// Events in order.
    Events,
    /// Alerts that are new or grew; a later one with the same id replaces the earlier.
    Alerts,
    /// Incidents that are new or changed, as `thymus replay --json` prints them.
    Incidents,
    /// Devices that are new or changed.
    Devices,
    /// How the run stands.
    Status,
    /// Verdicts on files.
    Files,
    /// What was learned until here is in a snapshot.
    Mark,
}

impl FrameKind {
    const ALL: [Self; 7] = [
        Self::Events,
        Self::Alerts,
        Self::Incidents,
        Self::Devices,
        Self::Status,
        Self::Files,
        Self::Mark,
    ];

    fn number(self) -> u8 {
        Self::ALL.iter().position(|kind| *kind == self).unwrap_or(0) as u8 + 1
    }

    fn of(number: u8) -> Option<Self> {
        let at = usize::from(number).checked_sub(1)?;
        Self::ALL.get(at).copied()
    }
}

/// A frame as it was read.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Its number; a later frame has a larger one.
    pub seq: u64,
    /// What it holds.
    pub body: FrameBody,
}

/// The content of a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameBody {
    /// See [`FrameKind::Events`].
    Events(Vec<Event>),
    /// See [`FrameKind::Alerts`].
    Alerts(Vec<Alert>),
    /// See [`FrameKind::Incidents`].
    Incidents(Vec<Value>),
    /// See [`FrameKind::Devices`].
    Devices(Vec<Value>),
    /// See [`FrameKind::Status`].
    Status(Value),
    /// See [`FrameKind::Files`].
    Files(Vec<Value>),
    /// See [`FrameKind::Mark`].
    Mark(Value),
}

/// Why a frame is not one.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Its digest is wrong.
    #[error("a frame of the journal is damaged")]
    Damaged,
    /// It says a length that none has.
    #[error("a frame of the journal says a length that none has")]
    Length,
    /// A later version wrote it.
    #[error("a frame of the journal is of a kind that this version does not know")]
    Kind,
    /// It cannot be unpacked.
    #[error("a frame of the journal cannot be unpacked")]
    Packing(#[source] std::io::Error),
    /// It is not the JSON that its kind asks for.
    #[error("a frame of the journal does not hold what its kind says")]
    Json(#[from] serde_json::Error),
}

impl FrameBody {
    /// Its kind.
    pub fn kind(&self) -> FrameKind {
        match self {
            Self::Events(_) => FrameKind::Events,
            Self::Alerts(_) => FrameKind::Alerts,
            Self::Incidents(_) => FrameKind::Incidents,
            Self::Devices(_) => FrameKind::Devices,
            Self::Status(_) => FrameKind::Status,
            Self::Files(_) => FrameKind::Files,
            Self::Mark(_) => FrameKind::Mark,
        }
    }

    /// The JSON that [`super::JournalWriter::write`] takes.
    ///
    /// # Errors
    /// When a value has no JSON.
    pub fn json(&self) -> Result<Vec<u8>, serde_json::Error> {
        match self {
            Self::Events(events) => {
                let mut out = Vec::new();
                for event in events {
                    serde_json::to_writer(&mut out, event)?;
                    out.push(b'\n');
                }
                Ok(out)
            }
            Self::Alerts(alerts) => serde_json::to_vec(alerts),
            Self::Incidents(values) | Self::Devices(values) | Self::Files(values) => {
                serde_json::to_vec(values)
            }
            Self::Status(value) | Self::Mark(value) => serde_json::to_vec(value),
        }
    }

    fn of_json(kind: FrameKind, json: &[u8]) -> Result<Self, serde_json::Error> {
        fn one<T: DeserializeOwned>(json: &[u8]) -> Result<T, serde_json::Error> {
            serde_json::from_slice(json)
        }
        Ok(match kind {
            FrameKind::Events => {
                let lines = serde_json::Deserializer::from_slice(json).into_iter();
                Self::Events(lines.collect::<Result<_, _>>()?)
            }
            FrameKind::Alerts => Self::Alerts(one(json)?),
            FrameKind::Incidents => Self::Incidents(one(json)?),
            FrameKind::Devices => Self::Devices(one(json)?),
            FrameKind::Status => Self::Status(one(json)?),
            FrameKind::Files => Self::Files(one(json)?),
            FrameKind::Mark => Self::Mark(one(json)?),
        })
    }
}

/// The bytes of a frame.
///
/// # Errors
/// When the payload cannot be packed or is too large.
pub(super) fn encode(seq: u64, kind: FrameKind, json: &[u8]) -> std::io::Result<Vec<u8>> {
    let payload = zstd::bulk::compress(json, ZSTD_LEVEL)?;
    if payload.len() > PAYLOAD_MAX || json.len() as u64 > JSON_MAX {
        return Err(std::io::Error::other("a frame of the journal is too large"));
    }
    let mut out = Vec::with_capacity(HEAD + payload.len());
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; DIGEST]);
    out.extend_from_slice(&seq.to_le_bytes());
    out.push(kind.number());
    out.extend_from_slice(&payload);
    let digest = digest(out.get(4 + DIGEST..).unwrap_or_default());
    if let Some(place) = out.get_mut(4..4 + DIGEST) {
        place.copy_from_slice(&digest);
    }
    Ok(out)
}

/// The length of the payload behind a head; nothing when no frame is so long.
pub(super) fn payload_len(head: &[u8; HEAD]) -> Option<usize> {
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    (len <= PAYLOAD_MAX).then_some(len)
}

/// A frame whose digest is right, not yet unpacked.
#[derive(Debug)]
pub(super) struct Packed<'a> {
    pub(super) seq: u64,
    pub(super) kind: FrameKind,
    payload: &'a [u8],
}

/// Checks a whole frame.
pub(super) fn check(frame: &[u8]) -> Result<Packed<'_>, FrameError> {
    let (head, payload) = frame.split_at_checked(HEAD).ok_or(FrameError::Length)?;
    let rest = frame.get(4 + DIGEST..).unwrap_or_default();
    if head.get(4..4 + DIGEST) != Some(digest(rest).as_slice()) {
        return Err(FrameError::Damaged);
    }
    let seq = head
        .get(4 + DIGEST..HEAD - 1)
        .and_then(|b| b.try_into().ok());
    let kind = head.last().and_then(|number| FrameKind::of(*number));
    Ok(Packed {
        seq: u64::from_le_bytes(seq.ok_or(FrameError::Length)?),
        kind: kind.ok_or(FrameError::Kind)?,
        payload,
    })
}

impl Packed<'_> {
    /// What is in it.
    pub(super) fn open(&self) -> Result<Frame, FrameError> {
        let mut json = Vec::new();
        zstd::Decoder::new(self.payload)
            .and_then(|unpacked| unpacked.take(JSON_MAX).read_to_end(&mut json))
            .map_err(FrameError::Packing)?;
        Ok(Frame {
            seq: self.seq,
            body: FrameBody::of_json(self.kind, &json)?,
        })
    }
}

fn digest(bytes: &[u8]) -> [u8; DIGEST] {
    let mut out = [0; DIGEST];
    let whole = blake3::hash(bytes);
    out.iter_mut()
        .zip(whole.as_bytes())
        .for_each(|(to, from)| *to = *from);
    out
}
