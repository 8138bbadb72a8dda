//! Which packets are looked at, in the words of tcpdump (pcap-filter(7)), as a program that the kernel runs
//! before it hands a packet over.
//!
//! Ours and not a crate's: bindings of libpcap bring unsafe code and a C library, and the builder of netring
//! has no ranges of ports, no nesting, and does not see the VLAN tags that the kernel takes out of packets.
//! What is understood is tested against tcpdump.

mod code;
mod compile;
mod parse;
#[cfg(test)]
mod tests;
mod words;

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;
use netring::{BpfFilter, BpfInsn};

/// An expression that says which packets are looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    text: String,
    expr: Expr,
}

/// Why an expression is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// It cannot be read.
    #[error("at character {at}: {why}")]
    Word {
        /// Where, counted from one.
        at: usize,
        /// What is wrong, with the remedy.
        why: String,
    },
    /// The packets of the interface have no such header.
    #[error(
        "packets of this interface have no Ethernet header, so there is nothing to compare with {0}"
    )]
    NoEthernet(&'static str),
    /// The kernel takes no program of this length.
    #[error(
        "it becomes {0} instructions, and the kernel takes at most 4096: name networks instead of hosts"
    )]
    TooLong(usize),
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Ok(Self {
            text: text.trim().to_owned(),
            expr: parse::parse(text)?,
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Filter {
    /// Whether it can be asked of packets of this link type.
    ///
    /// # Errors
    /// When it asks for what they have not, or for too much.
    pub fn check(&self, link_type: u32) -> Result<(), FilterError> {
        self.program(link_type).map(|_| ())
    }

    /// The program for packets of this link type.
    pub(crate) fn program(&self, link_type: u32) -> Result<BpfFilter, FilterError> {
        let insns = self.instructions(link_type)?;
        let len = insns.len();
        BpfFilter::new(insns).map_err(|_| FilterError::TooLong(len))
    }

    fn instructions(&self, link_type: u32) -> Result<Vec<BpfInsn>, FilterError> {
        compile::compile(&self.expr, link_type == ETHERNET)
    }
}

/// Number of Ethernet in the LINKTYPE registry of tcpdump; all else that is captured begins with IP.
const ETHERNET: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expr {
    All(Vec<Expr>),
    Any(Vec<Expr>),
    Not(Box<Expr>),
    Term(Term),
}

/// Of which end of a packet something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
    Either,
    Both,
}

/// What a single term asks of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term {
    /// The type behind all VLAN tags.
    EtherType(u16),
    /// The protocol in the IP header, of one kind of IP or any.
    Protocol { family: Option<u16>, number: u8 },
    /// An address of IP or ARP, only where the type is this one.
    Address {
        side: Side,
        ether_type: Option<u16>,
        net: IpNet,
    },
    /// A port of TCP, UDP or SCTP, or of one of them.
    Port {
        side: Side,
        protocol: Option<u8>,
        from: u16,
        to: u16,
    },
    /// An Ethernet address.
    Mac { side: Side, mac: [u8; 6] },
    /// An Ethernet address of more than one station.
    Group,
    /// A VLAN tag, of this number or any.
    Vlan(Option<u16>),
    /// So many bytes or more.
    AtLeast(u32),
}

/// Ethernet types.
const IP: u16 = 0x0800;
const IP6: u16 = 0x86dd;
const ARP: u16 = 0x0806;
const RARP: u16 = 0x8035;
