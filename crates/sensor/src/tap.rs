//! The socket: AF_PACKET with a ring that the kernel fills and this process reads.
//!
//! The ring comes from the crate netring, which holds the unsafe code this needs. What it leaves to us:
//! packets of other interfaces that came between the making of the socket and its binding, VLAN tags that
//! the card took out, the second sight of every packet on loopback, and an interface that goes away.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use netring::packet::PacketDirection;
use netring::{Capture, Error as RingError, FanoutMode, Packet};
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{getsockopt, sockopt::SocketError};

use crate::block::PacketBlock;
use crate::error::SensorError;
use crate::filter::Filter;
use crate::interface::Interface;
use crate::sensor::{Catch, Change};

/// Bytes of a block of the ring, which is also the longest packet there can be, nearly.
pub(crate) const RING_BLOCK_BYTES: usize = 1 << 20;
/// Packets of so long before the binding are taken for packets after a step back of the clock.
const BEFORE_NANOS: i64 = 10_000_000_000;

/// How to capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapOptions {
    /// Name of the interface.
    pub interface: String,
    /// Whether packets for others are captured too.
    pub promiscuous: bool,
    /// Sockets, each filled by other cores; at least one is opened.
    pub sockets: usize,
    /// Bytes of the ring; at least one block of it is made.
    pub ring_bytes: usize,
    /// A block that is not full is handed over after so many milliseconds.
    pub hand_over_millis: u32,
    /// Only these packets.
    pub filter: Option<Filter>,
}

/// An open capture.
#[derive(Debug)]
pub struct Tap {
    capture: Capture,
    interface: Interface,
    index: u32,
    /// When the socket had been bound to its interface.
    bound_at: i64,
    is_down: bool,
    is_filtered: bool,
}

/// What a look at the ring gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// Packets.
    Packets,
    /// None in the time that was given.
    Nothing,
}

impl Catch for Tap {
    fn interface(&self) -> &Interface {
        &self.interface
    }

    fn is_down(&self) -> bool {
        self.is_down
    }

