//! From an expression to a program of the kernel's packet filter (classic BPF).
//!
//! The program first finds out where the IP header is, behind up to two VLAN tags, and what is in it, and
//! keeps that in its scratch memory; terms ask there. A load behind the end of a packet would drop the
//! packet whatever is asked, so lengths are looked at before: what is too short for a header is a packet
//! without that header.

use ipnet::IpNet;
use netring::BpfInsn;

use super::code::{
    ADD_K, ADD_X, AND_K, Code, JEQ, JGE, JGE_X, JGT, JSET, LD_B_ABS, LD_B_IND, LD_H_ABS, LD_H_IND,
    LD_IMM, LD_LEN, LD_MEM, LD_W_ABS, LD_W_IND, LDX_MEM, LSH_K, Label, RET, ST, TAX,
};
use super::{ARP, Expr, FilterError, IP, IP6, RARP, Side, Term};

/// As long as a packet may be: all of it is wanted.
const WHOLE: u32 = 0x4_0000;

/// The tag that the kernel took out of a packet, and whether it did (SKF_AD_OFF of linux/filter.h).
const TAKEN_TAG: u32 = 0xffff_f000 + 44;
const HAS_TAKEN_TAG: u32 = 0xffff_f000 + 48;
/// IEEE 802.1Q, 802.1ad, and what some made of that before.
const TAGS: [u32; 3] = [0x8100, 0x88a8, 0x9100];
const TAGS_MAX: u32 = 2;

/// Places of the scratch memory: the type behind the tags,
const TYPE: u32 = 0;
/// where the IP or ARP header begins,
const NET: u32 = 1;
/// the protocol that IP names, behind a fragment header,
const PROTOCOL: u32 = 2;
/// and before it,
const FIRST_PROTOCOL: u32 = 3;
/// where ports are; 0 where there are none,
const PORTS: u32 = 4;
/// and where they would be.
const BEHIND_IP: u32 = 5;
/// No protocol.
const NONE: u32 = 256;

pub(super) fn compile(expr: &Expr, is_ethernet: bool) -> Result<Vec<BpfInsn>, FilterError> {
    let mut code = Code::default();
    let [body, accept, reject] = [code.label(), code.label(), code.label()];
    code.look(is_ethernet, body);
    code.place(body);
    code.expr(expr, is_ethernet, accept, reject)?;
    code.place(accept);
    code.put(RET, WHOLE);
    code.place(reject);
    code.put(RET, 0);
    Ok(code.finish())
}

impl Code {
    fn keep(&mut self, place: u32) {
        self.put(ST, place);
    }

    /// Goes on when the packet has `bytes` bytes from the place on that stands in the scratch memory at `from`.
    fn has(&mut self, from: u32, bytes: u32, no: Label) {
        self.put(LD_MEM, from);
        self.put(ADD_K, bytes);
        self.put(TAX, 0);
        self.put(LD_LEN, 0);
        self.test_no(JGE_X, 0, no);
    }

    /// Fills the scratch memory.
    fn look(&mut self, is_ethernet: bool, body: Label) {
        let [network, short] = [self.label(), self.label()];
        self.put(LD_IMM, 0);
        for place in [TYPE, NET, PORTS, BEHIND_IP] {
            self.keep(place);
        }
        self.put(LD_IMM, NONE);
        self.keep(PROTOCOL);
        self.keep(FIRST_PROTOCOL);
        if is_ethernet {
            self.tags(network, body);
        } else {
            self.version(network, body);
        }
        self.place(network);
        let [four, six, arp] = [self.label(), self.label(), self.label()];
        self.put(LD_MEM, TYPE);
        self.test_yes(JEQ, IP.into(), four);
        self.test_yes(JEQ, IP6.into(), six);
        self.test_yes(JEQ, ARP.into(), arp);
        self.test(JEQ, RARP.into(), arp, body);
        self.place(arp);
        self.has(NET, 28, short);
        self.go(body);
        self.place(four);
        self.has(NET, 20, short);
        let ports = self.label();
        self.four(ports, body);
        self.place(six);
        self.has(NET, 40, short);
        self.six(ports, body);
        self.place(ports);
        self.ports(body);
        self.place(short);
        self.put(LD_IMM, 0);
        self.keep(TYPE);
    }

    /// The type behind the tags of an Ethernet packet.
    fn tags(&mut self, network: Label, body: Label) {
        for tags in 0..=TAGS_MAX {
            let next = self.label();
            self.put(LD_LEN, 0);
            self.test_no(JGE, 14 + 4 * tags, body);
            self.put(LD_H_ABS, 12 + 4 * tags);
            self.keep(TYPE);
            if tags < TAGS_MAX {
                for tag in TAGS {
                    self.test_yes(JEQ, tag, next);
                }
            }
            self.put(LD_IMM, 14 + 4 * tags);
            self.keep(NET);
            self.go(network);
            self.place(next);
        }
    }

