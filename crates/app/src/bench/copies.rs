//! The same capture again and again as other people's traffic: every copy has other addresses and
//! begins after the one before has ended. What grows with time or with addresses shows.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::pipeline;
use crate::replay::{now, peak_memory_bytes};

/// Figures after one more copy.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct AfterCopy {
    /// Seconds this copy took, without the making of it.
    pub(super) secs: f64,
    pub(super) packets: u64,
    /// Memory that is resident now.
    pub(super) resident_bytes: u64,
    /// The most memory so far.
    pub(super) peak_bytes: u64,
    /// Devices known so far.
    pub(super) devices: usize,
}

/// Feeds `count` copies of the capture at `path` into one engine, the capture itself first.
pub(super) fn measure(path: &Path, count: u32) -> Result<Vec<AfterCopy>> {
    ensure!((1..=200).contains(&count), "--copies must be 1 to 200");
    let span_secs = span_of(path).with_context(|| format!("cannot copy {}", path.display()))?;
    let began = Cell::new(now());
    let mut made: Option<Made> = None;
    let inputs = (0..count).map(|copy| {
        let input = if copy == 0 {
            path.to_path_buf()
        } else {
            made = None;
            made.insert(Made::new(path, copy, span_secs)?).path.clone()
        };
        began.set(now());
        Ok(input)
    });
    let mut after = Vec::new();
    pipeline::series(inputs, |coverage, engine| {
        after.push(AfterCopy {
            secs: began.get().elapsed().as_secs_f64(),
            packets: coverage.packets,
            resident_bytes: resident_bytes(),
            peak_bytes: peak_memory_bytes(),
            devices: engine.entities().devices(),
        });
        Ok(())
    })?;
    Ok(after)
}

/// Memory resident now, in bytes; 0 where the system does not say.
fn resident_bytes() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split_whitespace().nth(1).and_then(|n| n.parse().ok());
    pages.unwrap_or(0_u64) * 4096
}

/// A copy on disk, removed when it goes out of scope.
struct Made {
    path: PathBuf,
}

impl Made {
    fn new(source: &Path, copy: u32, span_secs: u32) -> Result<Self> {
        let name = format!("thymus-bench-{}-copy.pcap", std::process::id());
        let made = Self {
            path: std::env::temp_dir().join(name),
        };
        let what = || format!("cannot write the copy {}", made.path.display());
        let mut out = BufWriter::new(File::create(&made.path).with_context(what)?);
        let mut capture = Classic::open(source)?;
        out.write_all(&capture.head).with_context(what)?;
        while capture.step()? {
            let secs = word(&capture.header, 0).wrapping_add(copy.wrapping_mul(span_secs));
            capture.header[..4].copy_from_slice(&secs.to_le_bytes());
            shift(&mut capture.packet, copy as u8);
            out.write_all(&capture.header).with_context(what)?;
            out.write_all(&capture.packet).with_context(what)?;
        }
        out.flush().with_context(what)?;
        drop(out);
        Ok(made)
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        // Nothing can be done about a file that does not go away.
        drop(std::fs::remove_file(&self.path));
    }
}

/// Seconds from the earliest to the latest packet, and an hour.
fn span_of(path: &Path) -> Result<u32> {
    let mut capture = Classic::open(path)?;
    let (mut first, mut last) = (u32::MAX, 0);
    while capture.step()? {
        let secs = word(&capture.header, 0);
        (first, last) = (first.min(secs), last.max(secs));
    }
    Ok(last.saturating_sub(first).saturating_add(3_600))
}

/// A classic little-endian Ethernet capture, record by record.
struct Classic {
    reader: BufReader<File>,
    head: [u8; 24],
    header: [u8; 16],
    packet: Vec<u8>,
}

impl Classic {
    const PACKET_BYTES_MAX: u32 = 1 << 18;

    fn open(path: &Path) -> Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut head = [0; 24];
        reader.read_exact(&mut head)?;
        let is_ours = matches!(word(&head, 0), 0xa1b2_c3d4 | 0xa1b2_3c4d) && word(&head, 20) == 1;
        ensure!(
            is_ours,
            "only little-endian Ethernet captures in the pcap format can be copied; editcap -F pcap makes one"
        );
        Ok(Self {
            reader,
            head,
            header: [0; 16],
            packet: Vec::new(),
        })
    }

    /// Reads the next record; `false` at the end.
    fn step(&mut self) -> Result<bool> {
        match self.reader.read_exact(&mut self.header) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        let len = word(&self.header, 8);
        ensure!(len <= Self::PACKET_BYTES_MAX, "a record that is no packet");
        self.packet.resize(len as usize, 0);
        self.reader.read_exact(&mut self.packet)?;
        Ok(true)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let word = bytes.get(at..).and_then(<[u8]>::first_chunk::<4>);
    word.map_or(0, |word| u32::from_le_bytes(*word))
}

/// Moves the IPv4 addresses of a frame to other networks of the same kind: `by` is added to the
/// third number, so private stays private and outside stays outside. Groups stay as they are.
fn shift(frame: &mut [u8], by: u8) {
    let at = match frame.get(12..16) {
        Some([0x08, 0x00, ..]) => 14,
        Some([0x81, 0x00, ..]) if frame.get(16..18) == Some(&[0x08, 0x00]) => 18,
        // An ARP message for Ethernet and IPv4 has its addresses 14 and 24 bytes in.
        Some([0x08, 0x06, ..]) => {
            for at in [28, 38] {
                shift_address(frame, at, by);
            }
            return;
        }
        _ => return,
    };
    for at in [at + 12, at + 16] {
        shift_address(frame, at, by);
    }
}

fn shift_address(frame: &mut [u8], at: usize, by: u8) {
    if let Some([first @ 1..=223, _, third, _]) = frame.get_mut(at..at + 4)
        && *first != 127
    {
        *third = third.wrapping_add(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_move_and_groups_stay() {
        let mut frame = vec![0; 12];
        frame.extend([8, 0]);
        frame.extend([0; 12]);
        frame.extend([10, 1, 255, 7, 224, 0, 0, 251]);
        shift(&mut frame, 3);
        assert_eq!(frame[26..34], [10, 1, 2, 7, 224, 0, 0, 251]);
    }

    #[test]
    fn copies_of_a_generated_capture_are_fed_one_after_the_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.pcap");
        super::super::traffic::write(200, &mut File::create(&path).unwrap()).unwrap();
        let after = measure(&path, 3).unwrap();
        assert_eq!(after.len(), 3);
        assert!(after.iter().all(|copy| copy.packets == after[0].packets));
        // Other addresses are other devices.
        assert!(after[2].devices >= 3 * (after[0].devices - 1), "{after:?}");
    }
}
