//! The table as nft reads it: nft(8), "Sets", "Statements". One table of our own; its chains are fixed, and all that
//! changes are elements with timeouts, so that what nobody renews ends by itself.

use std::fmt::{Arguments, Write};

use thymus_schema::{Timestamp, Transport};

use crate::cut::AGREED_FROM;
use crate::table::{Element, Rest, Set};

/// The name of our table.
pub(super) const TABLE: &str = "thymus";

/// Where a table hooks in, and what the kernel offers there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    /// nft's name of the family.
    pub(super) family: &'static str,
    /// Whether the kernel follows connections there, so that it is known who began one.
    tracks: bool,
    /// Whether who sends can be told no.
    rejects: bool,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            family: "inet",
            tracks: true,
            rejects: true,
        }
    }
}

impl Dialect {
    /// Between the ports of a bridge. Following connections and saying no are modules of the kernel there
    /// (nf_conntrack_bridge, nft_reject_bridge), which not every kernel has.
    pub(super) const BRIDGE: Self = Self {
        family: "bridge",
        tracks: true,
        rejects: true,
    };

    /// It, and what is tried where the kernel does not offer that much.
    pub(super) fn poorer(self) -> Vec<Self> {
        let mut all = vec![self];
        if self.family == Self::BRIDGE.family {
            for (tracks, rejects) in [(true, false), (false, true), (false, false)] {
                if tracks <= self.tracks && rejects <= self.rejects {
                    all.push(Self {
                        tracks,
                        rejects,
                        ..self
                    });
                }
            }
            all.dedup();
        }
        all
    }

    /// Family and name of the table.
    pub(super) fn table(self) -> String {
        format!("{} {TABLE}", self.family)
    }

    /// What a rule asks of a packet that goes, or comes back, in the conversation.
    ///
    /// Where connections are not followed, habits are looked for in both directions, and of conversations that are
    /// not to be begun the first packet of TCP is cut.
    fn forth(self) -> &'static str {
        if self.tracks {
            "ct direction original "
        } else {
            ""
        }
    }

    fn back(self) -> &'static str {
        if self.tracks {
            "ct direction reply "
        } else {
            ""
        }
    }
}

/// Elements of one transaction, where the kernel takes only short messages.
pub(super) const SHORT: usize = 400;

fn line(script: &mut String, text: Arguments<'_>) {
    // A string takes everything.
    let _is_written = script.write_fmt(text).is_ok();
    script.push('\n');
}

/// A set's name for one family, of hosts or of networks.
pub(super) fn name(set: Set, is_v4: bool, is_wide: bool) -> String {
    let family = if is_v4 { '4' } else { '6' };
    let wide = if is_wide { "n" } else { "" };
    format!("{}{family}{wide}", set.as_str())
}

/// Every set there is: which, family, whether of networks.
pub(super) fn sets() -> impl Iterator<Item = (Set, bool, bool)> {
    Set::ALL.iter().flat_map(|&set| {
        [(true, false), (true, true), (false, false), (false, true)]
            .into_iter()
            .filter(move |(_, is_wide)| set != Set::Never || *is_wide)
            .map(move |(is_v4, is_wide)| (set, is_v4, is_wide))
    })
}

/// What makes the table as it is to be, around whatever elements it has; with `anew` it begins empty.
pub(super) fn skeleton(dialect: Dialect, anew: bool) -> String {
    let table = dialect.table();
    let mut script = format!("add table {table}\n");
    if anew {
        line(
            &mut script,
            format_args!("delete table {table}\nadd table {table}"),
        );
    } else {
        // The rules of all chains; elements stay.
        line(&mut script, format_args!("flush table {table}"));
    }
    line(&mut script, format_args!("table {table} {{"));
    for (set, is_v4, is_wide) in sets() {
        let (addrs, rest) = set.shape();
        let addr = if is_v4 { "ipv4_addr" } else { "ipv6_addr" };
        let mut types = vec![addr; addrs];
        match rest {
            Rest::Nothing => {}
            Rest::Transport => types.push("inet_proto"),
            Rest::Service => types.extend(["inet_proto", "inet_service"]),
        }
        let mut flags = Vec::new();
        if is_wide {
            flags.push("interval");
        }
        if !is_never(set) {
            flags.push("timeout");
        }
        let flags = match flags.as_slice() {
            [] => String::new(),
            flags => format!("flags {}; ", flags.join(", ")),
        };
        let counter = if counts(set) { "counter; " } else { "" };
        line(
            &mut script,
            format_args!(
                "  set {} {{ type {}; {flags}{counter}}}",
                name(set, is_v4, is_wide),
                types.join(" . ")
            ),
        );
    }
    chains(&mut script, dialect);
    script.push_str("}\n");
    script
}

