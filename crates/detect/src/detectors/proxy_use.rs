//! # Proxies and anonymity networks
//!
//! ## What it flags
//! A device that sends its traffic through somebody else outside: a SOCKS or web proxy, or an
//! anonymity network, which shows as encrypted conversations with several bare addresses under names
//! of random letters that nobody looked up; and a device of ours that serves outsiders as a proxy.
//!
//! ## Why it matters
//! A proxy hides where traffic goes, from you as well. A device that proxies for outsiders is their
//! door to the inside.
//!
//! ## How it scores
//! Requests to an outside proxy have a base score, less when they go to a proxy inside. A device of
//! ours that carries out an outsider's request scores highest. For an anonymity network each further
//! relay counts: the name asked for looks drawn and was never resolved here although this
//! device does resolve names, or the certificate is for another random name. Relays beyond the first
//! add three digits per factor of ten. What goes on for days is worth less.
//!
//! ## Evidence
//! The proxy or the relays, the destinations asked for, the names; the first conversations' events.
//!
//! ## What would have been normal
//! Direct connections, or the company's own proxy.
//!
//! ## Known false alarms
//! Browsers for anonymity used on purpose, privacy products, tunnels of administrators.
//!
//! ## ATT&CK
//! T1090 Proxy, T1090.003 Multi-hop Proxy.
//!
//! ## Sources
//! RFC 1928 (SOCKS 5); Dingledine, Mathewson and Syverson, *Tor: The Second-Generation Onion Router*,
//! USENIX Security 2004.

use thymus_schema::{
    DnsFlavor, Event, EventBody, Outcome, PeerRole, Phase, Service, SnapshotError, SnapshotReader,
    SnapshotWriter, Statement, Technique, TlsHandshake, Value,
};

use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::domains;
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "proxy_use",
    title: "Proxies and anonymity networks",
    phase: Phase::Control,
    techniques: &[Technique::new("T1090"), Technique::new("T1090.003")],
    source: include_str!("proxy_use.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(ProxyUse::default()),
};

const DEVICES_MAX: usize = 8_192;
const HABITS_MAX: usize = 16_384;

#[derive(Debug, Default)]
struct Relays {
    addresses: Distinct,
    /// Relays whose port or certificate says more than a random name.
    confirmed: f64,
}

/// The detector's state.
struct ProxyUse {
    proxied: Table<u64, Hourly<Distinct>>,
    relays: Table<u64, Hourly<Relays>>,
    /// Devices that resolve names where we can see it.
    resolving: Habits,
    habits: Habits,
}

impl Default for ProxyUse {
    fn default() -> Self {
        Self {
            proxied: Table::new(DEVICES_MAX),
            relays: Table::new(DEVICES_MAX),
            resolving: Habits::new(HABITS_MAX),
            habits: Habits::new(HABITS_MAX),
        }
    }
}

/// `www.` and a label of drawn letters below `.com` or `.net`, and nothing else.
fn is_drawn_host(name: &str) -> bool {
    let Some((label, end)) = name
        .strip_prefix("www.")
        .and_then(|rest| rest.split_once('.'))
    else {
        return false;
    };
    let ok = label
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let digits = label.bytes().filter(u8::is_ascii_digit).count();
    let vowels = label.bytes().filter(|b| b"aeiou".contains(b)).count();
    let drawn = digits > 0 || vowels * 4 < label.len();
    matches!(end, "com" | "net")
        && ok
        && (8..=25).contains(&label.len())
        && drawn
        && domains::entropy(label.as_bytes()) > 2.5
}

/// Whether subject and issuer are single drawn names that differ from each other and from the name
/// asked for.
fn is_drawn_certificate(tls: &TlsHandshake) -> bool {
    let name = |text: &str| text.strip_prefix("CN=").map(str::to_owned);
    tls.certificate.as_deref().is_some_and(|certificate| {
        match (name(&certificate.subject), name(&certificate.issuer)) {
            (Some(subject), Some(issuer)) => {
                subject != issuer
                    && subject != *tls.sni
                    && is_drawn_host(&subject)
                    && is_drawn_host(&issuer)
            }
            _ => false,
        }
    })
}

