//! The last packets on disk, bounded: capture files of which the oldest goes when there is no room, written
//! by a thread of its own so that a slow disk costs packets that are kept and never packets that are judged.
//!
//! ```text
//! FOLDER/NUMBER-NANOSECONDS.pcapng    which file it is, when its first packet came
//! ```

use std::collections::VecDeque;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::statvfs;
use serde::{Deserialize, Serialize};

use crate::block::PacketBlock;
use crate::pcapng;

mod read;

pub use read::{RingPacket, RingSpan, fuzz_ring, read_ring};

/// A file takes this share of the ring: what goes at a time.
const PARTS: u64 = 16;
const PART_MIN: u64 = 64 << 10;
const PART_MAX: u64 = 64 << 20;
/// So much of the disk stays free, or this part of a smaller one: what is found needs it more.
const FREE_MIN: u64 = 256 << 20;
const FREE_SHARE: u64 = 20;
/// Bytes between two looks at the room on the disk.
const LOOK_EVERY: u64 = 1 << 20;
/// Packets that wait for the disk.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// Blocks kept for their room.
const SPARE_MAX: usize = 4;
/// Another bound is heeded after this, also when nothing comes.
const HEED_EVERY: Duration = Duration::from_secs(1);
const NAME_END: &str = ".pcapng";

/// How the keeping of packets stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingReport {
    /// Bytes on disk.
    pub bytes: u64,
    /// Packets that the disk had no room or no time for.
    pub packets_not_kept: u64,
    /// Why nothing is kept now, where that is so.
    pub trouble: Option<String>,
}

/// The files, for whoever writes them.
#[derive(Debug)]
pub struct PacketRing {
    folder: PathBuf,
    link_type: u16,
    bytes_max: u64,
    /// What it may take now: less than `bytes_max` while the disk is full,
    bytes_now: u64,
    /// and what others leave.
    room: u64,
    /// Bytes until the next look at that.
    unlooked: u64,
    /// Files that are whole, the oldest first, with their sizes.
    files: VecDeque<(PathBuf, u64)>,
    open: Option<(BufWriter<File>, PathBuf, u64)>,
    next: u64,
}

