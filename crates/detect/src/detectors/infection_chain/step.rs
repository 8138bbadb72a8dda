//! The steps of an infection that single events show.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::LazyLock;

use rustc_hash::FxHashMap;
use thymus_schema::{HttpTransaction, Timestamp, TlsHandshake};

use crate::cx::DetectCx;
use crate::domains;
use crate::fetch::{self, Place};
use crate::party::Party;
use crate::trail::key_of;

use super::super::tls_oddity::oddities;

/// Kinds of steps. Only the strongest of a kind counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lure,
    Program,
    Lookup,
    CheckIn,
    Odd,
    Raw,
    CallBack,
    Spray,
    Gateway,
    Drop,
}

/// One step, with the place it was taken at.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) kind: Kind,
    pub(super) weight: f64,
    pub(super) what: &'static str,
    pub(super) host: Host,
    pub(super) place: u64,
}

/// Who was called. Few steps come to be told, so addresses become text only then.
#[derive(Clone, Debug)]
pub(super) enum Host {
    Name(Box<str>),
    Address(IpAddr),
    Port(IpAddr, u16),
}

impl From<&str> for Host {
    fn from(name: &str) -> Self {
        Self::Name(name.chars().take(HOST_CHARS_MAX).collect::<String>().into())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(addr) => addr.fmt(f),
            Self::Port(addr, port) => write!(f, "{addr}:{port}"),
        }
    }
}

const HOST_CHARS_MAX: usize = 96;

impl Step {
    pub(super) fn new(
        kind: Kind,
        weight: f64,
        what: &'static str,
        host: impl Into<Host>,
        place: u64,
    ) -> Self {
        Self {
            kind,
            weight,
            what,
            host: host.into(),
            place,
        }
    }
}

/// What a program adds at most: the detector of downloads judges it alone.
const PROGRAM_MAX: f64 = 2.2;
/// The least weight at which a request counts as a call home.
const CHECK_IN_MIN: f64 = 0.9;

/// The step a web request is.
pub(super) fn of_http(http: &HttpTransaction, at: Place<'_>, place: u64) -> Option<Step> {
    if let Some(found) = fetch::program(http, at) {
        let weight = found.weight.min(PROGRAM_MAX);
        return Some(Step::new(Kind::Program, weight, found.what, at.host, place));
    }
    if let Some(found) = fetch::lure(http) {
        return Some(Step::new(
            Kind::Lure,
            found.weight,
            found.what,
            at.host,
            place,
        ));
    }
    let weight = fetch::check_in(http, at).min(1.8);
    (weight >= CHECK_IN_MIN).then(|| {
        Step::new(
            Kind::CheckIn,
            weight,
            "a call home by no browser",
            at.host,
            place,
        )
    })
}

/// The step an encrypted conversation is, when its certificate or its lack of a name is odd.
pub(super) fn of_tls(
    tls: &TlsHandshake,
    port: u16,
    now: Timestamp,
    server: Party,
    cx: &DetectCx<'_>,
) -> Option<Step> {
    let resolved = cx.entities().name_of(server.addr);
    let best = oddities(tls, port, now, resolved.is_some())
        .into_iter()
        .map(|odd| odd.0)
        .fold(0.0, f64::max);
    if best < 1.0 {
        return None;
    }
    let addr = server.addr.to_string();
    let name = if tls.sni.is_empty() {
        resolved.unwrap_or(&addr)
    } else {
        &tls.sni
    };
    let place = key_of(domains::registered(name).unwrap_or(name));
    let what = "an encrypted conversation without proper papers";
    Some(Step::new(Kind::Odd, 0.6 * best, what, name, place))
}

/// Well-known public services that tell the asker's outside address, by host. Malware asks to learn
/// where it is (ATT&CK T1016).
const LOOKUP_HOSTS: [&str; 4] = [
    "checkip.dyndns.org",
    "checkip.dyndns.com",
    "checkip.amazonaws.com",
    "myip.opendns.com",
];

