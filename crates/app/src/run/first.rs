//! The first packets of a live run, held back until they have told which networks are local.

use std::collections::VecDeque;
use std::time::Duration;

use thymus_ingest::{Evidence, PEEK_PACKETS_MAX};
use thymus_schema::LocalNetworks;
use thymus_sensor::{PacketBlock, Waited};

use super::wire::Wire;
use crate::replay::now;

/// The look ends after this time, whatever was seen.
const LOOK_MAX: Duration = Duration::from_secs(10);
/// Packets held back, in bytes.
const HELD_BYTES_MAX: usize = 32 << 20;
const WAIT: Duration = Duration::from_millis(100);

/// Finds the local networks by the rules that a replay goes by, and among the interface's own; gives the
/// packets it looked at, which are still to be analysed.
pub(super) fn look(wire: &mut Wire) -> (LocalNetworks, VecDeque<PacketBlock>) {
    let mut evidence = Evidence::default();
    let mut held = VecDeque::new();
    let (mut packets, mut bytes) = (0, 0);
    let began = now();
    while packets < PEEK_PACKETS_MAX
        && bytes < HELD_BYTES_MAX
        && began.elapsed() < LOOK_MAX
        && !wire.is_stopping()
    {
        match wire.next(WAIT) {
            Waited::Block(block) => {
                let link_type = wire.interface().link_type;
                for record in block.records().iter().take(PEEK_PACKETS_MAX - packets) {
                    evidence.packet(link_type, block.packet(record));
                }
                packets += block.records().len();
                packets = packets.min(PEEK_PACKETS_MAX);
                bytes += block.size();
                held.push_back(block);
            }
            Waited::Nothing => {}
            Waited::Ended => break,
        }
    }
    let found = evidence.decide();
    let own = wire.interface().networks.iter();
    let own = own.filter(|net| !found.contains(net.addr())).copied();
    let extra: Vec<_> = found.networks().iter().copied().chain(own).collect();
    (LocalNetworks::found(extra), held)
}
