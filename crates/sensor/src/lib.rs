//! Live capture on Linux: the packets of one interface, stamped by the kernel, through an AF_PACKET socket
//! with a memory-mapped ring (TPACKET_V3, packet(7)), in blocks that wait in a bounded queue. What the
//! kernel dropped and what the queue had no room for is counted.
//!
//! Must not: look into packets, judge, or read a clock but to tell packets of before the socket was bound, and for what
//! comes over connections, which the kernel does not stamp.
//!
//! Beside an interface, sockets can be listened on for what others send ([`Listener`]): what comes is put in
//! front of a header as it had it on the wire, so that it goes the way of packets.
//!
//! Reading order: which interfaces there are ([`Interface`]), the socket ([`Tap`]) or several ([`Fan`]), which packets it takes
//! ([`Filter`]), what it fills
//! ([`PacketBlock`]), the thread between it and the analysis ([`Sensor`]), the way to the analysing process
//! ([`relay`]), what is kept on disk
//! ([`Recorder`], [`PacketRing`]), what the process gives up ([`confine()`]).

#![forbid(unsafe_code)]

mod block;
mod confine;
mod error;
mod fan;
mod filter;
mod interface;
mod listen;
mod listen_packet;
mod pcapng;
mod queue;
mod record;
mod relay;
mod ring;
mod sensor;
mod tap;

pub use block::{PacketBlock, PacketRecord};
pub use confine::{
    confine, confine_client, confine_enforcer, confine_freezer, confine_listener, confine_server,
};
pub use error::SensorError;
pub use fan::Fan;
pub use filter::{Filter, FilterError};
pub use interface::Interface;
pub use listen::{ListenOn, Listener};
pub use pcapng::CaptureFile;
pub use queue::Waited;
pub use record::Recorder;
pub use relay::{CaptureReport, RelayReceiver, RelaySender, Relayed, is_waiting, relay};
pub use ring::{PacketRing, RingKeeper, RingPacket, RingReport, RingSpan, fuzz_ring, read_ring};
pub use sensor::{Catch, Change, Sensor, Shortfall};
pub use tap::{Filled, Tap, TapOptions};
