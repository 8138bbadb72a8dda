//! `ssl.log`, `quic.log` and, through [`super::certificates`], `x509.log`.

use thymus_parsers::zeek::{ZeekField as F, ZeekRow};
use thymus_schema::{Certificate, EventBody, TlsHandshake};

use super::{ZeekCx, text, time};
use crate::logs::Decoded;
use crate::logs::names::{cipher_number, tls_version};

pub(super) fn ssl(row: &ZeekRow<'_>, cx: &mut ZeekCx<'_>) -> Decoded {
    let handshake = TlsHandshake {
        quic: false,
        version: tls_version(&row.text(F::Version)),
        sni: row.text(F::ServerName).to_ascii_lowercase().into(),
        alpn: text(row, F::NextProtocol),
        ja3: text(row, F::Ja3),
        ja4: text(row, F::Ja4),
        cipher: cipher_number(&row.text(F::Cipher)),
        certificate: certificate(row, cx).map(Box::new),
        established: row.bool(F::Established).unwrap_or(false),
        resumed: row.bool(F::Resumed).unwrap_or(false),
    };
    cx.emit(row, EventBody::Tls(Box::new(handshake)))
}

/// The certificate of the server: its own record, else what the handshake's record says of it.
fn certificate(row: &ZeekRow<'_>, cx: &ZeekCx<'_>) -> Option<Certificate> {
    let fingerprints = row.list(F::CertChainFps);
    let files = row.list(F::CertChainFuids);
    let chain_len = fingerprints
        .len()
        .max(files.len())
        .min(usize::from(u8::MAX)) as u8;
    let ts = time(row, F::Ts)?;
    for key in [fingerprints.first(), files.first()].into_iter().flatten() {
        let Ok(mut certificates) = cx.certificates.lock() else {
            break;
        };
        if let Some(found) = certificates.find(key, ts) {
            return Some(Certificate {
                chain_len,
                ..found.clone()
            });
        }
    }
    let (subject, issuer) = (text(row, F::Subject), text(row, F::Issuer));
    if subject.is_empty() && issuer.is_empty() {
        return None;
    }
    let sha256 = fingerprints
        .first()
        .filter(|fingerprint| fingerprint.len() == 64);
    Some(Certificate {
        self_signed: !subject.is_empty() && subject == issuer,
        sha256: sha256
            .map(|fingerprint| (**fingerprint).into())
            .unwrap_or_default(),
        subject,
        issuer,
        chain_len,
        ..Certificate::default()
    })
}

pub(super) fn x509(_row: &ZeekRow<'_>, _cx: &mut ZeekCx<'_>) -> Decoded {
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