impl PacketRing {
    /// Goes on in `folder`, which is made where it is not there, and takes at most `bytes_max` bytes of disk,
    /// give or take a block; with 0 nothing is kept, nor what is there already.
    ///
    /// # Errors
    /// When the folder cannot be made or read.
    pub fn open(folder: &Path, link_type: u32, bytes_max: u64) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        let mut files: Vec<(u64, PathBuf, u64)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if let Some((number, _)) = named(&entry.path()) {
                files.push((number, entry.path(), entry.metadata()?.len()));
            }
        }
        files.sort();
        let next = files.last().map_or(0, |(number, ..)| number + 1);
        let mut ring = Self {
            folder: folder.to_path_buf(),
            link_type: u16::try_from(link_type).unwrap_or(0),
            bytes_max,
            bytes_now: bytes_max,
            room: bytes_max,
            unlooked: 0,
            files: files
                .into_iter()
                .map(|(_, path, bytes)| (path, bytes))
                .collect(),
            open: None,
            next,
        };
        ring.make_room(0);
        Ok(ring)
    }

    /// Bytes on disk, or on their way there.
    pub fn bytes(&self) -> u64 {
        let open = self.open.as_ref().map_or(0, |(.., bytes)| *bytes);
        open + self.files.iter().map(|(_, bytes)| bytes).sum::<u64>()
    }

    /// Takes at most so many bytes from now on.
    pub fn limit_to(&mut self, bytes_max: u64) {
        if bytes_max == self.bytes_max {
            return;
        }
        self.bytes_max = bytes_max;
        self.bytes_now = bytes_max;
        if self.bytes() > self.limit() {
            // What waits in memory goes with the file, if it goes.
            let _is_whole = self.flush().is_ok();
            self.close_open();
            self.make_room(0);
        }
    }

    /// Adds the packets of a block.
    ///
    /// # Errors
    /// When they cannot be written. What others on this disk need is given back, so that some of it stays
    /// free; where nothing was free all the same, half of what is kept.
    pub fn write(&mut self, block: &PacketBlock) -> io::Result<()> {
        if self.bytes_max == 0 {
            return Ok(());
        }
        self.look_for_room(block.size() as u64)?;
        let written = self.add(block);
        if let Err(error) = &written {
            self.close_open();
            if error.kind() == io::ErrorKind::StorageFull {
                self.bytes_now = self.bytes() / 2;
                self.make_room(0);
            }
        }
        written
    }

    /// Puts on disk what waits in memory.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.open.as_mut().map_or(Ok(()), |(out, ..)| out.flush())
    }

    fn limit(&self) -> u64 {
        self.bytes_now.min(self.room)
    }

    fn part_max(&self) -> u64 {
        (self.bytes_max.min(self.room) / PARTS).clamp(PART_MIN, PART_MAX)
    }

    /// Gives room back to the disk before it is full.
    fn look_for_room(&mut self, more: u64) -> io::Result<()> {
        if self.unlooked > more {
            self.unlooked -= more;
            return Ok(());
        }
        let disk = statvfs(&self.folder).inspect_err(|_| self.close_open())?;
        let free_min = (disk.f_blocks * disk.f_frsize / FREE_SHARE).min(FREE_MIN);
        let free = disk.f_bavail * disk.f_frsize;
        self.room = (self.bytes() + free).saturating_sub(free_min);
        if self.bytes() > self.room {
            self.close_open();
            self.make_room(0);
        }
        if self.room < 2 * PART_MIN {
            let why = format!(
                "less than {} MiB of this disk are free",
                free_min.div_ceil(1 << 20)
            );
            return Err(io::Error::new(io::ErrorKind::StorageFull, why));
        }
        // The nearer to the end, the more often.
        self.unlooked = (self.room / PARTS).min(LOOK_EVERY);
        Ok(())
    }

    fn add(&mut self, block: &PacketBlock) -> io::Result<()> {
        let Some(first) = block.records().first() else {
            return Ok(());
        };
        let is_full = |(.., bytes): &(_, _, u64)| *bytes >= self.part_max();
        if self.open.as_ref().is_some_and(is_full) {
            self.flush()?;
            self.close_open();
            // The disk took a whole file: more of the room is used again.
            self.bytes_now = (self.bytes_now + self.part_max()).min(self.bytes_max);
        }
        self.make_room(block.size() as u64);
        if self.open.is_none() {
            let name = format!("{:010}-{:020}{NAME_END}", self.next, first.ts.max(0));
            let path = self.folder.join(name);
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let out = BufWriter::with_capacity(1 << 17, options.open(&path)?);
            self.next += 1;
            self.open = Some((out, path, 0));
            let head = pcapng::head(self.link_type);
            self.put(|out| out.write_all(&head).map(|()| head.len() as u64))?;
        }
        self.put(|out| pcapng::write_block(out, block))
    }

    fn put(
        &mut self,
        write: impl FnOnce(&mut BufWriter<File>) -> io::Result<u64>,
    ) -> io::Result<()> {
        if let Some((out, _, bytes)) = &mut self.open {
            *bytes += write(out)?;
        }
        Ok(())
    }

    /// The open file is one of the others from now on, as long as it became.
    fn close_open(&mut self) {
        if let Some((out, path, _)) = self.open.take() {
            // What could not be written before cannot be written now either.
            let (file, _left) = out.into_parts();
            drop(file);
            let bytes = fs::metadata(&path).map_or(0, |metadata| metadata.len());
            self.files.push_back((path, bytes));
        }
    }

    /// Takes the oldest files away until `more` bytes fit.
    fn make_room(&mut self, more: u64) {
        while self.bytes() + more > self.limit()
            && let Some((path, _)) = self.files.pop_front()
        {
            // Who cannot remove it does not count it twice: it is found again at the next start.
            let _is_gone = fs::remove_file(&path).is_ok();
        }
    }
}

/// Number and first time of a file of the ring, by its name.
fn named(path: &Path) -> Option<(u64, i64)> {
    let name = path.file_name()?.to_str()?.strip_suffix(NAME_END)?;
    let (number, ts) = name.split_once('-')?;
    Some((number.parse().ok()?, ts.parse().ok()?))
}

/// A ring, written by a thread of its own.
#[derive(Debug)]
pub struct RingKeeper {
    into: Option<Sender<PacketBlock>>,
    back: Receiver<PacketBlock>,
    waiting: Arc<AtomicUsize>,
    tell: TellRing,
    thread: Option<JoinHandle<()>>,
}

