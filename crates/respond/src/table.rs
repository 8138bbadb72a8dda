//! What a packet filter has to hold at one moment: the elements of a fixed family of sets. A fold of the decisions
//! that hold and of what is never acted upon; two that want the same element share it.

mod judge;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thymus_schema::{Timestamp, Transport};

use crate::cut::{AGREED_FROM, Cut, Habit, Port, Side};
use crate::decision::{Decision, DecisionId, Realm};
use crate::guard::NeverAct;
use crate::ledger::Ledger;

pub use judge::{Judge, Seen};

/// What an element means. Each set exists for IPv4 and IPv6, those of cuts also for networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Set {
    /// Never cut: an address.
    Never,
    /// Never cut: a server and its service.
    NeverService,
    /// Cut: client, server, transport, port.
    Service,
    /// Cut: one address and another, ICMP between them.
    Icmp,
    /// Cut: one address and another, whatever they do.
    Pair,
    /// Cut: all of an address.
    Both,
    /// Cut: what an address begins.
    Begun,
    /// Cut: what others begin with an address.
    Taken,
    /// Cut, but for its habits: all of an address.
    Life,
    /// The same, of packets that are no habit: counted.
    LifeCut,
    /// A habit: device, peer, transport, port of the peer.
    Uses,
    /// A habit: device, peer, transport, port of the device.
    Gives,
    /// A habit with any peer: device, transport, port of the peer.
    UsesAny,
    /// A habit with any peer: device, transport, port of the device.
    GivesAny,
    /// A habit: device, peer, transport; whatever port of the peer they agree on.
    UsesAgreed,
    /// A habit: device, peer, transport; whatever port of the device they agree on.
    GivesAgreed,
    /// A habit: device, peer, ICMP.
    Echo,
}

/// What follows the addresses in the elements of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// Nothing.
    Nothing,
    /// A transport.
    Transport,
    /// A transport and a port.
    Service,
}

impl Set {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Never,
        Self::NeverService,
        Self::Service,
        Self::Icmp,
        Self::Pair,
        Self::Both,
        Self::Begun,
        Self::Taken,
        Self::Life,
        Self::LifeCut,
        Self::Uses,
        Self::Gives,
        Self::UsesAny,
        Self::GivesAny,
        Self::UsesAgreed,
        Self::GivesAgreed,
        Self::Echo,
    ];

    /// The name of the set, without family.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::NeverService => "never_service",
            Self::Service => "service",
            Self::Icmp => "icmp",
            Self::Pair => "pair",
            Self::Both => "both",
            Self::Begun => "begun",
            Self::Taken => "taken",
            Self::Life => "life",
            Self::LifeCut => "life_cut",
            Self::Uses => "uses",
            Self::Gives => "gives",
            Self::UsesAny => "uses_any",
            Self::GivesAny => "gives_any",
            Self::UsesAgreed => "uses_agreed",
            Self::GivesAgreed => "gives_agreed",
            Self::Echo => "echo",
        }
    }

    /// How many addresses its elements begin with, and what follows.
    pub const fn shape(self) -> (usize, Rest) {
        match self {
            Self::Never | Self::Both | Self::Begun | Self::Taken | Self::Life | Self::LifeCut => {
                (1, Rest::Nothing)
            }
            Self::NeverService | Self::UsesAny | Self::GivesAny => (1, Rest::Service),
            Self::Icmp | Self::Pair | Self::Echo => (2, Rest::Nothing),
            Self::UsesAgreed | Self::GivesAgreed => (2, Rest::Transport),
            Self::Service | Self::Uses | Self::Gives => (2, Rest::Service),
        }
    }
}

/// An element of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Element {
    /// Of which set.
    pub set: Set,
    /// Its networks: hosts, or where the set is one of networks wider ones.
    pub nets: Vec<IpNet>,
    /// Its service, in sets that have one.
    pub port: Option<Port>,
}

