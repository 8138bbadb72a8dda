//! Live capture on Linux: the packets of one interface, stamped by the kernel, through an AF_PACKET socket
//! with a memory-mapped ring (TPACKET_V3, packet(7)), in blocks that wait in a bounded queue. What the
//! kernel dropped and what the queue had no room for is counted.
//!
//! Must not: look into packets, judge, or read a clock but to tell packets of before the socket was bound.
//!
//! Reading order: which interfaces there are ([`Interface`]), the socket ([`Tap`]), what it fills
//! ([`PacketBlock`]), the thread between it and the analysis ([`Sensor`]), the way to the analysing process
//! ([`relay`]), what is kept on disk ([`Recorder`]), what the process gives up ([`confine()`]).

#![forbid(unsafe_code)]

mod block;
mod confine;
mod error;
mod interface;
mod queue;
mod record;
mod relay;
mod sensor;
mod tap;

pub use block::{PacketBlock, PacketRecord};
pub use confine::confine;
pub use error::SensorError;
pub use interface::Interface;
pub use queue::Waited;
pub use record::Recorder;
pub use relay::{CaptureReport, RelayReceiver, RelaySender, Relayed, is_waiting, relay};
pub use sensor::{Sensor, Shortfall};
pub use tap::{Tap, TapOptions};
