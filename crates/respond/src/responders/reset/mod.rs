//! For a sensor that only listens: what is cut is ended by TCP resets and ICMP errors towards both ends, sent from the
//! interface where the packets are seen.
//!
//! This is weaker than a packet filter, and says so: a packet that was seen has arrived. A connection ends with its
//! first or second packet; a datagram that asks for nothing is not undone. Nothing here touches what it did not see.

mod frame;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{AddressFamily, LinkAddr, MsgFlags, SockFlag, SockType, sendto, socket};
use thymus_schema::{Timestamp, Transport};
use thymus_sensor::{Catch, Change, Filled, Filter, PacketBlock, SensorError, Tap, TapOptions};

use self::frame::Packet;
pub use self::frame::fuzz_frame;
use crate::decision::{DecisionId, Realm};
use crate::responder::{Receipt, Responder, ResponderError, ResponderSpec};
use crate::table::{Judge, Seen, Table};

pub(crate) const SPEC: ResponderSpec = ResponderSpec {
    id: "reset",
    title: "TCP resets and ICMP errors towards both ends, from a sensor that only listens",
    realm: Realm::Traffic,
    build: |policy, _| match policy.reset.interface.as_str() {
        "" => Err(
            "the responder \"reset\" needs to know where: [reset] interface = \"eth1\"".to_owned(),
        ),
        name => Ok(Box::new(Reset::new(name))),
    },
};

const TOOL: &str = "the interface";
/// A packet waits no longer for those after it.
const HAND_OVER_MILLIS: u32 = 1;
const RING_BYTES: usize = 8 << 20;
/// How soon another table is heeded when nothing comes.
const HEED_EVERY: Duration = Duration::from_millis(50);
/// After an interface that went away.
const PAUSE: Duration = Duration::from_secs(1);
/// Networks that the kernel looks for; with more, packets are looked at here.
const FILTER_NETS_MAX: usize = 64;
/// Frames sent in a second; more would be a flood of our own.
const ANSWERS_MAX: u32 = 4_000;
/// Conversations of which it is remembered who began.
const BEGUN_MAX: usize = 65_536;

/// What the thread is told, and tells.
#[derive(Default)]
struct Shared {
    judge: Arc<Judge>,
    /// Counted with each table.
    version: u64,
    is_over: bool,
    cut: BTreeMap<DecisionId, (u64, u64)>,
    trouble: Option<String>,
}

/// The responder.
pub struct Reset {
    interface: String,
    shared: Arc<Mutex<Shared>>,
    wanted: Option<Table>,
    thread: Option<JoinHandle<()>>,
}

impl Reset {
    /// From an interface.
    pub fn new(interface: &str) -> Self {
        Self {
            interface: interface.to_owned(),
            shared: Arc::default(),
            wanted: None,
            thread: None,
        }
    }

    fn start(&mut self) -> Result<(), ResponderError> {
        if self.thread.as_ref().is_some_and(|it| !it.is_finished()) {
            return Ok(());
        }
        let refused = |error: &dyn std::fmt::Display| ResponderError::Refused {
            tool: TOOL,
            said: error.to_string(),
        };
        let wire = Wire::open(&self.interface).map_err(|error| refused(&error))?;
        let work = Work {
            wire,
            interface: self.interface.clone(),
            shared: Arc::clone(&self.shared),
            version: 0,
            judge: Arc::default(),
            begun: BTreeMap::new(),
            second: 0,
            sent: 0,
        };
        let builder = thread::Builder::new().name("reset".to_owned());
        let thread = builder.spawn(|| work.run());
        self.thread = Some(thread.map_err(|error| refused(&error))?);
        Ok(())
    }
}

impl Responder for Reset {
    fn apply(&mut self, wanted: &Table, _: Timestamp) -> Result<Receipt, ResponderError> {
        let mut receipt = Receipt::default();
        if self.wanted.as_ref() != Some(wanted) {
            let judge = Arc::new(Judge::of(wanted));
            let mut shared = locked(&self.shared);
            shared.judge = judge;
            shared.version += 1;
            drop(shared);
            receipt.added = wanted.len();
            self.wanted = Some(wanted.clone());
        }
        self.start()?;
        let shared = locked(&self.shared);
        receipt.cut.clone_from(&shared.cut);
        receipt.trouble.clone_from(&shared.trouble);
        Ok(receipt)
    }

    fn reconcile(&mut self, wanted: &Table, now: Timestamp) -> Result<Receipt, ResponderError> {
        self.apply(wanted, now)
    }

    fn remove(&mut self) -> Result<(), ResponderError> {
        self.wanted = None;
        let mut shared = locked(&self.shared);
        shared.judge = Arc::default();
        shared.version += 1;
        Ok(())
    }
}

impl Drop for Reset {
    fn drop(&mut self) {
        locked(&self.shared).is_over = true;
        if let Some(thread) = self.thread.take() {
            // It ended by itself, or does.
            let _has_ended = thread.join().is_ok();
        }
    }
}

