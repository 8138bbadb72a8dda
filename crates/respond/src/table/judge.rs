//! What the table says of a packet: the same as the kernel's rules, for responders that look at packets themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use thymus_schema::Transport;

use super::{Claim, Element, Rest, Set, Table};
use crate::cut::{AGREED_FROM, Port, host};

/// A packet, as far as rules look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// From whom.
    pub src: IpAddr,
    /// To whom.
    pub dst: IpAddr,
    /// By what.
    pub transport: Transport,
    /// Port of the sender; 0 where the transport has none.
    pub src_port: u16,
    /// Port of the receiver; 0 where the transport has none.
    pub dst_port: u16,
    /// Whether who sent it began the conversation.
    pub is_forth: bool,
}

/// A table, made ready for packets.
#[derive(Debug, Default)]
pub struct Judge {
    hosts: BTreeMap<Element, Claim>,
    /// Of each set, elements with a network in them.
    wide: BTreeMap<Set, Vec<(Element, Claim)>>,
    /// Addresses that cuts name, to pass others by at once.
    named: BTreeSet<IpAddr>,
    named_nets: Vec<IpNet>,
}

impl Judge {
    /// Of a table.
    pub fn of(table: &Table) -> Self {
        let mut judge = Self::default();
        for (element, claim) in table.elements() {
            if cuts(element.set) {
                for net in &element.nets {
                    if net.prefix_len() == net.max_prefix_len() {
                        judge.named.insert(net.addr());
                    } else {
                        judge.named_nets.push(*net);
                    }
                }
            }
            let is_host = |net: &IpNet| net.prefix_len() == net.max_prefix_len();
            if element.nets.iter().all(is_host) {
                judge.hosts.insert(element.clone(), claim.clone());
            } else {
                let of_set = judge.wide.entry(element.set).or_default();
                of_set.push((element.clone(), claim.clone()));
            }
        }
        judge
    }

    /// Networks that cuts name: what is to be looked at, at all.
    pub fn named(&self) -> Vec<IpNet> {
        let hosts = self.named.iter().copied().map(host);
        hosts.chain(self.named_nets.iter().copied()).collect()
    }

    /// The cut that the packet falls under.
    pub fn verdict(&self, seen: &Seen) -> Option<&Claim> {
        let is_named = |addr: &IpAddr| {
            self.named.contains(addr) || self.named_nets.iter().any(|net| net.contains(addr))
        };
        if !is_named(&seen.src) && !is_named(&seen.dst) {
            return None;
        }
        let (src, dst) = (seen.src, seen.dst);
        let (from, to) = (seen.port(seen.src_port), seen.port(seen.dst_port));
        let is_never = self.has(Set::Never, &[src], None)
            || self.has(Set::Never, &[dst], None)
            || self.has(Set::NeverService, &[dst], to)
            || self.has(Set::NeverService, &[src], from);
        if is_never || is_of_the_link(seen) {
            return None;
        }
        let is_icmp = seen.transport == Transport::Icmp;
        let of_pair = || {
            [[src, dst], [dst, src]].into_iter().find_map(|pair| {
                let icmp = is_icmp.then(|| self.get(Set::Icmp, &pair, None)).flatten();
                icmp.or_else(|| self.get(Set::Pair, &pair, None))
            })
        };
        let of_side = |set, end: bool| {
            let addr = if end { src } else { dst };
            self.get(set, &[addr], None)
        };
        self.get(Set::Service, &[src, dst], to)
            .or_else(|| self.get(Set::Service, &[dst, src], from))
            .or_else(of_pair)
            .or_else(|| of_side(Set::Both, true))
            .or_else(|| of_side(Set::Both, false))
            .or_else(|| of_side(Set::Begun, seen.is_forth))
            .or_else(|| of_side(Set::Taken, !seen.is_forth))
            .or_else(|| self.life(seen, true))
            .or_else(|| self.life(seen, false))
    }

