//! What the network usually does, summed up so that a rehearsal takes milliseconds: for each client, server and
//! service how many conversations on each of the last days. From the same numbers comes what a device may go on
//! doing when its pattern of life is enforced.

mod life;
mod rehearsal;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Bound;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thymus_schema::{Event, EventBody, LocalNetworks, Timestamp, Transport};

use crate::cut::{AGREED_FROM, Cut, Habit, Port, Talk};

pub use life::LifeTest;
pub use rehearsal::Rehearsal;

/// Days looked back at.
const DAYS: usize = 7;
const DAY_NANOS: i64 = 86_400 * 1_000_000_000;
/// Patterns kept; a flood of made-up addresses folds the oldest that were seen once.
const PATTERNS_MAX: usize = 200_000;
/// Patterns looked at for one that can go, when there is no room.
const SWEEP: usize = 512;
/// Patterns that a rehearsal names.
const NAMED_MAX: usize = 20;
/// A service that a device uses or gives with more peers than this is open to any peer: who talks with so many
/// will talk with a new one tomorrow.
const PEERS_MAX: usize = 48;
/// Habits of one device; what is more is folded to any peer.
const HABITS_MAX: usize = 4_096;
/// So many ports of one peer, each used so often at most, are agreed on anew each time.
const AGREED_PORTS: usize = 3;
const AGREED_TIMES: u64 = 2;
/// Clients and services noted with what was tried, for how long, and servers of each.
const TRIED_MAX: usize = 20_000;
const TRIED_FOR: Duration = Duration::from_hours(1);
const TRIED_SERVERS_MAX: usize = 64;
/// Share of local clients that makes a server one that the network depends on, and how many at least.
const SHARED_BY: f64 = 0.2;
const SHARED_MIN: usize = 3;

/// A kind of conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pattern {
    /// When it was first seen.
    pub first_seen: Timestamp,
    /// When it was last seen.
    pub last_seen: Timestamp,
    /// Conversations by day, the day modulo eight: seven days and the one that goes on.
    counts: [u32; DAYS + 1],
}

impl Pattern {
    fn seen(&mut self, ts: Timestamp) {
        let (day, last) = (day_of(ts), day_of(self.last_seen));
        // Days that passed unseen are empty.
        for gone in (last + 1..=day).take(DAYS + 1) {
            self.set(gone, |_| 0);
        }
        if day >= last - DAYS as i64 {
            self.set(day, |count| count.saturating_add(1));
        }
        self.first_seen = self.first_seen.min(ts);
        self.last_seen = self.last_seen.max(ts);
    }

    fn set(&mut self, day: i64, to: impl Fn(u32) -> u32) {
        if let Some(count) = self.counts.get_mut(index(day)) {
            *count = to(*count);
        }
    }

    /// Conversations on the seven days before, and on, the day of `now`.
    pub fn recent(&self, now: Timestamp) -> u64 {
        let (today, last) = (day_of(now), day_of(self.last_seen));
        (0..=DAYS as i64)
            .filter(|back| (last - DAYS as i64..=last).contains(&(today - back)))
            .filter_map(|back| self.counts.get(index(today - back)))
            .map(|count| u64::from(*count))
            .sum()
    }
}

fn day_of(ts: Timestamp) -> i64 {
    ts.as_nanos().div_euclid(DAY_NANOS)
}

fn index(day: i64) -> usize {
    day.rem_euclid(DAYS as i64 + 1).unsigned_abs() as usize
}

/// What a client tried of late, also where nothing came of it.
#[derive(Clone, Debug, Default)]
struct Tried {
    servers: BTreeSet<IpAddr>,
    first: Timestamp,
    last: Timestamp,
}

/// The aggregates.
#[derive(Clone, Debug, Default)]
pub struct FlowBook {
    patterns: BTreeMap<Talk, Pattern>,
    /// By client and service; not kept over a restart.
    tried: BTreeMap<(IpAddr, Port), Tried>,
    /// Conversations that found no place.
    unknown: u64,
    first: Option<Timestamp>,
    now: Timestamp,
    /// Where the search for room goes on.
    hand: Option<Talk>,
}