impl RingKeeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(ring: PacketRing) -> io::Result<Self> {
        let (into, blocks) = channel();
        let (used, back) = sync_channel(SPARE_MAX);
        let waiting = Arc::new(AtomicUsize::new(0));
        let tell = TellRing {
            report: Arc::default(),
            bytes_max: Arc::new(AtomicU64::new(ring.bytes_max)),
        };
        let work = Work {
            ring,
            waiting: Arc::clone(&waiting),
            tell: tell.clone(),
        };
        let thread = thread::Builder::new()
            .name("packets".to_owned())
            .spawn(move || work.run(&blocks, &used))?;
        Ok(Self {
            into: Some(into),
            back,
            waiting,
            tell,
            thread: Some(thread),
        })
    }

    /// Has the packets of a block kept; never waits.
    pub fn keep(&mut self, block: &PacketBlock) {
        let size = block.size();
        if self.waiting.load(Ordering::Relaxed) + size > WAITING_BYTES_MAX {
            locked(&self.tell.report).packets_not_kept += block.records().len() as u64;
            return;
        }
        let mut copy = self.back.try_recv().unwrap_or_default();
        copy.copy_from(block);
        self.waiting.fetch_add(size, Ordering::Relaxed);
        if let Some(into) = &self.into {
            // The thread ends only with this.
            let _is_taken = into.send(copy).is_ok();
        }
    }

    /// Who can say how it stands.
    pub(crate) fn tell(&self) -> TellRing {
        self.tell.clone()
    }
}

/// Says how a ring stands, and is told how much it may take.
#[derive(Clone, Debug)]
pub(crate) struct TellRing {
    report: Arc<Mutex<RingReport>>,
    bytes_max: Arc<AtomicU64>,
}

impl TellRing {
    /// Nothing where nothing is to be kept.
    pub(crate) fn report(&self) -> Option<RingReport> {
        let is_kept = self.bytes_max.load(Ordering::Relaxed) > 0;
        is_kept.then(|| locked(&self.report).clone())
    }

    pub(crate) fn limit_to(&self, bytes_max: u64) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }
}

impl Drop for RingKeeper {
    /// Waits for what is on its way to the disk.
    fn drop(&mut self) {
        self.into = None;
        if let Some(thread) = self.thread.take() {
            let _is_over = thread.join().is_ok();
        }
    }
}

fn locked(report: &Mutex<RingReport>) -> std::sync::MutexGuard<'_, RingReport> {
    report.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the thread does.
struct Work {
    ring: PacketRing,
    waiting: Arc<AtomicUsize>,
    tell: TellRing,
}