    /// The type of a packet that begins with IP.
    fn version(&mut self, network: Label, body: Label) {
        let [four, six] = [self.label(), self.label()];
        self.put(LD_LEN, 0);
        self.test_no(JGE, 1, body);
        self.put(LD_B_ABS, 0);
        self.put(AND_K, 0xf0);
        self.test_yes(JEQ, 0x40, four);
        self.test(JEQ, 0x60, six, body);
        for (label, ether_type) in [(four, IP), (six, IP6)] {
            self.place(label);
            self.put(LD_IMM, ether_type.into());
            self.keep(TYPE);
            self.go(network);
        }
    }

    fn four(&mut self, ports: Label, body: Label) {
        self.put(LDX_MEM, NET);
        self.put(LD_B_IND, 9);
        self.keep(PROTOCOL);
        self.keep(FIRST_PROTOCOL);
        // A later fragment has no ports.
        self.put(LD_H_IND, 6);
        self.test_yes(JSET, 0x1fff, body);
        self.put(LD_B_IND, 0);
        self.put(AND_K, 0xf);
        self.put(LSH_K, 2);
        self.put(ADD_X, 0);
        self.keep(BEHIND_IP);
        self.go(ports);
    }

    fn six(&mut self, ports: Label, body: Label) {
        let plain = self.label();
        self.put(LDX_MEM, NET);
        self.put(LD_B_IND, 6);
        self.keep(PROTOCOL);
        self.keep(FIRST_PROTOCOL);
        self.test_no(JEQ, 44, plain);
        self.has(NET, 48, body);
        self.put(LDX_MEM, NET);
        self.put(LD_B_IND, 40);
        self.keep(PROTOCOL);
        self.go(body);
        self.place(plain);
        self.put(LD_MEM, NET);
        self.put(ADD_K, 40);
        self.keep(BEHIND_IP);
        self.go(ports);
    }

    fn ports(&mut self, body: Label) {
        let there = self.label();
        self.put(LD_MEM, PROTOCOL);
        self.test_yes(JEQ, 6, there);
        self.test_yes(JEQ, 17, there);
        self.test(JEQ, 132, there, body);
        self.place(there);
        self.has(BEHIND_IP, 4, body);
        self.put(LD_MEM, BEHIND_IP);
        self.keep(PORTS);
        self.go(body);
    }

    fn expr(
        &mut self,
        expr: &Expr,
        is_ethernet: bool,
        yes: Label,
        no: Label,
    ) -> Result<(), FilterError> {
        match expr {
            Expr::Not(inner) => self.expr(inner, is_ethernet, no, yes),
            Expr::All(all) => self.each(all, is_ethernet, |next| (next, no), yes),
            Expr::Any(any) => self.each(any, is_ethernet, |next| (yes, next), no),
            Expr::Term(term) => self.term(*term, is_ethernet, yes, no),
        }
    }

    /// One after the other, as `ways` says; behind the last one to `end`.
    fn each(
        &mut self,
        exprs: &[Expr],
        is_ethernet: bool,
        ways: impl Fn(Label) -> (Label, Label),
        end: Label,
    ) -> Result<(), FilterError> {
        for expr in exprs {
            let next = self.label();
            let (yes, no) = ways(next);
            self.expr(expr, is_ethernet, yes, no)?;
            self.place(next);
        }
        self.go(end);
        Ok(())
    }

    fn term(
        &mut self,
        term: Term,
        is_ethernet: bool,
        yes: Label,
        no: Label,
    ) -> Result<(), FilterError> {
        let asks_ethernet = match term {
            Term::Mac { .. } | Term::Group => Some("ether"),
            Term::Vlan(_) => Some("vlan"),
            _ => None,
        };
        if let Some(what) = asks_ethernet.filter(|_| !is_ethernet) {
            return Err(FilterError::NoEthernet(what));
        }
        match term {
            Term::EtherType(number) => {
                self.put(LD_MEM, TYPE);
                self.test(JEQ, number.into(), yes, no);
            }
            Term::Protocol { family, number } => {
                if let Some(family) = family {
                    self.put(LD_MEM, TYPE);
                    self.test_no(JEQ, family.into(), no);
                }
                self.put(LD_MEM, PROTOCOL);
                self.test_yes(JEQ, number.into(), yes);
                self.put(LD_MEM, FIRST_PROTOCOL);
                self.test(JEQ, number.into(), yes, no);
            }
            Term::Address {
                side,
                ether_type,
                net,
            } => self.address(side, ether_type, net, yes, no),
            Term::Port {
                side,
                protocol,
                from,
                to,
            } => {
                self.put(LD_MEM, PORTS);
                self.test_yes(JEQ, 0, no);
                if let Some(protocol) = protocol {
                    self.put(LD_MEM, PROTOCOL);
                    self.test_no(JEQ, protocol.into(), no);
                }
                self.put(LDX_MEM, PORTS);
                self.sides(side, yes, no, |code, is_source, yes, no| {
                    code.put(LD_H_IND, if is_source { 0 } else { 2 });
                    code.test_no(JGE, from.into(), no);
                    code.test(JGT, to.into(), no, yes);
                });
            }
            Term::Mac { side, mac } => self.sides(side, yes, no, |code, is_source, yes, no| {
                let at = if is_source { 6 } else { 0 };
                let [first @ .., y, z] = mac;
                code.put(LD_W_ABS, at);
                code.test_no(JEQ, u32::from_be_bytes(first), no);
                code.put(LD_H_ABS, at + 4);
                code.test(JEQ, u32::from_be_bytes([0, 0, y, z]), yes, no);
            }),
            Term::Group => {
                self.put(LD_B_ABS, 0);
                self.test(JSET, 1, yes, no);
            }
            Term::Vlan(number) => self.vlan(number, yes, no),
            Term::AtLeast(bytes) => {
                self.put(LD_LEN, 0);
                self.test(JGE, bytes, yes, no);
            }
        }
        Ok(())
    }