impl FlowBook {
    /// Takes note of the conversations among `events`.
    pub fn events(&mut self, events: &[Event]) {
        for event in events {
            if let (EventBody::Flow(flow), Some(conn)) = (&event.body, &event.conn)
                && flow.part == 0
                && let Some(talk) = Talk::of(conn)
            {
                self.note_tried(&talk, event.ts);
                // What came to nothing is nobody's habit; of UDP only that nobody answers is known.
                if !flow.state.is_failed() || talk.transport == Transport::Udp {
                    self.seen(talk, event.ts);
                }
            }
        }
    }

    /// Takes note of an attempt, whatever came of it.
    pub fn note_tried(&mut self, talk: &Talk, ts: Timestamp) {
        let port = Port {
            transport: talk.transport,
            port: talk.port,
        };
        let key = (talk.client, port);
        if self.tried.len() >= TRIED_MAX && !self.tried.contains_key(&key) {
            let stale = self.now.minus(TRIED_FOR);
            self.tried.retain(|_, tried| tried.last >= stale);
            if self.tried.len() >= TRIED_MAX {
                self.tried.clear();
            }
        }
        let tried = self.tried.entry(key).or_default();
        if tried.servers.is_empty() || ts.since(tried.last) > TRIED_FOR {
            tried.servers.clear();
            tried.first = ts;
        }
        tried.last = tried.last.max(ts);
        if tried.servers.len() < TRIED_SERVERS_MAX {
            tried.servers.insert(talk.server);
        }
    }

    /// Services that a client tried since then on at least so many local devices that it did not use them of
    /// before.
    pub fn tried_on(
        &self,
        client: IpAddr,
        since: Timestamp,
        local: &LocalNetworks,
        least: usize,
    ) -> BTreeSet<Port> {
        let least_port = Port {
            transport: Transport::Tcp,
            port: 0,
        };
        let of_client = self.tried.range((client, least_port)..);
        of_client
            .take_while(|((of, _), _)| *of == client)
            .filter(|(_, tried)| tried.last >= since)
            .filter(|((_, port), tried)| {
                let is_new = |server: &&IpAddr| {
                    let talk = Talk {
                        client,
                        server: **server,
                        transport: port.transport,
                        port: port.port,
                    };
                    let known = self.patterns.get(&talk);
                    local.contains(**server) && known.is_none_or(|known| known.first_seen >= since)
                };
                tried.servers.iter().filter(is_new).count() >= least
            })
            .map(|((_, port), _)| *port)
            .collect()
    }

    /// Kinds of conversation that are new between one and another, or a network, since then, whoever began.
    pub fn new_between(&self, one: IpAddr, other: IpNet, since: Timestamp) -> BTreeSet<Talk> {
        self.between(one, other, |pattern| pattern.first_seen >= since)
    }

    /// Kinds of conversation between them since then, whoever began.
    pub fn used_between(&self, one: IpAddr, other: IpNet, since: Timestamp) -> BTreeSet<Talk> {
        self.between(one, other, |pattern| pattern.last_seen >= since)
    }

    fn between(&self, one: IpAddr, other: IpNet, is: impl Fn(&Pattern) -> bool) -> BTreeSet<Talk> {
        let from = |client, server| Talk {
            client,
            server,
            transport: Transport::Tcp,
            port: 0,
        };
        let begun = self.patterns.range(from(one, other.network())..);
        let begun = begun
            .take_while(|(talk, _)| talk.client == one && talk.server <= other.broadcast())
            .filter(|(talk, _)| other.contains(&talk.server));
        let taken = self.patterns.range(from(other.network(), one)..);
        let taken = taken
            .take_while(|(talk, _)| talk.client <= other.broadcast())
            .filter(|(talk, _)| other.contains(&talk.client) && talk.server == one);
        let between = begun.chain(taken).filter(|(_, pattern)| is(pattern));
        between.map(|(talk, _)| *talk).collect()
    }

    /// When one of these addresses was first seen.
    pub fn known_since(&self, addrs: &[IpAddr]) -> Option<Timestamp> {
        let of_them = self
            .patterns
            .iter()
            .filter(|(talk, _)| addrs.contains(&talk.client) || addrs.contains(&talk.server));
        of_them.map(|(_, pattern)| pattern.first_seen).min()
    }