/// Sets whose elements stay as long as somebody wants them.
fn is_never(set: Set) -> bool {
    matches!(set, Set::Never | Set::NeverService)
}

/// Sets whose elements count what they cut.
pub(super) fn counts(set: Set) -> bool {
    matches!(
        set,
        Set::Service | Set::Icmp | Set::Pair | Set::Both | Set::Begun | Set::Taken | Set::LifeCut
    )
}

fn chains(script: &mut String, dialect: Dialect) {
    script.push_str("  chain cut {\n");
    if dialect.rejects {
        script.push_str(
            "    meta l4proto tcp limit rate 500/second burst 200 packets reject with tcp reset
    limit rate 200/second burst 100 packets reject with icmpx type admin-prohibited
",
        );
    }
    script.push_str("    drop\n  }\n");
    for is_v4 in [true, false] {
        life(script, dialect, is_v4);
    }
    // Errors about conversations, addresses and neighbours: without them nothing works, with them nothing is done.
    script.push_str("  chain judge {\n");
    if dialect.tracks {
        script.push_str("    ct state related return\n");
    }
    script.push_str(
        "    udp dport { 67, 68, 546, 547 } return
    icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect } return
",
    );
    for is_v4 in [true, false] {
        judge(script, dialect, is_v4);
    }
    script.push_str("  }\n");
    // A bridge can say no only where packets come in.
    let hooks: &[(&str, &str)] = if dialect.family == Dialect::BRIDGE.family {
        &[("prerouting", "")]
    } else {
        &[
            ("input", "iif lo return; "),
            ("output", "oif lo return; "),
            ("forward", ""),
        ]
    };
    for (hook, loopback) in hooks {
        line(
            script,
            format_args!(
                "  chain {hook} {{ type filter hook {hook} priority -150; policy accept; {loopback}jump judge; }}"
            ),
        );
    }
}

/// How one family names what rules look at.
struct Family {
    ip: &'static str,
    icmp: &'static str,
    is_v4: bool,
}

impl Family {
    fn of(is_v4: bool) -> Self {
        let (ip, icmp) = if is_v4 {
            ("ip", "icmp")
        } else {
            ("ip6", "ipv6-icmp")
        };
        Self { ip, icmp, is_v4 }
    }

    /// One rule for the set of hosts and one for that of networks.
    fn rules(&self, script: &mut String, before: &str, key: &[&str], set: Set, verdict: &str) {
        for is_wide in [false, true] {
            if set == Set::Never && !is_wide {
                continue;
            }
            let set = name(set, self.is_v4, is_wide);
            let key: Vec<String> = key.iter().map(|part| self.part(part)).collect();
            line(
                script,
                format_args!("    {before}{} @{set} {verdict}", key.join(" . ")),
            );
        }
    }

    fn part(&self, part: &str) -> String {
        match part {
            "src" => format!("{} saddr", self.ip),
            "dst" => format!("{} daddr", self.ip),
            "proto" => "meta l4proto".to_owned(),
            "sport" => "th sport".to_owned(),
            _ => "th dport".to_owned(),
        }
    }
}

fn judge(script: &mut String, dialect: Dialect, is_v4: bool) {
    let family = Family::of(is_v4);
    let digit = if is_v4 { '4' } else { '6' };
    let (own, other) = (format!("jump own{digit}"), format!("jump other{digit}"));
    let mut rules = |before: &str, key: &[&str], set, verdict| {
        family.rules(script, before, key, set, verdict);
    };
    rules("", &["src"], Set::Never, "return");
    rules("", &["dst"], Set::Never, "return");
    rules("", &["dst", "proto", "dport"], Set::NeverService, "return");
    rules("", &["src", "proto", "sport"], Set::NeverService, "return");
    let cut = "goto cut";
    rules("", &["src", "dst", "proto", "dport"], Set::Service, cut);
    rules("", &["dst", "src", "proto", "sport"], Set::Service, cut);
    let icmp = format!("meta l4proto {} ", family.icmp);
    for key in [["src", "dst"], ["dst", "src"]] {
        rules(&icmp, &key, Set::Icmp, cut);
        rules("", &key, Set::Pair, cut);
    }
    rules("", &["src"], Set::Both, cut);
    rules("", &["dst"], Set::Both, cut);
    if dialect.tracks {
        let (forth, back) = (dialect.forth(), dialect.back());
        rules(forth, &["src"], Set::Begun, cut);
        rules(back, &["dst"], Set::Begun, cut);
        rules(forth, &["dst"], Set::Taken, cut);
        rules(back, &["src"], Set::Taken, cut);
    } else {
        let first = "tcp flags & (syn | ack) == syn ";
        rules(first, &["src"], Set::Begun, cut);
        rules(first, &["dst"], Set::Taken, cut);
    }
    rules("", &["src"], Set::Life, &own);
    rules("", &["dst"], Set::Life, &other);
}