impl Work {
    fn run(mut self, blocks: &Receiver<PacketBlock>, used: &SyncSender<PacketBlock>) {
        loop {
            let block = blocks.recv_timeout(HEED_EVERY);
            self.ring
                .limit_to(self.tell.bytes_max.load(Ordering::Relaxed));
            let block = match block {
                Ok(block) => block,
                Err(RecvTimeoutError::Timeout) => {
                    locked(&self.tell.report).bytes = self.ring.bytes();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let written = self.ring.write(&block);
            let left = self.waiting.fetch_sub(block.size(), Ordering::Relaxed) - block.size();
            // With nothing more to do, what is in memory goes to the disk, for whoever asks for it.
            let written = written.and_then(|()| match left {
                0 => self.ring.flush(),
                _ => Ok(()),
            });
            self.note(&written, block.records().len() as u64);
            // There may be enough of them, or nobody left who wants it.
            let _is_wanted = used.try_send(block).is_ok();
        }
        let flushed = self.ring.flush();
        self.note(&flushed, 0);
    }

    fn note(&self, written: &io::Result<()>, packets: u64) {
        let mut report = locked(&self.tell.report);
        report.bytes = self.ring.bytes();
        match written {
            Ok(()) => report.trouble = None,
            Err(error) => {
                report.packets_not_kept += packets;
                let folder = self.ring.folder.display();
                report.trouble = Some(format!("packets cannot be kept in {folder}: {error}"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;

    fn block(from: i64, packets: i64) -> PacketBlock {
        let mut block = PacketBlock::default();
        for n in 0..packets {
            block.push(from + n, 101, &[n as u8; 101], None);
        }
        block
    }

    fn times(folder: &Path, from: i64, to: i64) -> Vec<i64> {
        let mut times = Vec::new();
        let span = read_ring(folder, from, to, |packet| {
            assert_eq!(
                (packet.link_type, packet.wire_len, packet.bytes.len()),
                (1, 101, 101)
            );
            times.push(packet.ts);
            ControlFlow::Continue(())
        });
        assert_eq!(span.unwrap().damaged, 0);
        times
    }

    #[test]
    fn the_oldest_packets_go_and_the_bound_holds() {
        let folder = tempfile::tempdir().unwrap();
        let max = 4 * PART_MIN;
        let mut ring = PacketRing::open(folder.path(), 1, max).unwrap();
        for n in 0..100 {
            ring.write(&block(n * 100, 100)).unwrap();
        }
        ring.flush().unwrap();
        let on_disk = |folder: &Path| -> u64 {
            let entries = fs::read_dir(folder).unwrap();
            entries
                .map(|entry| entry.unwrap().metadata().unwrap().len())
                .sum()
        };
        assert!(ring.bytes() <= max + 16_000, "{}", ring.bytes());
        assert_eq!(on_disk(folder.path()), ring.bytes());
        let kept = times(folder.path(), 0, i64::MAX);
        assert_eq!(kept.last(), Some(&9_999));
        assert!(kept.len() > 1_000 && kept.len() < 2_500, "{}", kept.len());
        assert!(kept.is_sorted());
        assert_eq!(
            times(folder.path(), 9_500, 9_549),
            (9_500..9_550).collect::<Vec<i64>>()
        );
        assert!(times(folder.path(), 0, 10).is_empty(), "those are gone");
        drop(ring);
        // Who goes on counts what there is.
        let mut ring = PacketRing::open(folder.path(), 1, max / 2).unwrap();
        ring.write(&block(10_000, 1)).unwrap();
        ring.flush().unwrap();
        assert!(on_disk(folder.path()) <= max / 2 + 16_000);
        assert_eq!(times(folder.path(), 9_999, 20_000), [9_999, 10_000]);
    }

    #[test]
    fn a_file_that_is_cut_ends_where_it_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = PacketRing::open(folder.path(), 1, 1 << 20).unwrap();
        ring.write(&block(0, 10)).unwrap();
        ring.flush().unwrap();
        drop(ring);
        let file = fs::read_dir(folder.path()).unwrap().next().unwrap();
        let path = file.unwrap().path();
        let whole = fs::read(&path).unwrap();
        for len in 0..whole.len() {
            fs::write(&path, &whole[..len]).unwrap();
            let packets = times(folder.path(), 0, 100).len();
            let fit = len.saturating_sub(pcapng::HEAD_LEN) / 136;
            assert_eq!(packets, fit, "cut at {len}");
        }
        let mut wrong = whole;
        wrong[pcapng::HEAD_LEN + 4] = 7;
        fs::write(&path, &wrong).unwrap();
        let span = read_ring(folder.path(), 0, 100, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!((span.files, span.damaged, span.oldest), (1, 1, Some(0)));
    }

    #[test]
    fn what_is_kept_by_the_thread_is_there_when_it_ended() {
        let folder = tempfile::tempdir().unwrap();
        let ring = PacketRing::open(folder.path(), 1, 1 << 20).unwrap();
        let mut keeper = RingKeeper::start(ring).unwrap();
        for n in 0..20 {
            keeper.keep(&block(n * 10, 10));
        }
        assert_eq!(keeper.tell().report().unwrap().trouble, None);
        drop(keeper);
        assert_eq!(times(folder.path(), 0, 1_000).len(), 200);
    }

    #[test]
    fn another_bound_is_heeded_while_it_goes_on_and_0_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let mut ring = PacketRing::open(folder.path(), 1, 1 << 20).unwrap();
        let fill = |ring: &mut PacketRing, from: i64| {
            for n in 0..100 {
                ring.write(&block(from + n * 10, 10)).unwrap();
            }
        };
        fill(&mut ring, 0);
        ring.flush().unwrap();
        assert_eq!(times(folder.path(), 0, 1_000).len(), 1_000);
        ring.limit_to(1 << 16);
        assert!(ring.bytes() <= 1 << 16, "{}", ring.bytes());
        fill(&mut ring, 1_000);
        ring.limit_to(0);
        assert_eq!(ring.bytes(), 0);
        fill(&mut ring, 2_000);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        ring.limit_to(1 << 20);
        fill(&mut ring, 3_000);
        ring.flush().unwrap();
        assert_eq!(times(folder.path(), 0, 10_000).len(), 1_000);
        drop(ring);
        drop(PacketRing::open(folder.path(), 1, 0).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_goes_away_is_told_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("packets");
        let mut ring = PacketRing::open(&inner, 1, 1 << 20).unwrap();
        fs::remove_dir(&inner).unwrap();
        assert!(ring.write(&block(0, 1)).is_err());
        fs::create_dir(&inner).unwrap();
        ring.write(&block(1, 1)).unwrap();
        ring.flush().unwrap();
        assert_eq!(times(&inner, 0, 100), [1]);
        assert_eq!(
            read_ring(&folder.path().join("none"), 0, 1, |_| {
                ControlFlow::Continue(())
            })
            .unwrap(),
            RingSpan::default()
        );
    }
}