fn locked(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Both ways.
struct Wire {
    tap: Tap,
    sender: OwnedFd,
    /// The interface, as an address to send to.
    out: LinkAddr,
}

impl Wire {
    fn open(interface: &str) -> Result<Self, SensorError> {
        let tap = Tap::open(&TapOptions {
            interface: interface.to_owned(),
            promiscuous: true,
            sockets: 1,
            ring_bytes: RING_BYTES,
            hand_over_millis: HAND_OVER_MILLIS,
            filter: None,
        })?;
        let system = |step, source| SensorError::System {
            name: interface.to_owned(),
            step,
            source,
        };
        // Without a protocol it receives nothing (packet(7)).
        let sender = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )
        .map_err(|errno| system("open it for sending", errno.into()))?;
        let mut all = getifaddrs().map_err(|errno| system("ask for its address", errno.into()))?;
        let out = all.find_map(|one| {
            let address = one.address.filter(|_| one.interface_name == interface)?;
            address.as_link_addr().copied()
        });
        let gone = || SensorError::Gone {
            name: interface.to_owned(),
        };
        let out = out.ok_or_else(gone)?;
        Ok(Self { tap, sender, out })
    }

    fn send(&self, frame: &[u8]) -> nix::Result<()> {
        let fd = self.sender.as_raw_fd();
        sendto(fd, frame, &self.out, MsgFlags::empty()).map(|_| ())
    }
}

/// A conversation: its ends in order, and what it goes by.
type Ends = (Transport, (IpAddr, u16), (IpAddr, u16));

struct Work {
    wire: Wire,
    interface: String,
    shared: Arc<Mutex<Shared>>,
    version: u64,
    judge: Arc<Judge>,
    /// Who began, where it was seen.
    begun: BTreeMap<Ends, (IpAddr, u16)>,
    second: i64,
    sent: u32,
}

impl Work {
    fn run(mut self) {
        let mut block = PacketBlock::default();
        loop {
            let shared = locked(&self.shared);
            if shared.is_over {
                return;
            }
            let is_new = shared.version != self.version;
            (self.judge, self.version) = (Arc::clone(&shared.judge), shared.version);
            drop(shared);
            if is_new {
                self.look_for();
            }
            match self.wire.tap.fill(&mut block, HEED_EVERY) {
                Ok(Filled::Nothing) => {}
                Ok(Filled::Packets) => self.answer(&block),
                Err(error) => {
                    locked(&self.shared).trouble = Some(error.to_string());
                    thread::sleep(PAUSE);
                    if let Ok(wire) = Wire::open(&self.interface) {
                        self.wire = wire;
                        self.version = 0;
                        locked(&self.shared).trouble = None;
                    }
                }
            }
        }
    }

    /// Has the kernel hand over only what may be cut, where that can be said in few words.
    fn look_for(&mut self) {
        let named = self.judge.named();
        let filter = if named.is_empty() {
            // Nothing that is on a wire.
            "host 0.0.0.0 and host 255.255.255.255".to_owned()
        } else {
            let nets: Vec<String> = named.iter().map(|net| format!("net {net}")).collect();
            nets.join(" or ")
        };
        let filter: Option<Filter> = (named.len() <= FILTER_NETS_MAX)
            .then(|| filter.parse().ok())
            .flatten();
        // What the kernel cannot sort out is sorted out here.
        if self.wire.tap.change(&Change::Filter(filter)).is_err() {
            let _is_open = self.wire.tap.change(&Change::Filter(None)).is_ok();
        }
    }

    fn answer(&mut self, block: &PacketBlock) {
        let mut cut: BTreeMap<DecisionId, (u64, u64)> = BTreeMap::new();
        let mut failed = None;
        for record in block.records() {
            let Some(packet) = Packet::read(block.packet(record)) else {
                continue;
            };
            let seen = self.seen(&packet);
            let judge = Arc::clone(&self.judge);
            let Some(claim) = judge.verdict(&seen) else {
                continue;
            };
            if packet.tcp.is_some_and(|tcp| tcp.rst) {
                continue;
            }
            for id in &claim.of {
                let counted = cut.entry(*id).or_default();
                counted.0 += 1;
                counted.1 += u64::from(record.wire_len);
            }
            let second = record.ts / 1_000_000_000;
            if second != self.second {
                (self.second, self.sent) = (second, 0);
            }
            for answer in packet.answers() {
                if self.sent >= ANSWERS_MAX {
                    break;
                }
                self.sent += 1;
                failed = self.wire.send(&answer).err().or(failed);
            }
        }
        let mut shared = locked(&self.shared);
        for (id, (packets, bytes)) in cut {
            let counted = shared.cut.entry(id).or_default();
            counted.0 += packets;
            counted.1 += bytes;
        }
        shared.trouble =
            failed.map(|error| format!("nothing can be sent from {}: {error}", self.interface));
    }

    /// Who began is seen from the first packet; of conversations that were there before, the lower port is taken for
    /// the service.
    fn seen(&mut self, packet: &Packet<'_>) -> Seen {
        let (from, to) = ((packet.src, packet.src_port), (packet.dst, packet.dst_port));
        let ends = (packet.transport, from.min(to), from.max(to));
        let began = match packet.tcp {
            Some(tcp) if tcp.syn => Some(if tcp.ack { to } else { from }),
            _ => None,
        };
        if let Some(began) = began {
            if self.begun.len() >= BEGUN_MAX {
                self.begun.clear();
            }
            self.begun.insert(ends, began);
        }
        let known = self.begun.get(&ends).copied();
        Seen {
            src: packet.src,
            dst: packet.dst,
            transport: packet.transport,
            src_port: packet.src_port,
            dst_port: packet.dst_port,
            is_forth: known.map_or(packet.src_port >= packet.dst_port, |began| began == from),
        }
    }
}
