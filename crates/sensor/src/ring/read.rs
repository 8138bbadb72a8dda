//! Reading the ring: what came between two moments, file after file.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::named;

/// No block of a file of ours is longer.
const READ_MAX: usize = 1 << 20;

/// A packet of the ring.
#[derive(Clone, Copy, Debug)]
pub struct RingPacket<'a> {
    /// When it came, in nanoseconds since the epoch.
    pub ts: i64,
    /// Number of the LINKTYPE registry of tcpdump.
    pub link_type: u16,
    /// Bytes on the wire.
    pub wire_len: u32,
    /// Captured bytes.
    pub bytes: &'a [u8],
}

/// What there was to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingSpan {
    /// When the oldest packet of the ring came.
    pub oldest: Option<i64>,
    /// Files that may hold packets of the time asked for.
    pub files: u64,
    /// Files that could not be read to their end, for another reason than that they are still written.
    pub damaged: u64,
}

/// Hands `each` the packets that came between two moments, in the order in which they were kept, until it
/// says stop. A file that goes away meanwhile is passed over.
///
/// # Errors
/// When the folder cannot be read. A folder that is not there is an empty ring.
pub fn read_ring(
    folder: &Path,
    from: i64,
    to: i64,
    mut each: impl FnMut(&RingPacket<'_>) -> ControlFlow<()>,
) -> io::Result<RingSpan> {
    let mut files: Vec<(u64, i64, PathBuf)> = match fs::read_dir(folder) {
        Ok(entries) => entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let (number, first) = named(&path)?;
                Some((number, first, path))
            })
            .collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    files.sort();
    let mut span = RingSpan {
        oldest: files.first().map(|(_, first, _)| *first),
        ..RingSpan::default()
    };
    for (at, (_, first, path)) in files.iter().enumerate() {
        // Its last packet came before the first of the next, unless the clock was set back between them.
        let until = files.get(at + 1).map(|(_, next, _)| *next);
        if *first > to || until.is_some_and(|until| until >= *first && until < from) {
            continue;
        }
        let Ok(file) = File::open(path) else {
            continue;
        };
        span.files += 1;
        let within = |packet: &RingPacket<'_>| {
            if (from..=to).contains(&packet.ts) {
                each(packet)
            } else {
                ControlFlow::Continue(())
            }
        };
        match read_packets(&mut BufReader::with_capacity(1 << 17, file), within) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => break,
            Err(_) => span.damaged += 1,
        }
    }
    Ok(span)
}

/// The packets of a file; a file that is cut ends where it is cut.
fn read_packets(
    file: &mut impl Read,
    mut each: impl FnMut(&RingPacket<'_>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    let mut block = Vec::new();
    let mut link_type = 0;
    loop {
        let mut head = [0; 8];
        match file.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        let kind = word(&head, 0);
        let len = word(&head, 4) as usize;
        if !(12..=READ_MAX).contains(&len) || !len.is_multiple_of(4) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        block.resize(len - 8, 0);
        match file.read_exact(&mut block) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        match kind {
            1 => link_type = word(&block, 0) as u16,
            6 => {
                let ts = (u64::from(word(&block, 4)) << 32) | u64::from(word(&block, 8));
                let captured = word(&block, 12) as usize;
                let packet = block.get(20..20 + captured);
                let packet = packet.ok_or(io::ErrorKind::InvalidData)?;
                let packet = RingPacket {
                    ts: ts.cast_signed(),
                    link_type,
                    wire_len: word(&block, 16),
                    bytes: packet,
                };
                if each(&packet).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            _ => {}
        }
    }
    Ok(ControlFlow::Continue(()))
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk);
    word.copied().map_or(0, u32::from_le_bytes)
}

/// Reads a file of the ring; for the fuzzer.
pub fn fuzz_ring(mut bytes: &[u8]) {
    // What it cannot read it says.
    let _is_read = read_packets(&mut bytes, |_| ControlFlow::Continue(())).is_ok();
}
