//! The steps of an infection that single events show.

use std::borrow::Cow;

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
    pub(super) host: Box<str>,
    pub(super) place: u64,
}

impl Step {
    pub(super) fn new(kind: Kind, weight: f64, what: &'static str, host: &str, place: u64) -> Self {
        Self {
            kind,
            weight,
            what,
            host: host.chars().take(96).collect::<String>().into(),
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

/// Whether a name belongs to a well-known public service that tells the asker's outside address.
/// Malware asks to learn where it is (ATT&CK T1016).
pub(super) fn is_lookup(name: &str) -> bool {
    const HOSTS: [&str; 4] = [
        "checkip.dyndns.org",
        "checkip.dyndns.com",
        "checkip.amazonaws.com",
        "myip.opendns.com",
    ];
    const DOMAINS: [&str; 24] = [
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
    let name = lower(name);
    HOSTS.contains(&&*name)
        || domains::registered(&name).is_some_and(|domain| DOMAINS.contains(&domain))
}

/// Whether a name lies below a public gateway to hidden services: a label of 16 or 56 base-32
/// characters before one called `onion` (RFC 7686), or before a gateway's own domain.
pub(super) fn is_gateway(name: &str) -> bool {
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

/// Whether a name belongs to a public service on which anyone leaves texts or files, and which also
/// answers programs (ATT&CK T1102).
pub(super) fn is_public_drop(name: &str) -> bool {
    const HOSTS: [&str; 12] = [
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
    HOSTS.contains(&&*lower(name))
}

/// The name in lower case, which most are.
fn lower(name: &str) -> Cow<'_, str> {
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
        assert!(is_lookup("api.ipify.org") && is_lookup("CheckIP.dyndns.org"));
        assert!(!is_lookup("www.dyndns.org") && !is_lookup("notipify.org"));
        assert!(is_gateway("abcdefghijklmnop.onion.example"));
        assert!(!is_gateway("www.onion.example") && !is_gateway("abcdefghijklmnop.example"));
        assert!(is_public_drop("paste.ee") && !is_public_drop("www.example"));
    }
}
