//! From words to an expression. `and` and `or` count alike and go from left to right, as in tcpdump.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::words::{Word, words};
use super::{ARP, Expr, FilterError, IP, IP6, RARP, Side, Term};

/// Parentheses and negations inside each other.
const DEPTH_MAX: usize = 64;

/// Protocols by name: where IP says so, and in which kind of IP.
const PROTOCOLS: &[(&str, u8, Option<u16>)] = &[
    ("tcp", 6, None),
    ("udp", 17, None),
    ("sctp", 132, None),
    ("icmp", 1, Some(IP)),
    ("icmp6", 58, Some(IP6)),
    ("igmp", 2, Some(IP)),
    ("igrp", 9, Some(IP)),
    ("pim", 103, None),
    ("vrrp", 112, Some(IP)),
    ("ah", 51, None),
    ("esp", 50, None),
];

const ETHER_TYPES: &[(&str, u16)] = &[("ip", IP), ("ip6", IP6), ("arp", ARP), ("rarp", RARP)];

/// What is asked for, before it is told of what.
#[derive(Clone, Copy)]
struct Kind {
    of: Of,
    side: Side,
    what: What,
}

/// The word before: of which protocol.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Any,
    Ether,
    EtherType(u16),
    Protocol(u8),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Host,
    Net,
    Port,
    PortRange,
    Proto,
}

pub(super) fn parse(text: &str) -> Result<Expr, FilterError> {
    let words = words(text)?;
    let mut parser = Parser {
        words: &words,
        at: 0,
        end: text.chars().count() + 1,
        last: None,
        depth: 0,
    };
    let expr = parser.expression()?;
    match parser.peek() {
        None => Ok(expr),
        Some(")") => Err(parser.wrong("this closes nothing")),
        Some(word) => Err(parser.wrong(&format!("'and' or 'or' belongs before {word}"))),
    }
}