    /// Whether a device that is held to its pattern of life, at one end, is not to do this.
    fn life(&self, seen: &Seen, is_sender: bool) -> Option<&Claim> {
        let (own, peer, own_port, peer_port) = if is_sender {
            (seen.src, seen.dst, seen.src_port, seen.dst_port)
        } else {
            (seen.dst, seen.src, seen.dst_port, seen.src_port)
        };
        let claim = self.get(Set::Life, &[own], None)?;
        let (set, any, agreed, port) = if is_sender == seen.is_forth {
            let port = seen.port(peer_port);
            (Set::Uses, Set::UsesAny, Set::UsesAgreed, port)
        } else {
            let port = seen.port(own_port);
            (Set::Gives, Set::GivesAny, Set::GivesAgreed, port)
        };
        let is_echo = seen.transport == Transport::Icmp && self.has(Set::Echo, &[own, peer], None);
        let is_agreed = port
            .filter(|port| port.port >= AGREED_FROM)
            .map(|port| Port::agreed(port.transport));
        let is_habit = is_echo
            || self.has(set, &[own, peer], port)
            || self.has(any, &[own], port)
            || self.has(agreed, &[own, peer], is_agreed);
        (!is_habit).then_some(claim)
    }

    fn has(&self, set: Set, addrs: &[IpAddr], port: Option<Port>) -> bool {
        self.get(set, addrs, port).is_some()
    }

    fn get(&self, set: Set, addrs: &[IpAddr], port: Option<Port>) -> Option<&Claim> {
        let has_port = set.shape().1 != Rest::Nothing;
        if has_port && port.is_none() {
            return None;
        }
        let port = port.filter(|_| has_port);
        let nets = addrs.iter().copied().map(host).collect();
        let element = Element { set, nets, port };
        if let Some(claim) = self.hosts.get(&element) {
            return Some(claim);
        }
        let fits = |(wide, _): &&(Element, Claim)| {
            wide.port == port
                && wide
                    .nets
                    .iter()
                    .zip(addrs)
                    .all(|(net, addr)| net.contains(addr))
        };
        let (_, claim) = self.wide.get(&set)?.iter().find(fits)?;
        Some(claim)
    }
}

impl Seen {
    fn port(&self, port: u16) -> Option<Port> {
        let has_ports = matches!(
            self.transport,
            Transport::Tcp | Transport::Udp | Transport::Sctp
        );
        has_ports.then_some(Port {
            transport: self.transport,
            port,
        })
    }
}

/// Sets whose elements are what is cut.
fn cuts(set: Set) -> bool {
    matches!(
        set,
        Set::Service | Set::Icmp | Set::Pair | Set::Both | Set::Begun | Set::Taken | Set::Life
    )
}