    /// Takes note of one conversation.
    pub fn seen(&mut self, talk: Talk, ts: Timestamp) {
        self.first.get_or_insert(ts);
        self.now = self.now.max(ts);
        let is_new = !self.patterns.contains_key(&talk);
        if is_new && self.patterns.len() >= PATTERNS_MAX && !self.make_room() {
            self.unknown += 1;
            return;
        }
        let fresh = Pattern {
            first_seen: ts,
            last_seen: ts,
            ..Pattern::default()
        };
        self.patterns.entry(talk).or_insert(fresh).seen(ts);
    }

    /// Removes a pattern that is out of date, or else one that was seen once; whether there was any near.
    fn make_room(&mut self) -> bool {
        let from = self.hand.take().map_or(Bound::Unbounded, Bound::Excluded);
        let mut rare = None;
        let mut last = None;
        for (talk, pattern) in self.patterns.range((from, Bound::Unbounded)).take(SWEEP) {
            last = Some(*talk);
            match pattern.recent(self.now) {
                0 => {
                    rare = Some((*talk, 0));
                    break;
                }
                1 => rare = rare.or(Some((*talk, 1))),
                _ => {}
            }
        }
        self.hand = last;
        let Some((talk, count)) = rare else {
            return false;
        };
        self.unknown += count;
        self.patterns.remove(&talk);
        true
    }

