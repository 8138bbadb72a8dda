//! ARP for IPv4 over Ethernet (RFC 826). Other hardware or protocol types are not read.

use std::net::Ipv4Addr;

use crate::Reader;

/// An ARP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// 1 request, 2 reply; others (reverse ARP, …) as they are.
    pub opcode: u16,
    /// The sender's hardware address.
    pub sender_mac: [u8; 6],
    /// The sender's address.
    pub sender: Ipv4Addr,
    /// The target's hardware address; zero in a request.
    pub target_mac: [u8; 6],
    /// The target's address.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Whether it is a reply.
    pub const fn is_reply(&self) -> bool {
        self.opcode == 2
    }

    /// Whether it announces the sender's own address to everyone.
    pub fn is_gratuitous(&self) -> bool {
        self.sender == self.target
    }
}

/// Reads the bytes after the Ethernet header; `None` when they are not ARP for IPv4 over Ethernet.
/// Padding after the message is ignored.
pub fn parse(bytes: &[u8]) -> Option<Arp> {
    let mut reader = Reader::new(bytes);
    if reader.array()? != [0, 1, 8, 0, 6, 4] {
        return None;
    }
    Some(Arp {
        opcode: reader.u16()?,
        sender_mac: reader.array()?,
        sender: Ipv4Addr::from(reader.array::<4>()?),
        target_mac: reader.array()?,
        target: Ipv4Addr::from(reader.array::<4>()?),
    })
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let _ = parse(bytes).map(|arp| arp.is_gratuitous());
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPLY: [u8; 28] = [
        0, 1, 8, 0, 6, 4, 0, 2, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2,
    ];

    #[test]
    fn a_reply_tells_who_has_which_address() {
        let mut padded = REPLY.to_vec();
        padded.extend([0; 18]);
        let arp = parse(&padded).unwrap();
        assert!(arp.is_reply() && !arp.is_gratuitous());
        assert_eq!(
            (arp.sender_mac, arp.sender),
            ([2, 0, 0, 0, 0, 1], Ipv4Addr::new(10, 0, 0, 1))
        );
        assert_eq!(arp.target, Ipv4Addr::new(10, 0, 0, 2));
    }

    #[test]
    fn short_or_foreign_messages_are_not_read() {
        assert_eq!(parse(&REPLY[..27]), None);
        let mut token_ring = REPLY;
        token_ring[1] = 6;
        assert_eq!(parse(&token_ring), None);
    }
}