/// What a device that is held to its pattern of life may still send, and be sent.
fn life(script: &mut String, dialect: Dialect, is_v4: bool) {
    let (forth, back) = (dialect.forth(), dialect.back());
    let family = Family::of(is_v4);
    let digit = if is_v4 { '4' } else { '6' };
    let icmp = format!("meta l4proto {} ", family.icmp);
    // (chain, the device's address, the peer's, port it names as client, port it names as server)
    for (chain, own, peer, uses, gives, [using, giving]) in [
        ("own", "src", "dst", "dport", "sport", [forth, back]),
        ("other", "dst", "src", "sport", "dport", [back, forth]),
    ] {
        line(script, format_args!("  chain {chain}{digit} {{"));
        let mut rules = |before: &str, key: &[&str], set, verdict| {
            family.rules(script, before, key, set, verdict);
        };
        rules(using, &[own, peer, "proto", uses], Set::Uses, "return");
        rules(giving, &[own, peer, "proto", gives], Set::Gives, "return");
        rules(using, &[own, "proto", uses], Set::UsesAny, "return");
        rules(giving, &[own, "proto", gives], Set::GivesAny, "return");
        for (before, set, port) in [
            (using, Set::UsesAgreed, uses),
            (giving, Set::GivesAgreed, gives),
        ] {
            let before = format!("{before}th {port} >= {AGREED_FROM} ");
            rules(&before, &[own, peer, "proto"], set, "return");
        }
        rules(&icmp, &[own, peer], Set::Echo, "return");
        rules("", &[own], Set::LifeCut, "goto cut");
        script.push_str("  }\n");
    }
}

/// A step for an element.
pub(super) enum Step<'a> {
    /// It is not there, and is to be until then.
    Put(&'a Element, Option<Timestamp>),
    /// It is there, and is to be until another time.
    Renew(&'a Element, Option<Timestamp>),
    /// It is to go.
    Take(&'a Element),
}

/// What puts and takes elements. Taking and renewing are right whatever was there; of one that is put and was there, the
/// time stays, until the next look puts it right.
pub(super) fn steps(dialect: Dialect, steps: &[Step<'_>], now: Timestamp) -> String {
    let table = dialect.table();
    let mut script = String::new();
    for step in steps {
        let (element, put) = match step {
            Step::Put(element, until) | Step::Renew(element, until) => (*element, Some(*until)),
            Step::Take(element) => (*element, None),
        };
        let set = name(element.set, element.is_v4(), element.is_wide());
        let key = key(element);
        // One that is not there cannot be deleted, and the timeout of one that is there stays: so add, delete, add.
        if !matches!(step, Step::Put(..)) {
            line(
                &mut script,
                format_args!("add element {table} {set} {{ {key} }}"),
            );
            line(
                &mut script,
                format_args!("delete element {table} {set} {{ {key} }}"),
            );
        }
        if let Some(until) = put {
            let timeout = until
                .filter(|_| !is_never(element.set))
                .map_or_else(String::new, |until| {
                    format!(" timeout {}ms", until.since(now).as_millis().max(1))
                });
            line(
                &mut script,
                format_args!("add element {table} {set} {{ {key}{timeout} }}"),
            );
        }
    }
    script
}

/// An element's key: addresses, then transport and port.
pub(super) fn key(element: &Element) -> String {
    let mut parts: Vec<String> = element
        .nets
        .iter()
        .map(|net| {
            if net.prefix_len() == net.max_prefix_len() {
                net.addr().to_string()
            } else {
                net.to_string()
            }
        })
        .collect();
    if let Some(port) = element.port {
        parts.push(transport(port.transport).to_owned());
        if element.set.shape().1 == Rest::Service {
            parts.push(port.port.to_string());
        }
    }
    parts.join(" . ")
}

/// nft's name of a transport.
fn transport(of: Transport) -> &'static str {
    match of {
        Transport::Udp => "udp",
        Transport::Sctp => "sctp",
        _ => "tcp",
    }
}