/// How devices get and keep their addresses (DHCP); with it nothing is done, and without it nothing works.
fn is_of_the_link(seen: &Seen) -> bool {
    seen.transport == Transport::Udp && matches!(seen.dst_port, 67 | 68 | 546 | 547)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use thymus_schema::{EntityId, Timestamp};

    use super::*;
    use crate::book::Rehearsal;
    use crate::cut::{Cut, Habit, Side, Talk};
    use crate::decision::{Change, Decision, DecisionId, Mode, State, Verb};
    use crate::guard::NeverAct;
    use crate::ledger::Ledger;

    const NOW: Timestamp = Timestamp::from_secs(1_767_571_200);

    /// A small generator, the same each time (Knuth's MMIX constants).
    struct Draw(u64);

    impl Draw {
        fn below(&mut self, n: u64) -> u64 {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % n
        }

        fn addr(&mut self) -> IpAddr {
            let last = 1 + self.below(6) as u8;
            if self.below(3) == 0 {
                format!("fd00::{last}").parse().unwrap()
            } else {
                IpAddr::from([10, 0, 0, last])
            }
        }

        fn net(&mut self) -> IpNet {
            let addr = self.addr();
            let less = if self.below(4) == 0 { 2 } else { 0 };
            let length = host(addr).max_prefix_len() - less;
            IpNet::new(addr, length).unwrap().trunc()
        }

        fn port(&mut self) -> Port {
            let transport = [Transport::Tcp, Transport::Udp, Transport::Icmp];
            let transport = transport[self.below(3) as usize];
            let port = if transport == Transport::Icmp {
                0
            } else {
                [1_000, 1_001, 2_000, 2_001][self.below(4) as usize]
            };
            Port { transport, port }
        }

        fn habitual(&mut self) -> Port {
            let port = self.port();
            match self.below(3) {
                0 if port.transport != Transport::Icmp => Port::agreed(port.transport),
                _ => port,
            }
        }

        fn cut(&mut self) -> Cut {
            match self.below(4) {
                0 => Cut::Pattern {
                    client: self.net(),
                    server: self.net(),
                    port: Some(self.port()),
                },
                1 => Cut::Pattern {
                    client: self.net(),
                    server: self.net(),
                    port: None,
                },
                2 => Cut::Address {
                    of: self.net(),
                    side: [Side::Both, Side::Begun, Side::Taken][self.below(3) as usize],
                },
                _ => {
                    let habits = (0..self.below(5)).map(|_| {
                        let port = self.habitual();
                        Habit {
                            is_client: self.below(2) == 0,
                            peer: (port.is_agreed() || self.below(2) == 0).then(|| self.addr()),
                            port,
                        }
                    });
                    let habits = habits.collect();
                    let of = host(self.addr());
                    Cut::AllBut { of, habits }.canonical()
                }
            }
        }
    }

    fn ledger(cut: &Cut) -> Ledger {
        let decision = Decision {
            id: DecisionId(1),
            incident: "i".into(),
            device: EntityId::device("10.0.0.5"),
            verb: Verb::BlockPattern,
            cuts: vec![cut.clone()],
            reason: String::new(),
            mode: Mode::Act,
            rehearsal: Rehearsal::default(),
            proposed_at: NOW,
            duration: Duration::from_hours(1),
            stage: 0,
            state: State::Active,
            began_at: Some(NOW),
            until: Some(NOW.plus(Duration::from_hours(1))),
            confirm_by: None,
            history: Vec::new(),
        };
        let made = Change::Made {
            decision: Box::new(decision),
        };
        Ledger::replay(vec![made]).0
    }

    #[test]
    fn packets_of_a_conversation_are_judged_as_the_rehearsal_judges_it() {
        let mut draw = Draw(7);
        let mut both = [0, 0];
        for _ in 0..20_000 {
            let cut = draw.cut();
            let (client, server) = (draw.addr(), draw.addr());
            if client == server || client.is_ipv4() != server.is_ipv4() {
                continue;
            }
            let Port { transport, port } = draw.port();
            let talk = Talk {
                client,
                server,
                transport,
                port,
            };
            let judge = Judge::of(&Table::of(&ledger(&cut), &NeverAct::default()));
            let begun = if transport == Transport::Icmp {
                0
            } else {
                50_000
            };
            let forth = Seen {
                src: client,
                dst: server,
                transport,
                src_port: begun,
                dst_port: port,
                is_forth: true,
            };
            let back = Seen {
                src: server,
                dst: client,
                src_port: port,
                dst_port: begun,
                is_forth: false,
                ..forth
            };
            // ICMP between a pair is cut whoever sends it.
            let either = transport == Transport::Icmp && {
                let swapped = Talk {
                    client: server,
                    server: client,
                    ..talk
                };
                matches!(cut, Cut::Pattern { .. }) && cut.cuts(&swapped)
            };
            let is_cut = cut.cuts(&talk) || either;
            both[usize::from(is_cut)] += 1;
            for seen in [forth, back] {
                let judged = judge.verdict(&seen).is_some();
                assert_eq!(judged, is_cut, "{cut:?} {seen:?}");
            }
        }
        assert!(both[0] > 1_000 && both[1] > 500, "{both:?}");
    }

    #[test]
    fn what_is_never_acted_upon_is_not() {
        let cut = Cut::Address {
            of: "10.0.0.0/24".parse().unwrap(),
            side: Side::Both,
        };
        let mut never = NeverAct::default();
        never.service(
            "10.0.0.9".parse().unwrap(),
            Port {
                transport: Transport::Udp,
                port: 53,
            },
            "names",
        );
        let judge = Judge::of(&Table::of(&ledger(&cut), &never));
        let mut seen = Seen {
            src: "10.0.0.5".parse().unwrap(),
            dst: "10.0.0.9".parse().unwrap(),
            transport: Transport::Udp,
            src_port: 50_000,
            dst_port: 53,
            is_forth: true,
        };
        let is_cut = judge.verdict(&seen).is_some();
        seen.dst_port = 54;
        assert!(!is_cut || judge.verdict(&seen).is_none());
        seen.dst_port = 67;
        assert!(judge.verdict(&seen).is_none(), "DHCP");
    }
}