impl Element {
    /// Whether it belongs in the set of networks.
    pub fn is_wide(&self) -> bool {
        let is_wide = |net: &IpNet| net.prefix_len() != net.max_prefix_len();
        self.set == Set::Never || self.nets.iter().any(is_wide)
    }

    /// Whether it is one of IPv4.
    pub fn is_v4(&self) -> bool {
        matches!(self.nets.first(), Some(IpNet::V4(_)))
    }
}

/// Why an element is there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// Until when; for good without.
    pub until: Option<Timestamp>,
    /// For which decisions; none for what is never acted upon.
    pub of: BTreeSet<DecisionId>,
}

/// What a decision that is about no traffic takes hold of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// What it is about.
    pub cuts: Vec<Cut>,
    /// Until when.
    pub until: Option<Timestamp>,
}

/// What such decisions take hold of.
pub type Holds = BTreeMap<DecisionId, Hold>;

/// The elements, and beside them what no packet filter has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    elements: BTreeMap<Element, Claim>,
    processes: Holds,
    files: Holds,
}

impl Table {
    /// What has to hold for these decisions.
    pub fn of(ledger: &Ledger, never: &NeverAct) -> Self {
        let mut table = Self::default();
        table.never(never);
        let mut lives: BTreeMap<IpNet, Vec<(BTreeSet<Habit>, Claim)>> = BTreeMap::new();
        for decision in ledger.active() {
            match decision.verb.realm() {
                Some(Realm::Processes) => hold(&mut table.processes, decision, never),
                Some(Realm::Files) => hold(&mut table.files, decision, never),
                Some(Realm::Traffic) | None => {}
            }
            if decision.verb.realm() != Some(Realm::Traffic) {
                continue;
            }
            let claim = Claim {
                until: decision.until,
                of: BTreeSet::from([decision.id]),
            };
            for cut in &decision.cuts {
                // The last look: what is never acted upon is not, whatever was decided.
                if never.refuses(cut).is_some() {
                    continue;
                }
                match cut {
                    Cut::Pattern {
                        client,
                        server,
                        port,
                    } => table.pattern(*client, *server, *port, &claim),
                    Cut::Address { of, side } => {
                        let set = match side {
                            Side::Both => Set::Both,
                            Side::Begun => Set::Begun,
                            Side::Taken => Set::Taken,
                        };
                        table.add(set, vec![*of], None, &claim);
                    }
                    Cut::Process { .. } | Cut::File { .. } => {}
                    Cut::AllBut { of, habits } => {
                        let habits = habits.iter().copied().collect();
                        lives.entry(*of).or_default().push((habits, claim.clone()));
                    }
                }
            }
        }
        for (device, wanted) in lives {
            table.life(device, wanted);
        }
        table
    }

    fn never(&mut self, never: &NeverAct) {
        let for_good = Claim::default();
        for (net, _) in never.nets() {
            self.add(Set::Never, vec![*net], None, &for_good);
        }
        for ((server, port), _) in never.relied_on() {
            let nets = vec![IpNet::from(*server)];
            self.add(Set::NeverService, nets, Some(*port), &for_good);
        }
    }

    fn pattern(&mut self, client: IpNet, server: IpNet, port: Option<Port>, claim: &Claim) {
        if matches!(client, IpNet::V4(_)) != matches!(server, IpNet::V4(_)) {
            return;
        }
        match port {
            None => self.add(Set::Pair, vec![client, server], None, claim),
            Some(port) if port.transport == Transport::Icmp => {
                self.add(Set::Icmp, vec![client, server], None, claim);
            }
            port => self.add(Set::Service, vec![client, server], port, claim),
        }
    }