struct Parser<'a> {
    words: &'a [Word<'a>],
    at: usize,
    /// Behind the last character.
    end: usize,
    /// What a value without a word before it is.
    last: Option<Kind>,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).map(|word| word.text)
    }

    fn take_if(&mut self, is_it: impl Fn(&str) -> bool) -> bool {
        let is = self.peek().is_some_and(is_it);
        self.at += usize::from(is);
        is
    }

    /// The next word, which has to be there.
    fn need(&mut self, what: &str) -> Result<&'a str, FilterError> {
        let word = self.peek();
        let word = word.ok_or_else(|| self.wrong(&format!("{what} is missing")))?;
        self.at += 1;
        Ok(word)
    }

    /// An error at the next word.
    fn wrong(&self, why: &str) -> FilterError {
        FilterError::Word {
            at: self.words.get(self.at).map_or(self.end, |word| word.at),
            why: why.to_owned(),
        }
    }

    /// An error at the word before.
    fn wrong_before(&self, why: &str) -> FilterError {
        let word = self.words.get(self.at.saturating_sub(1));
        FilterError::Word {
            at: word.map_or(1, |word| word.at),
            why: why.to_owned(),
        }
    }

    fn expression(&mut self) -> Result<Expr, FilterError> {
        let mut left = self.factor()?;
        loop {
            if self.take_if(|word| matches!(word, "and" | "&&")) {
                let right = self.factor()?;
                match &mut left {
                    Expr::All(all) => all.push(right),
                    _ => left = Expr::All(vec![left, right]),
                }
            } else if self.take_if(|word| matches!(word, "or" | "||")) {
                let right = self.factor()?;
                match &mut left {
                    Expr::Any(any) => any.push(right),
                    _ => left = Expr::Any(vec![left, right]),
                }
            } else {
                return Ok(left);
            }
        }
    }

    fn factor(&mut self) -> Result<Expr, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong("there are too many parentheses inside each other"));
        }
        let expr = if self.take_if(|word| matches!(word, "not" | "!")) {
            Expr::Not(Box::new(self.factor()?))
        } else if self.take_if(|word| word == "(") {
            self.closed()?
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn closed(&mut self) -> Result<Expr, FilterError> {
        let expr = self.expression()?;
        if self.take_if(|word| word == ")") {
            return Ok(expr);
        }
        Err(self.wrong("a parenthesis is not closed"))
    }

    fn term(&mut self) -> Result<Expr, FilterError> {
        let word = self.need("something to look for")?;
        let term = match word {
            "vlan" => Term::Vlan(self.number(4_095)?),
            "less" => {
                let bytes = self.need_number(u32::MAX - 1)?;
                return Ok(Expr::Not(Box::new(Expr::Term(Term::AtLeast(bytes + 1)))));
            }
            "greater" => Term::AtLeast(self.need_number(u32::MAX)?),
            "broadcast" => broadcast(),
            "multicast" => Term::Group,
            _ => return self.qualified(word),
        };
        Ok(Expr::Term(term))
    }

    /// `tcp dst port 80`, or a part of it: `tcp`, `dst 10.0.0.1`, `80` behind another such.
    fn qualified(&mut self, first: &str) -> Result<Expr, FilterError> {
        let begun = self.at;
        let of = of(first);
        if of.is_none() {
            self.at -= 1;
        }
        let side = self.side();
        let what = self.what();
        let kind = Kind {
            of: of.unwrap_or(Of::Any),
            side: side.unwrap_or(Side::Either),
            what: what.unwrap_or(What::Host),
        };
        if side.is_some() || what.is_some() {
            self.last = Some(kind);
            if self.take_if(|word| word == "(") {
                return self.closed();
            }
            let value = self.need("what it is to be")?;
            return self.value(kind, value);
        }
        self.at = begun;
        match of {
            Some(Of::Ether) if self.take_if(|word| word == "broadcast") => {
                Ok(Expr::Term(broadcast()))
            }
            Some(Of::Ether) if self.take_if(|word| word == "multicast") => {
                Ok(Expr::Term(Term::Group))
            }
            Some(Of::EtherType(ether_type)) => Ok(Expr::Term(Term::EtherType(ether_type))),
            Some(Of::Protocol(number)) => Ok(Expr::Term(Term::Protocol {
                family: PROTOCOLS
                    .iter()
                    .find(|(_, known, _)| *known == number)
                    .and_then(|(_, _, family)| *family),
                number,
            })),
            Some(Of::Ether | Of::Any) => Err(self.wrong("host, src, dst or proto is missing")),
            None => {
                let is_value = first.parse::<IpAddr>().is_ok()
                    || first.starts_with(|c: char| c.is_ascii_digit());
                match self.last {
                    Some(kind) => self.value(kind, first),
                    None if is_value => self.value(kind, first),
                    None => Err(self.wrong_before(&format!(
                        "{first} is not understood; there are host, net, port, portrange, proto, vlan, ip, ip6, \
                         arp, tcp, udp, icmp and others, with src, dst, and, or, not"
                    ))),
                }
            }
        }
    }

    fn side(&mut self) -> Option<Side> {
        let (one, other) = match self.peek() {
            Some("src") => (Side::Source, "dst"),
            Some("dst") => (Side::Destination, "src"),
            _ => return None,
        };
        self.at += 1;
        let word = |at: usize| self.words.get(at).map(|word| word.text);
        let side = match (word(self.at), word(self.at + 1)) {
            (Some("or" | "||"), Some(next)) if next == other => Side::Either,
            (Some("and" | "&&"), Some(next)) if next == other => Side::Both,
            _ => return Some(one),
        };
        self.at += 2;
        Some(side)
    }

    fn what(&mut self) -> Option<What> {
        let what = match self.peek()? {
            "host" => What::Host,
            "net" => What::Net,
            "port" => What::Port,
            "portrange" => What::PortRange,
            "proto" => What::Proto,
            _ => return None,
        };
        self.at += 1;
        Some(what)
    }

    fn value(&mut self, kind: Kind, value: &str) -> Result<Expr, FilterError> {
        let term = match kind.what {
            What::Host => self.host(kind, value),
            What::Net => self.net(kind, value),
            What::Port => self.ports(kind, value, value),
            What::PortRange => {
                let ends = value.split_once('-');
                let (from, to) =
                    ends.ok_or_else(|| self.wrong_before("a range of ports is 6000-6008"))?;
                self.ports(kind, from, to)
            }
            What::Proto => self.proto(kind, value),
        };
        term.map(Expr::Term)
    }

    fn host(&self, kind: Kind, value: &str) -> Result<Term, FilterError> {
        if kind.of == Of::Ether {
            let mac = mac(value)
                .ok_or_else(|| self.wrong_before("an Ethernet address is 00:1b:44:11:3a:b7"))?;
            return Ok(Term::Mac {
                side: kind.side,
                mac,
            });
        }
        let address: IpAddr = value.parse().map_err(|_| {
            let why = if value.contains('/') {
                "this is a network: write net before it"
            } else {
                "this is no IP address, and names are not looked up"
            };
            self.wrong_before(why)
        })?;
        self.address(kind, IpNet::from(address))
    }

    fn net(&mut self, kind: Kind, value: &str) -> Result<Term, FilterError> {
        let wrong = |parser: &Self| parser.wrong_before("a network is 10.0.0.0/8 or fd00::/8");
        let (base, len) = match value.split_once('/') {
            Some((base, len)) => (base, Some(len)),
            None => (value, None),
        };
        let (address, bits) = match base.parse::<IpAddr>() {
            Ok(address) => (address, IpNet::from(address).prefix_len()),
            Err(_) => short(base).ok_or_else(|| wrong(self))?,
        };
        let bits = match len {
            Some(len) => len.parse().map_err(|_| wrong(self))?,
            None if self.take_if(|word| word == "mask") => {
                let mask: Ipv4Addr = self
                    .need("a mask")?
                    .parse()
                    .map_err(|_| self.wrong_before("a mask is 255.255.0.0"))?;
                ipnet::ip_mask_to_prefix(IpAddr::V4(mask))
                    .map_err(|_| self.wrong_before("a mask is ones, then zeros"))?
            }
            None => bits,
        };
        let net = IpNet::new(address, bits).map_err(|_| wrong(self))?;
        if net.trunc() != net {
            let why = format!(
                "{net} has bits behind its mask; {} was meant, or a host",
                net.trunc()
            );
            return Err(self.wrong_before(&why));
        }
        self.address(kind, net)
    }

    fn address(&self, kind: Kind, net: IpNet) -> Result<Term, FilterError> {
        let ether_type = match (kind.of, net) {
            (Of::Any, _) => None,
            (Of::EtherType(IP6), IpNet::V6(_)) => Some(IP6),
            (Of::EtherType(other), IpNet::V4(_)) if other != IP6 => Some(other),
            _ => return Err(self.wrong_before("what stands before it has no such address")),
        };
        Ok(Term::Address {
            side: kind.side,
            ether_type,
            net,
        })
    }

    fn ports(&self, kind: Kind, from: &str, to: &str) -> Result<Term, FilterError> {
        let protocol = match kind.of {
            Of::Any => None,
            Of::Protocol(number @ (6 | 17 | 132)) => Some(number),
            _ => return Err(self.wrong_before("only tcp, udp and sctp have ports")),
        };
        let number = |text: &str| -> Result<u16, FilterError> {
            text.parse().map_err(|_| {
                self.wrong_before(
                    "a port is a number up to 65535; names of services are not looked up",
                )
            })
        };
        let (a, b) = (number(from)?, number(to)?);
        Ok(Term::Port {
            side: kind.side,
            protocol,
            from: a.min(b),
            to: a.max(b),
        })
    }

    fn proto(&self, kind: Kind, value: &str) -> Result<Term, FilterError> {
        let bare = value.trim_start_matches('\\');
        if kind.of == Of::Ether {
            let known = ETHER_TYPES.iter().find(|(name, _)| *name == bare);
            let number = known
                .map(|(_, number)| *number)
                .or_else(|| short_number(bare));
            let number = number.filter(|number| *number >= 0x600);
            return number.map(Term::EtherType).ok_or_else(|| {
                self.wrong_before("a type of Ethernet is 0x88cc, or ip, ip6, arp, rarp")
            });
        }
        let family = match kind.of {
            Of::Any => None,
            Of::EtherType(family @ (IP | IP6)) => Some(family),
            _ => return Err(self.wrong_before("only ip, ip6 and ether have a proto")),
        };
        let known = PROTOCOLS.iter().find(|(name, _, _)| *name == bare);
        let number = known
            .map(|(_, number, _)| *number)
            .or_else(|| short_number(bare).and_then(|number| u8::try_from(number).ok()));
        let number = number.ok_or_else(|| {
            self.wrong_before("a protocol is a number up to 255, or a name such as tcp")
        })?;
        Ok(Term::Protocol { family, number })
    }

    /// The next word, if it is a number.
    fn number(&mut self, max: u16) -> Result<Option<u16>, FilterError> {
        let Some(number) = self.peek().and_then(|word| word.parse::<u32>().ok()) else {
            return Ok(None);
        };
        self.at += 1;
        let number = u16::try_from(number).ok().filter(|number| *number <= max);
        let number = number.ok_or_else(|| self.wrong_before(&format!("it is at most {max}")))?;
        Ok(Some(number))
    }

    fn need_number(&mut self, max: u32) -> Result<u32, FilterError> {
        let word = self.need("a number of bytes")?;
        let number = word.parse::<u32>().ok().filter(|number| *number <= max);
        number.ok_or_else(|| self.wrong_before("this is no number of bytes"))
    }
}

fn broadcast() -> Term {
    Term::Mac {
        side: Side::Destination,
        mac: [0xff; 6],
    }
}

fn of(word: &str) -> Option<Of> {
    if word == "ether" {
        return Some(Of::Ether);
    }
    let ether_type = ETHER_TYPES.iter().find(|(name, _)| *name == word);
    let protocol = || PROTOCOLS.iter().find(|(name, _, _)| *name == word);
    ether_type
        .map(|(_, number)| Of::EtherType(*number))
        .or_else(|| protocol().map(|(_, number, _)| Of::Protocol(*number)))
}

/// `192.168` is 192.168.0.0/16.
fn short(text: &str) -> Option<(IpAddr, u8)> {
    let mut octets = [0; 4];
    let mut bits = 0;
    for (place, part) in text.split('.').enumerate() {
        *octets.get_mut(place)? = part.parse().ok()?;
        bits += 8;
    }
    Some((IpAddr::from(octets), bits))
}

fn short_number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

fn mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut parts = text.split([':', '-']);
    for place in &mut mac {
        *place = u8::from_str_radix(parts.next()?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}