    /// Asks of one end, or of both; `ask` is told whether it is the source.
    fn sides(
        &mut self,
        side: Side,
        yes: Label,
        no: Label,
        ask: impl Fn(&mut Self, bool, Label, Label),
    ) {
        let next = self.label();
        match side {
            Side::Source => return ask(self, true, yes, no),
            Side::Destination => return ask(self, false, yes, no),
            Side::Either => ask(self, true, yes, next),
            Side::Both => ask(self, true, next, no),
        }
        self.place(next);
        ask(self, false, yes, no);
    }

    fn address(&mut self, side: Side, only: Option<u16>, net: IpNet, yes: Label, no: Label) {
        // Which headers have such addresses, and where the source and the destination are in them.
        let headers: &[(u16, [u32; 2])] = match net {
            IpNet::V4(_) => &[(IP, [12, 16]), (ARP, [14, 24]), (RARP, [14, 24])],
            IpNet::V6(_) => &[(IP6, [8, 24])],
        };
        let words = words(net);
        self.put(LDX_MEM, NET);
        let wanted = |header: &&(u16, [u32; 2])| only.is_none_or(|only| only == header.0);
        for (ether_type, places) in headers.iter().filter(wanted) {
            let other = self.label();
            self.put(LD_MEM, TYPE);
            self.test_no(JEQ, (*ether_type).into(), other);
            self.sides(side, yes, no, |code, is_source, yes, no| {
                let place = if is_source { places[0] } else { places[1] };
                for (at, (value, mask)) in (place..).step_by(4).zip(&words) {
                    code.put(LD_W_IND, at);
                    if *mask != u32::MAX {
                        code.put(AND_K, *mask);
                    }
                    code.test_no(JEQ, *value, no);
                }
                code.go(yes);
            });
            self.place(other);
        }
        self.go(no);
    }

    /// A tag that the kernel took out, or one of those that are still in the packet.
    fn vlan(&mut self, number: Option<u16>, yes: Label, no: Label) {
        let inside = self.label();
        self.put(LD_W_ABS, HAS_TAKEN_TAG);
        match number {
            None => self.test(JEQ, 0, inside, yes),
            Some(number) => {
                self.test_yes(JEQ, 0, inside);
                self.put(LD_W_ABS, TAKEN_TAG);
                self.put(AND_K, 0xfff);
                self.test(JEQ, number.into(), yes, inside);
            }
        }
        self.place(inside);
        for tags in 0..TAGS_MAX {
            let tagged = self.label();
            self.put(LD_LEN, 0);
            self.test_no(JGE, 16 + 4 * tags, no);
            self.put(LD_H_ABS, 12 + 4 * tags);
            for tag in TAGS {
                self.test_yes(JEQ, tag, tagged);
            }
            self.go(no);
            self.place(tagged);
            let Some(number) = number else {
                return self.go(yes);
            };
            self.put(LD_H_ABS, 14 + 4 * tags);
            self.put(AND_K, 0xfff);
            self.test_yes(JEQ, number.into(), yes);
        }
        self.go(no);
    }
}

/// The words of an address and their masks, but for those that do not matter.
fn words(net: IpNet) -> Vec<(u32, u32)> {
    let (address, len) = match net {
        IpNet::V4(net) => (u128::from(u32::from(net.network())) << 96, net.prefix_len()),
        IpNet::V6(net) => (u128::from(net.network()), net.prefix_len()),
    };
    let mask = u128::MAX
        .checked_shl(128 - u32::from(len))
        .unwrap_or_default();
    let word = |of: u128, n: u32| (of >> (96 - 32 * n)) as u32;
    (0..4)
        .map(|n| (word(address, n), word(mask, n)))
        .take_while(|(_, mask)| *mask != 0)
        .collect()
}