    /// When a conversation was seen last.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Patterns that are known.
    pub fn len(&self) -> usize {
        self.patterns.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// All patterns, for keeping.
    pub fn patterns(&self) -> impl Iterator<Item = (&Talk, &Pattern)> {
        self.patterns.iter()
    }

    /// From what was kept.
    pub fn from_patterns(patterns: impl IntoIterator<Item = (Talk, Pattern)>) -> Self {
        let patterns: BTreeMap<_, _> = patterns.into_iter().take(PATTERNS_MAX).collect();
        Self {
            first: patterns.values().map(|one| one.first_seen).min(),
            now: patterns
                .values()
                .map(|one| one.last_seen)
                .max()
                .unwrap_or_default(),
            patterns,
            tried: BTreeMap::new(),
            unknown: 0,
            hand: None,
        }
    }

    /// What these cuts would have done to what was usual before `before`, the beginning of the incident.
    pub fn rehearse(&self, cuts: &[Cut], before: Timestamp, local: &LocalNetworks) -> Rehearsal {
        let mut rehearsal = Rehearsal {
            unknown: self.unknown,
            days: self.days(),
            ..Rehearsal::default()
        };
        let whose = cuts.iter().filter_map(|cut| match cut {
            Cut::Pattern { client, .. } if local.contains(client.addr()) => Some(*client),
            Cut::Pattern { server, .. } => Some(*server),
            Cut::Address { of, .. } | Cut::AllBut { of, .. } => Some(*of),
            Cut::Process { .. } | Cut::File { .. } => None,
        });
        let whose: BTreeSet<IpNet> = whose.collect();
        let is_subject = |addr: &IpAddr| whose.iter().any(|of| of.contains(addr));
        let (mut all, mut touched) = (BTreeSet::new(), BTreeSet::new());
        let mut cut_patterns = Vec::new();
        for (talk, pattern) in &self.patterns {
            if pattern.first_seen >= before {
                continue;
            }
            let flows = pattern.recent(self.now);
            if flows == 0 {
                continue;
            }
            let sides = [talk.client, talk.server];
            all.extend(sides.into_iter().filter(|side| local.contains(*side)));
            rehearsal.flows_all += flows;
            if sides.iter().any(is_subject) {
                rehearsal.flows += flows;
            }
            if cuts.iter().any(|cut| cut.cuts(talk)) {
                rehearsal.cut += flows;
                touched.extend(sides.into_iter().filter(|side| local.contains(*side)));
                cut_patterns.push((*talk, flows));
            }
        }
        rehearsal.devices = touched.len() as u64;
        rehearsal.devices_all = all.len() as u64;
        cut_patterns.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        let all_but = cuts.iter().filter_map(|cut| match cut {
            Cut::AllBut { of, .. } => Some(of.addr()),
            _ => None,
        });
        let all_but: Vec<IpAddr> = all_but.collect();
        if !all_but.is_empty() {
            let life = self.life_test(&all_but, before);
            cut_patterns.extend(life.named.iter().copied());
            rehearsal.life = (life.days > 0).then_some(life);
        }
        cut_patterns.truncate(NAMED_MAX);
        rehearsal.named = cut_patterns;
        rehearsal
    }

    fn days(&self) -> u32 {
        let first = self.first.unwrap_or(self.now);
        let days = (self.now.as_nanos() - first.as_nanos()).max(0) / DAY_NANOS + 1;
        days.min(DAYS as i64) as u32
    }

    /// What the devices at these addresses usually did before `before`: with whom, by what, and who began.
    pub fn habits(&self, addrs: &[IpAddr], before: Timestamp) -> Vec<Habit> {
        let usual = self
            .patterns
            .iter()
            .filter(|(_, pattern)| pattern.first_seen < before)
            .map(|(talk, pattern)| (*talk, pattern.recent(self.now)));
        habits(usual, addrs)
    }

    /// Servers that so many local clients ask for names, addresses, time or tickets that the network depends on
    /// them, with the service.
    pub fn relied_on(&self, local: &LocalNetworks) -> Vec<(IpAddr, Port)> {
        const SERVICES: &[(Transport, u16)] = &[
            (Transport::Udp, 53),
            (Transport::Tcp, 53),
            (Transport::Udp, 67),
            (Transport::Udp, 123),
            (Transport::Tcp, 88),
            (Transport::Udp, 88),
        ];
        let mut clients: BTreeMap<(IpAddr, Port), BTreeSet<IpAddr>> = BTreeMap::new();
        let mut everybody = BTreeSet::new();
        for talk in self.patterns.keys() {
            if !local.contains(talk.client) {
                continue;
            }
            everybody.insert(talk.client);
            if SERVICES.contains(&(talk.transport, talk.port)) {
                let port = Port {
                    transport: talk.transport,
                    port: talk.port,
                };
                let of = clients.entry((talk.server, port)).or_default();
                of.insert(talk.client);
            }
        }
        let wanted = SHARED_MIN.max((everybody.len() as f64 * SHARED_BY).ceil() as usize);
        clients
            .into_iter()
            .filter(|(_, of)| of.len() >= wanted)
            .map(|(server, _)| server)
            .collect()
    }

    /// How long conversations have been noted.
    pub fn span(&self) -> Duration {
        let first = self.first.unwrap_or(self.now);
        self.now.since(first)
    }
}

/// What the devices at these addresses may go on doing when `usual` is what they have done, and how often. A service
/// with very many peers is open to any. Where two used several ports once or twice each, they agree on them anew each
/// time (the data of FTP, remote procedures), and may go on to.
fn habits(usual: impl Iterator<Item = (Talk, u64)>, addrs: &[IpAddr]) -> Vec<Habit> {
    let mut by_service: BTreeMap<(bool, Port), BTreeSet<IpAddr>> = BTreeMap::new();
    let mut rare: BTreeMap<(bool, IpAddr, Transport), Vec<u16>> = BTreeMap::new();
    for (talk, count) in usual.filter(|(_, count)| *count > 0) {
        let port = Port {
            transport: talk.transport,
            port: talk.port,
        };
        let ends = [
            (true, talk.client, talk.server),
            (false, talk.server, talk.client),
        ];
        for (is_client, _, peer) in ends.into_iter().filter(|(_, own, _)| addrs.contains(own)) {
            if count <= AGREED_TIMES && talk.port >= AGREED_FROM {
                let ports = rare.entry((is_client, peer, talk.transport)).or_default();
                ports.push(talk.port);
            } else {
                by_service
                    .entry((is_client, port))
                    .or_default()
                    .insert(peer);
            }
        }
    }
    let mut habits = Vec::new();
    for ((is_client, peer, transport), ports) in rare {
        if ports.len() >= AGREED_PORTS && habits.len() < HABITS_MAX {
            let port = Port::agreed(transport);
            let peer = Some(peer);
            habits.push(Habit {
                is_client,
                peer,
                port,
            });
        } else {
            for port in ports {
                let port = Port { transport, port };
                by_service
                    .entry((is_client, port))
                    .or_default()
                    .insert(peer);
            }
        }
    }
    for ((is_client, port), peers) in by_service {
        if peers.len() > PEERS_MAX || habits.len() + peers.len() > HABITS_MAX {
            habits.push(Habit {
                is_client,
                peer: None,
                port,
            });
        } else {
            habits.extend(peers.into_iter().map(|peer| Habit {
                is_client,
                peer: Some(peer),
                port,
            }));
        }
    }
    habits
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::cut::{Side, host};

    pub(super) fn at(day: i64, hour: i64) -> Timestamp {
        Timestamp::from_secs(1_767_571_200 + day * 86_400 + hour * 3_600)
    }

    pub(super) fn talk(client: &str, server: &str, port: u16) -> Talk {
        Talk {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
            transport: Transport::Tcp,
            port,
        }
    }

    /// Ten days of one client that uses two servers each hour, and a third one on the last day only.
    fn book() -> FlowBook {
        let mut book = FlowBook::default();
        for hour in 0..240 {
            book.seen(talk("10.0.0.5", "10.0.0.9", 443), at(0, hour));
            book.seen(talk("10.0.0.5", "198.51.100.7", 443), at(0, hour));
            book.seen(talk("10.0.0.6", "10.0.0.9", 443), at(0, hour));
        }
        book.seen(talk("10.0.0.5", "203.0.113.9", 8443), at(9, 20));
        book
    }

    #[test]
    fn a_rehearsal_counts_what_was_usual_before_the_incident_began() {
        let (book, local) = (book(), LocalNetworks::default());
        let cut = |of: &str| Cut::Address {
            of: host(of.parse().unwrap()),
            side: Side::Both,
        };
        // The ten days end in their last hour: eight days of that are looked at.
        let whole = book.rehearse(&[cut("10.0.0.5")], at(9, 19), &local);
        assert_eq!((whole.flows, whole.cut, whole.flows_all), (384, 384, 576));
        assert_eq!((whole.devices, whole.devices_all, whole.days), (2, 3, 7));
        let new = book.rehearse(&[cut("203.0.113.9")], at(9, 19), &local);
        assert_eq!(new.cut, 0, "it is not usual");
        let old = book.rehearse(&[cut("203.0.113.9")], at(9, 21), &local);
        assert_eq!(old.cut, 1, "it is by then");
        let far = book.rehearse(&[cut("198.51.100.7")], at(9, 19), &local);
        assert_eq!((far.cut, far.named.len()), (192, 1));
        assert!(far.sentence().contains("192 of"), "{}", far.sentence());
    }

    #[test]
    fn days_that_passed_unseen_are_empty() {
        let mut book = FlowBook::default();
        let one = talk("10.0.0.5", "10.0.0.9", 443);
        book.seen(one, at(0, 1));
        book.seen(one, at(5, 1));
        let seen = |book: &FlowBook, now| {
            let (_, pattern) = book.patterns().next().unwrap();
            pattern.recent(now)
        };
        assert_eq!(seen(&book, at(5, 2)), 2);
        assert_eq!(seen(&book, at(8, 2)), 1, "the first is out of sight");
        assert_eq!(seen(&book, at(40, 2)), 0);
        book.seen(one, at(40, 1));
        assert_eq!(seen(&book, at(40, 2)), 1);
        // One that comes late counts on its day, and one that comes far too late not at all.
        book.seen(one, at(38, 1));
        book.seen(one, at(2, 1));
        assert_eq!(seen(&book, at(40, 2)), 2);
    }

    #[test]
    fn habits_are_what_was_done_before_and_open_where_there_are_too_many_peers() {
        let mut book = book();
        for number in 0..60u8 {
            book.seen(talk(&format!("10.0.1.{number}"), "10.0.0.9", 443), at(9, 1));
        }
        let addr = |text: &str| -> IpAddr { text.parse().unwrap() };
        let client = book.habits(&[addr("10.0.0.5")], at(9, 19));
        let peers: Vec<_> = client.iter().filter_map(|habit| habit.peer).collect();
        assert_eq!(peers, [addr("10.0.0.9"), addr("198.51.100.7")]);
        let server = book.habits(&[addr("10.0.0.9")], at(9, 19));
        let open = Habit {
            is_client: false,
            peer: None,
            port: Port {
                transport: Transport::Tcp,
                port: 443,
            },
        };
        assert_eq!(server, [open]);
    }

    #[test]
    fn ports_that_two_agree_on_anew_each_time_are_one_habit() {
        let mut book = FlowBook::default();
        for hour in 0..9 {
            book.seen(talk("10.0.0.5", "10.0.0.9", 21), at(0, hour));
            book.seen(talk("10.0.0.5", "10.0.0.9", 8080), at(0, hour));
            book.seen(
                talk("10.0.0.5", "10.0.0.9", 30_000 + hour as u16),
                at(0, hour),
            );
        }
        book.seen(talk("10.0.0.6", "10.0.0.9", 30_000), at(0, 1));
        let of = |device: &str| book.habits(&[device.parse().unwrap()], at(9, 0));
        let ports = |habits: &[Habit]| habits.iter().map(|one| one.port.port).collect::<Vec<_>>();
        let habits = of("10.0.0.5");
        assert_eq!(ports(&habits), [0, 21, 8080]);
        let cut = Cut::AllBut {
            of: host("10.0.0.5".parse().unwrap()),
            habits,
        };
        assert!(!cut.cuts(&talk("10.0.0.5", "10.0.0.9", 40_000)));
        assert!(
            cut.cuts(&talk("10.0.0.5", "10.0.0.9", 445)),
            "not below 1024"
        );
        assert!(
            cut.cuts(&talk("10.0.0.5", "10.0.0.8", 40_000)),
            "with nobody else"
        );
        assert!(
            cut.cuts(&talk("10.0.0.9", "10.0.0.5", 40_000)),
            "nor the other way"
        );
        assert_eq!(ports(&of("10.0.0.6")), [30_000], "once is no rule");
    }

    #[test]
    fn what_is_tried_on_many_is_known_though_nothing_came_of_it() {
        let (mut book, local) = (book(), LocalNetworks::default());
        let client: IpAddr = "10.0.0.5".parse().unwrap();
        for number in 1..9u8 {
            book.note_tried(
                &talk("10.0.0.5", &format!("10.0.2.{number}"), 445),
                at(9, 20),
            );
        }
        book.note_tried(&talk("10.0.0.5", "10.0.2.1", 22), at(9, 20));
        let tried = book.tried_on(client, at(9, 19), &local, 3);
        let ports: Vec<u16> = tried.iter().map(|port| port.port).collect();
        assert_eq!(ports, [445]);
        assert!(book.tried_on(client, at(9, 21), &local, 3).is_empty());
    }

    #[test]
    fn servers_that_many_ask_for_names_are_relied_on() {
        let mut book = book();
        let dns = |client: u8| Talk {
            transport: Transport::Udp,
            ..talk(&format!("10.0.0.{client}"), "10.0.0.53", 53)
        };
        book.seen(dns(1), at(9, 1));
        book.seen(dns(2), at(9, 1));
        assert!(book.relied_on(&LocalNetworks::default()).is_empty());
        book.seen(dns(3), at(9, 1));
        let relied_on = book.relied_on(&LocalNetworks::default());
        assert_eq!(relied_on.len(), 1);
        assert_eq!(relied_on[0].1.to_string(), "udp/53");
    }

    #[test]
    fn a_flood_of_made_up_addresses_stays_bounded_and_leaves_what_is_usual() {
        let mut book = book();
        for number in 0..(PATTERNS_MAX as u32 + 5_000) {
            let client = IpAddr::from((0x0b00_0000 + number).to_be_bytes());
            let made_up = Talk {
                client,
                ..talk("10.0.0.5", "10.0.0.9", 80)
            };
            book.seen(made_up, at(9, 23));
        }
        assert!(book.len() <= PATTERNS_MAX);
        let known = book
            .patterns()
            .filter(|(_, pattern)| pattern.recent(at(9, 23)) > 100)
            .count();
        assert_eq!(known, 3);
        let whole = book.rehearse(&[], at(9, 23), &LocalNetworks::default());
        assert!(whole.unknown > 4_000, "{}", whole.unknown);
    }
}