    fn fill(&mut self, block: &mut PacketBlock, wait: Duration) -> Result<Filled, SensorError> {
        block.clear();
        self.look()?;
        if self.take(block) {
            return Ok(Filled::Packets);
        }
        let mut polled = [PollFd::new(self.capture.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(wait).unwrap_or(PollTimeout::MAX);
        match poll(&mut polled, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(self.system("wait for packets", errno)),
        }
        let broken = PollFlags::POLLERR | PollFlags::POLLHUP | PollFlags::POLLNVAL;
        let said = polled.first().and_then(PollFd::revents);
        if said.is_some_and(|said| said.intersects(broken)) {
            self.look_at_error()?;
        }
        Ok(if self.take(block) {
            Filled::Packets
        } else {
            Filled::Nothing
        })
    }

    /// The kernel puts the new filter in the place of the old one; packets that it took before are given.
    fn change(&mut self, change: &Change) -> Result<(), SensorError> {
        let name = || self.interface.name.clone();
        let Change::Filter(filter) = change;
        let changed = match filter {
            Some(filter) => {
                let program = filter.program(self.interface.link_type);
                let program = program.map_err(|source| SensorError::Filter {
                    name: name(),
                    source,
                })?;
                self.capture.set_filter(&program)
            }
            None if self.is_filtered => self.capture.detach_filter(),
            None => Ok(()),
        };
        changed.map_err(|error| SensorError::Unchanged {
            name: name(),
            why: format!("the kernel does not take the filter: {error}"),
        })?;
        self.is_filtered = filter.is_some();
        Ok(())
    }

    fn kernel_dropped(&mut self) -> u64 {
        self.capture
            .stats()
            .map_or(0, |counts| u64::from(counts.drops))
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.capture.as_fd()
    }
}

impl Tap {
    /// Opens a capture.
    ///
    /// # Errors
    /// When there is no such interface, no right, or no memory.
    pub fn open(options: &TapOptions) -> Result<Self, SensorError> {
        let name = || options.interface.clone();
        let interface = Interface::find(&options.interface)?;
        let index =
            if_nametoindex(options.interface.as_str()).map_err(|errno| SensorError::System {
                name: name(),
                step: "number of the interface",
                source: errno.into(),
            })?;
        let mut builder = Capture::builder()
            .interface(&options.interface)
            .block_size(RING_BLOCK_BYTES)
            .block_count((options.ring_bytes / RING_BLOCK_BYTES).max(1))
            .block_timeout_ms(options.hand_over_millis)
            .promiscuous(options.promiscuous);
        if options.sockets > 1 {
            // Groups are told apart by number, for all processes of a network namespace.
            let group = std::process::id() as u16;
            builder = builder.fanout(FanoutMode::Cpu, group);
        }
        if let Some(filter) = &options.filter {
            let program = filter.program(interface.link_type);
            // What came before it was there is left out with all that came before this returns.
            builder = builder.bpf_filter(program.map_err(|source| SensorError::Filter {
                name: name(),
                source,
            })?);
        }
        let capture = builder.build().map_err(|error| refused(error, options))?;
        Ok(Self {
            is_down: !interface.is_up,
            is_filtered: options.filter.is_some(),
            bound_at: now_nanos(),
            capture,
            interface,
            index,
        })
    }

    /// The interface.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// Whether the interface is switched off, so that nothing comes.
    pub fn is_down(&self) -> bool {
        self.is_down
    }

    /// Looks whether an interface that was switched off is on again.
    pub(crate) fn look(&mut self) -> Result<(), SensorError> {
        if self.is_down {
            self.look_whether_up()?;
        }
        Ok(())
    }

    /// Copies the next block of the ring, if there is one, behind what is in `block`, and gives it back.
    pub(crate) fn take(&mut self, block: &mut PacketBlock) -> bool {
        let Some(batch) = self.capture.next_batch() else {
            return false;
        };
        let foreign = self.bound_at - BEFORE_NANOS..self.bound_at;
        for packet in &batch {
            let ts = nanos(&packet);
            let twice =
                self.interface.is_loopback && packet.direction() == PacketDirection::Outgoing;
            if !twice && !foreign.contains(&ts) {
                let wire_len = u32::try_from(packet.original_len()).unwrap_or(u32::MAX);
                block.push(ts, wire_len, packet.data(), tag(&packet));
            }
        }
        true
    }

    /// Tells an interface that was switched off, which may come back, from one that is gone.
    pub(crate) fn look_at_error(&mut self) -> Result<(), SensorError> {
        let code = getsockopt(&self.capture, SocketError)
            .map_err(|errno| self.system("ask what is wrong", errno))?;
        match Errno::from_raw(code) {
            Errno::UnknownErrno => Ok(()),
            Errno::ENETDOWN => {
                self.is_down = true;
                self.look_whether_up()
            }
            errno => Err(self.system("receive", errno)),
        }
    }

    /// Nothing tells that an interface is on again, or gone while it was off.
    fn look_whether_up(&mut self) -> Result<(), SensorError> {
        let name = self.interface.name.as_str();
        if if_nametoindex(name) != Ok(self.index) {
            return Err(SensorError::Gone {
                name: name.to_owned(),
            });
        }
        self.is_down = !Interface::find(name)?.is_up;
        Ok(())
    }

    fn system(&self, step: &'static str, errno: Errno) -> SensorError {
        SensorError::System {
            name: self.interface.name.clone(),
            step,
            source: errno.into(),
        }
    }
}

/// Why the ring could not be made, in words that help.
fn refused(error: RingError, options: &TapOptions) -> SensorError {
    let name = options.interface.clone();
    let system = |step, source: std::io::Error| {
        if source.raw_os_error() == Some(Errno::ENOMEM as i32) {
            return SensorError::NoRoom {
                name: name.clone(),
                bytes: options.ring_bytes,
            };
        }
        SensorError::System {
            name: name.clone(),
            step,
            source,
        }
    };
    match error {
        RingError::PermissionDenied => SensorError::NotPermitted { name },
        RingError::Mmap(source) => system("map the ring", source),
        RingError::Socket(source) => system("open a socket", source),
        RingError::Bind(source) => system("bind the socket", source),
        RingError::SockOpt { option, source } => system(option, source),
        RingError::Io(source) => system("set up", source),
        other => system("set up", std::io::Error::other(other.to_string())),
    }
}

/// The kernel's stamp of a packet.
fn nanos(packet: &Packet<'_>) -> i64 {
    let ts = packet.timestamp();
    i64::from(ts.sec) * 1_000_000_000 + i64::from(ts.nsec)
}

/// The VLAN tag that was taken out of a packet, if any: IEEE 802.1Q unless the kernel says which.
fn tag(packet: &Packet<'_>) -> Option<[u8; 4]> {
    let status = packet.status();
    if !status.vlan_valid {
        return None;
    }
    let kind = if status.vlan_tpid_valid {
        packet.vlan_tpid()
    } else {
        0x8100
    };
    let [a, b] = kind.to_be_bytes();
    let [c, d] = packet.vlan_tci().to_be_bytes();
    Some([a, b, c, d])
}

/// The kernel stamps packets by this clock.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with the kernel's stamps only, and never in a result"
)]
pub(crate) fn now_nanos() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
    })
}