    /// Where several decisions hold a device to a pattern of life, only what all of them allow is left.
    fn life(&mut self, device: IpNet, wanted: Vec<(BTreeSet<Habit>, Claim)>) {
        let mut wanted = wanted.into_iter();
        let Some((mut habits, mut claim)) = wanted.next() else {
            return;
        };
        for (more, other) in wanted {
            habits = both(&habits, &more);
            claim.join(&other);
        }
        self.add(Set::Life, vec![device], None, &claim);
        for habit in habits {
            let peer = habit.peer.map(IpNet::from);
            if peer
                .is_some_and(|peer| matches!(peer, IpNet::V4(_)) != matches!(device, IpNet::V4(_)))
            {
                continue;
            }
            let is_icmp = habit.port.transport == Transport::Icmp;
            if habit.port.is_agreed() {
                // With somebody in particular, or not at all.
                if let Some(peer) = peer {
                    let set = if habit.is_client {
                        Set::UsesAgreed
                    } else {
                        Set::GivesAgreed
                    };
                    self.add(set, vec![device, peer], Some(habit.port), &claim);
                }
                continue;
            }
            let (set, nets) = match (peer, habit.is_client) {
                (Some(peer), _) if is_icmp => (Set::Echo, vec![device, peer]),
                (None, _) if is_icmp => (Set::Echo, vec![device, any(device)]),
                (Some(peer), true) => (Set::Uses, vec![device, peer]),
                (Some(peer), false) => (Set::Gives, vec![device, peer]),
                (None, true) => (Set::UsesAny, vec![device]),
                (None, false) => (Set::GivesAny, vec![device]),
            };
            self.add(set, nets, (!is_icmp).then_some(habit.port), &claim);
        }
    }

    fn add(&mut self, set: Set, nets: Vec<IpNet>, port: Option<Port>, claim: &Claim) {
        let element = Element { set, nets, port };
        self.elements
            .entry(element)
            .and_modify(|known| known.join(claim))
            .or_insert_with(|| claim.clone());
    }

    /// The elements, in order.
    pub fn elements(&self) -> impl Iterator<Item = (&Element, &Claim)> {
        self.elements.iter()
    }

    /// What holds processes of this machine.
    pub fn processes(&self) -> &Holds {
        &self.processes
    }

    /// What holds files of this machine.
    pub fn files(&self) -> &Holds {
        &self.files
    }

    /// One of them.
    pub fn get(&self, element: &Element) -> Option<&Claim> {
        self.elements.get(element)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }
}

/// What is never acted upon is left out here too.
fn hold(into: &mut Holds, decision: &Decision, never: &NeverAct) {
    let cuts = decision.cuts.iter();
    let cuts: Vec<Cut> = cuts
        .filter(|cut| never.refuses(cut).is_none())
        .cloned()
        .collect();
    let until = decision.until;
    if !cuts.is_empty() {
        into.insert(decision.id, Hold { cuts, until });
    }
}

impl Claim {
    /// Both hold: as long as the longer.
    fn join(&mut self, other: &Self) {
        self.until = match (self.until, other.until) {
            (Some(one), Some(other)) => Some(one.max(other)),
            _ => None,
        };
        self.of.extend(&other.of);
    }
}

/// What two sets of habits both allow.
fn both(one: &BTreeSet<Habit>, other: &BTreeSet<Habit>) -> BTreeSet<Habit> {
    let any = |habit: &Habit| Habit {
        peer: None,
        ..*habit
    };
    let agreed = |habit: &Habit| Habit {
        port: Port::agreed(habit.port.transport),
        ..*habit
    };
    let narrow = |from: &BTreeSet<Habit>, by: &BTreeSet<Habit>| -> Vec<Habit> {
        let kept = from.iter().filter(|habit| {
            by.contains(habit)
                || by.contains(&any(habit))
                || (habit.port.port >= AGREED_FROM && by.contains(&agreed(habit)))
        });
        kept.copied().collect()
    };
    let mut habits: BTreeSet<Habit> = narrow(one, other).into_iter().collect();
    habits.extend(narrow(other, one));
    habits
}

/// All addresses of a family.
fn any(of: IpNet) -> IpNet {
    let unspecified = match of {
        IpNet::V4(_) => IpAddr::from([0u8; 4]),
        IpNet::V6(_) => IpAddr::from([0u8; 16]),
    };
    IpNet::new(unspecified, 0).unwrap_or(of)
}
