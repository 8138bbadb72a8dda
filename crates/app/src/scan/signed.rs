//! Who signed a Windows program, as reports show it.

use jiff::Timestamp as Moment;
use serde::Serialize;
use thymus_scan::{Signature, SignerCertificate, Timestamp};

/// A signature in JSON.
#[derive(Serialize)]
pub(crate) struct Shown<'s> {
    state: &'static str,
    reason: Option<&'static str>,
    subject: Option<&'s str>,
    issuer: Option<&'s str>,
    sha256: Option<String>,
    vouching: Vec<Vouching<'s>>,
    timestamp: String,
    timestamp_by: Option<&'s str>,
}

/// A certificate that vouches for the signer's.
#[derive(Serialize)]
struct Vouching<'s> {
    subject: &'s str,
    sha256: String,
}

impl<'s> Shown<'s> {
    /// The signature as it is in JSON.
    pub(crate) fn new(signature: &'s Signature) -> Self {
        let own = signature.chain.first();
        let vouching = signature.chain.iter().skip(1).map(|link| Vouching {
            subject: &link.subject,
            sha256: fingerprint(link),
        });
        Self {
            state: match signature.refused {
                None => "verified",
                Some(_) => "refused",
            },
            reason: signature.refused.map(thymus_scan::Refusal::as_str),
            subject: own.map(|own| &*own.subject),
            issuer: own.map(|own| &*own.issuer),
            sha256: own.map(fingerprint),
            vouching: vouching.collect(),
            timestamp: when(&signature.timestamp),
            timestamp_by: match &signature.timestamp {
                Timestamp::At { by, .. } => Some(by),
                _ => None,
            },
        }
    }
}

/// The words for people, not made legible.
pub(crate) fn told(signature: &Signature) -> String {
    let own = signature.chain.first();
    if let Some(why) = signature.refused {
        let claimed = own.map(|own| format!("; claims to be by {}", own.subject));
        return format!("not signed, because {why}{}", claimed.unwrap_or_default());
    }
    let own = own.map(|own| format!("signed by {} ({})", own.subject, fingerprint(own)));
    let links = signature.chain.iter().skip(1);
    let links =
        links.map(|link| format!(", vouched for by {} ({})", link.subject, fingerprint(link)));
    let links: String = links.collect();
    let by = match &signature.timestamp {
        Timestamp::At { by, .. } => format!(" by {by}"),
        _ => String::new(),
    };
    let own = own.unwrap_or_default();
    format!(
        "{own}{links}; timestamp: {}{by}",
        when(&signature.timestamp)
    )
}

fn fingerprint(certificate: &SignerCertificate) -> String {
    use std::fmt::Write as _;
    certificate
        .sha256
        .iter()
        .fold(String::new(), |mut digits, byte| {
            // Writing into a string cannot fail.
            let _written = write!(digits, "{byte:02x}").is_ok();
            digits
        })
}

fn when(timestamp: &Timestamp) -> String {
    match timestamp {
        Timestamp::None => "none".to_owned(),
        Timestamp::Unverified(why) => format!("not believed, because {why}"),
        Timestamp::At { seconds, .. } => Moment::from_second(*seconds)
            .map_or_else(|_| "none".to_owned(), |moment| moment.to_string()),
    }
}