/// As [`LOOKUP_HOSTS`], with everything below a registered domain.
const LOOKUP_DOMAINS: [&str; 24] = [
    "ipify.org",
    "ipinfo.io",
    "ip-api.com",
    "ipapi.co",
    "icanhazip.com",
    "ifconfig.me",
    "ifconfig.co",
    "ident.me",
    "wtfismyip.com",
    "myexternalip.com",
    "whatismyip.com",
    "whatismyipaddress.com",
    "ipecho.net",
    "ip.sb",
    "freegeoip.net",
    "freegeoip.app",
    "geoplugin.net",
    "seeip.org",
    "myip.com",
    "curlmyip.net",
    "trackip.net",
    "db-ip.com",
    "my-ip.io",
    "2ip.ru",
];

/// Public services on which anyone leaves texts or files, and which also answer programs
/// (ATT&CK T1102), by host.
const DROP_HOSTS: [&str; 12] = [
    "api.telegram.org",
    "cdn.discordapp.com",
    "discord.com",
    "pastebin.com",
    "paste.ee",
    "rentry.co",
    "hastebin.com",
    "transfer.sh",
    "raw.githubusercontent.com",
    "gist.githubusercontent.com",
    "anonfiles.com",
    "file.io",
];

/// What the known names stand for, by their digests, and whether everything below them does too.
static KNOWN: LazyLock<FxHashMap<u64, (Kind, bool)>> = LazyLock::new(|| {
    let lookups = LOOKUP_HOSTS.map(|name| (key_of(name), (Kind::Lookup, false)));
    let below = LOOKUP_DOMAINS.map(|name| (key_of(name), (Kind::Lookup, true)));
    let drops = DROP_HOSTS.map(|name| (key_of(name), (Kind::Drop, false)));
    lookups.into_iter().chain(below).chain(drops).collect()
});

/// The kind of step that calling `name` is, whatever is said there; `digest` is that of the name in
/// lower case, `domain` that of its registered part.
pub(super) fn kind_of(name: &str, digest: u64, domain: Option<u64>) -> Option<Kind> {
    let whole = KNOWN.get(&digest).map(|known| known.0);
    let part = || KNOWN.get(&domain?).filter(|known| known.1);
    whole
        .or_else(|| part().map(|known| known.0))
        .or_else(|| is_gateway(name).then_some(Kind::Gateway))
}

/// Whether a name lies below a public gateway to hidden services: a label of 16 or 56 base-32
/// characters before one called `onion` (RFC 7686), or before a gateway's own domain.
fn is_gateway(name: &str) -> bool {
    if name.len() < GATEWAY_MIN {
        return false;
    }
    let is_service = |label: &[u8]| {
        let letter = |byte: &u8| matches!(byte.to_ascii_lowercase(), b'a'..=b'z' | b'2'..=b'7');
        matches!(label.len(), 16 | 56) && label.iter().all(letter)
    };
    let is_gate = |label: &[u8]| {
        label.eq_ignore_ascii_case(b"onion")
            || label
                .windows(GATE.len())
                .any(|part| part.eq_ignore_ascii_case(GATE))
    };
    let mut before: &[u8] = &[];
    name.as_bytes().split(|byte| *byte == b'.').any(|label| {
        let service = std::mem::replace(&mut before, label);
        is_service(service) && is_gate(label)
    })
}

/// What the best-known gateways to hidden services have in their names.
const GATE: &[u8] = b"tor2web";
/// Characters of the shortest name below a gateway: a service, a dot and `onion`.
const GATEWAY_MIN: usize = 16 + 1 + 5;

/// The name in lower case, which most are.
pub(super) fn lower(name: &str) -> Cow<'_, str> {
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        name.to_ascii_lowercase().into()
    } else {
        name.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services_are_told_from_others() {
        let kind = |name: &str| {
            let low = lower(name);
            kind_of(name, key_of(&*low), domains::registered(&low).map(key_of))
        };
        assert_eq!(kind("api.ipify.org"), Some(Kind::Lookup));
        assert_eq!(kind("CheckIP.dyndns.org"), Some(Kind::Lookup));
        assert_eq!(kind("www.dyndns.org"), None);
        assert_eq!(kind("notipify.org"), None);
        assert_eq!(kind("abcdefghijklmnop.onion.example"), Some(Kind::Gateway));
        assert_eq!(kind("www.onion.example"), None);
        assert_eq!(kind("abcdefghijklmnop.example"), None);
        assert_eq!(kind("paste.ee"), Some(Kind::Drop));
        assert_eq!(kind("www.paste.ee"), None, "the host alone");
        assert_eq!(kind("www.example"), None);
    }
}