impl Detector for ProxyUse {
    fn interest(&self) -> Interest {
        Interest::DNS
            .and(Interest::OPERATION)
            .and(Interest::HTTP)
            .and(Interest::TLS)
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![
            &mut self.proxied,
            &mut self.relays,
            &mut self.resolving,
            &mut self.habits,
        ]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        match &event.body {
            EventBody::Dns(dns)
                if dns.flavor == DnsFlavor::Dns && !self.resolving.knows(client.key()) =>
            {
                self.resolving.note(client.key(), event.ts);
            }
            EventBody::Operation(op)
                if op.service == Some(Service::Socks) && op.outcome != Outcome::Failure =>
            {
                self.request(event, (client, server), "SOCKS", &op.object, cx);
            }
            EventBody::Http(http) if http.proxied && (200..400).contains(&http.status) => {
                self.request(event, (client, server), "web", &http.host, cx);
            }
            EventBody::Tls(tls) if client.is_local() && !server.is_local() => {
                self.relay(event, tls, client, server, cx);
            }
            _ => {}
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.resolving.snapshot(out);
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.resolving = Habits::restore(HABITS_MAX, from)?;
        self.habits = Habits::restore(HABITS_MAX, from)?;
        Ok(())
    }
}

impl ProxyUse {
    /// A request that a proxy carried out.
    fn request(
        &mut self,
        event: &Event,
        (client, server): (Party, Party),
        kind: &'static str,
        destination: &str,
        cx: &mut DetectCx<'_>,
    ) {
        let base = match (client.is_local(), server.is_local(), kind) {
            (false, true, _) => 4.2,
            (true, false, "SOCKS") => 3.2,
            (true, false, _) => 2.6,
            // A company's own web proxy is everybody's; a SOCKS server inside is somebody's tunnel.
            (true, true, "SOCKS") => 1.4,
            _ => return,
        };
        let key = key_of((client.key(), server.key(), kind));
        let days = self.habits.note(key, event.ts);
        let proxied = self.proxied.entry(key, Hourly::default);
        proxied.turn(event.ts);
        proxied.push(event);
        proxied.it.add(key_of(destination));
        proxied.names.add(destination);
        let places = proxied.it.len() as f64;
        let score = base + 0.5 * places.log10() - Habits::relief(days);
        if score <= 0.0 || !cx.matters(score) || !proxied.window.rises(score) {
            return;
        }
        let serves = !client.is_local();
        let (entity, other) = if serves {
            (server, client)
        } else {
            (client, server)
        };
        let peer = cx.entities().peer(PeerRole::Controller, other);
        let template = if serves {
            "carried out {count} {kind} proxy requests of the outsider {proxy} to {places} places ({names}) in {span}"
        } else {
            "sent {count} requests through the {kind} proxy {proxy} to {places} places ({names}) in {span}"
        };
        let statement = Statement::new(
            template,
            vec![
                proxied.count("count", proxied.trail.total() as f64),
                proxied.trail.fact("kind", Value::Name(kind.into())),
                proxied
                    .trail
                    .fact("proxy", Value::Entity(peer.entity.clone())),
                proxied.count("places", places),
                proxied.named("names"),
                proxied.span(),
            ],
        );
        let normal = Statement::new(
            "Devices reach outside places directly or through the site's own proxy, and serve no outsiders.",
            Vec::new(),
        );
        let mut finding = proxied.trail.finding(entity, key, score, statement, normal);
        finding.peers.push(peer);
        finding.techniques = vec![Technique::new("T1090")];
        cx.raise(finding);
    }

    /// A handshake that may be with a relay of an anonymity network.
    fn relay(
        &mut self,
        event: &Event,
        tls: &TlsHandshake,
        client: Party,
        server: Party,
        cx: &mut DetectCx<'_>,
    ) {
        let certified = is_drawn_certificate(tls);
        let unresolved = cx.entities().name_of(server.addr).is_none();
        let drawn = is_drawn_host(&tls.sni) && unresolved;
        if !certified && !drawn {
            return;
        }
        let resolves = self.resolving.knows(client.key());
        let port = event.conn.as_ref().map_or(0, |conn| conn.server.port);
        let days = self.habits.note(client.key(), event.ts);
        let relays = self.relays.entry(client.key(), Hourly::default);
        relays.turn(event.ts);
        relays.push(event);
        relays.days = days;
        relays.names.add(&tls.sni);
        if relays.it.addresses.add(server.key()) && (certified || (9001..=9100).contains(&port)) {
            relays.it.confirmed += 1.0;
        }
        let count = relays.it.addresses.len() as f64;
        let mut score = if resolves { 1.2 } else { 0.5 };
        score += tails::pareto(count, 1.0, 3.0) + (0.8 * relays.it.confirmed).min(count);
        score = (score - Habits::relief(days)).max(0.0);
        if !cx.matters(score) || !relays.window.rises(score) {
            return;
        }
        let statement = Statement::new(
            "opened encrypted conversations with {count} bare addresses under random names nobody looked up ({names}) in {span}",
            vec![
                relays.count("count", count),
                relays.named("names"),
                relays.span(),
            ],
        );
        let normal = Statement::new(
            "A device looks up the names it asks for, and they are words.",
            Vec::new(),
        );
        let mut finding = relays.trail.finding(client, 0, score, statement, normal);
        finding
            .peers
            .push(cx.entities().peer(PeerRole::Relay, server));
        finding.techniques = vec![Technique::new("T1090.003")];
        cx.raise(finding);
    }
}
