//! `ssl.log`, `quic.log` and, through [`super::certificates`], `x509.log`.

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{Certificate, EventBody, TlsHandshake};

use super::{ZeekCx, text, time};
use crate::logs::names::{cipher_number, tls_version};
use crate::logs::{Decoded, Wanted};

pub(super) fn ssl(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let (certificate, wanted) = certificate(row, cx);
    let handshake = TlsHandshake {
        quic: false,
        version: tls_version(&row.text(F::Version)),
        sni: row.text(F::ServerName).to_ascii_lowercase().into(),
        alpn: text(row, F::NextProtocol),
        ja3: text(row, F::Ja3),
        ja4: text(row, F::Ja4),
        cipher: cipher_number(&row.text(F::Cipher)),
        certificate: certificate.map(Box::new),
        established: row.bool(F::Established).unwrap_or(false),
        resumed: row.bool(F::Resumed).unwrap_or(false),
    };
    let decoded = cx.emit(row, EventBody::Tls(Box::new(handshake)));
    if let (Decoded::Used, Some(wanted)) = (decoded, wanted) {
        cx.records.want(wanted);
    }
    decoded
}

/// The certificate of the server: its own record, else what the handshake's record says of it. Of a log
/// that grows, its own record may still come: then what to look for is given too.
fn certificate(row: &ZeekRow<'_>, cx: &ZeekCx<'_>) -> (Option<Certificate>, Option<Wanted>) {
    let fingerprints = row.list(F::CertChainFps);
    let files = row.list(F::CertChainFuids);
    let chain_len = fingerprints
        .len()
        .max(files.len())
        .min(usize::from(u8::MAX)) as u8;
    let Some(ts) = time(row, F::Ts) else {
        return (None, None);
    };
    let mut wanted = None;
    for key in [fingerprints.first(), files.first()].into_iter().flatten() {
        let Ok(mut certificates) = cx.certificates.lock() else {
            break;
        };
        if let Some(found) = certificates.find(key, ts) {
            let found = Certificate {
                chain_len,
                ..found.clone()
            };
            return (Some(found), None);
        }
        if certificates.is_followed() {
            let names = [fingerprints.first(), files.first()];
            let keys = names.into_iter().flatten().map(|name| (**name).into());
            wanted = Some(Wanted {
                keys: keys.collect(),
                chain_len,
            });
        }
    }
    let (subject, issuer) = (text(row, F::Subject), text(row, F::Issuer));
    if subject.is_empty() && issuer.is_empty() {
        return (None, wanted);
    }
    let sha256 = fingerprints
        .first()
        .filter(|fingerprint| fingerprint.len() == 64);
    let told = Certificate {
        self_signed: !subject.is_empty() && subject == issuer,
        sha256: sha256
            .map(|fingerprint| (**fingerprint).into())
            .unwrap_or_default(),
        subject,
        issuer,
        chain_len,
        ..Certificate::default()
    };
    (Some(told), wanted)
}

pub(super) fn x509(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    if let Ok(mut certificates) = cx.certificates.lock() {
        certificates.learn(row);
    }
    if let Some(ts) = time(row, F::Ts) {
        cx.records.reach(ts);
    }
    Decoded::Unused("certificate_joined_with_its_handshake")
}

pub(super) fn quic(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let established = row.raw(F::History).is_some_and(|history| {
        // Upper case is the client; an initial and a handshake of the server mean it answered.
        history.contains(&b's') || history.contains(&b'h')
    });
    let handshake = TlsHandshake {
        quic: true,
        version: 0x0304,
        sni: row.text(F::ServerName).to_ascii_lowercase().into(),
        alpn: text(row, F::ClientProtocol),
        established,
        ..TlsHandshake::default()
    };
    cx.emit(row, EventBody::Tls(Box::new(handshake)))
}
