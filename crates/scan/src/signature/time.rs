//! When a program was signed: a timestamp (RFC 3161) or, as before, a countersignature (PKCS #9) over the
//! signature. Whose clock that was is told, not judged: no list pins it.

use super::chain::{self, Certificate, Purpose};
use super::cms::{self, Digest, Message, Signer};
use super::der::{self, Der, Value};
use super::{Refusal, Timestamp};

const TIMESTAMP: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x03\x03\x01";
const COUNTERSIGNATURE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x06";
const SIGNING_TIME: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x05";
const DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01";
const TST_INFO: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04";

/// Whether an unsigned attribute of this name is a timestamp.
pub(super) fn is_timestamp(oid: &[u8]) -> bool {
    [TIMESTAMP, COUNTERSIGNATURE].contains(&oid)
}

/// What the timestamp of `signer` tells, and which of the certificates beside it that takes.
///
/// # Errors
/// When one is wrong, not merely too weak to be believed: then somebody changed it.
pub(super) fn read(
    signer: &Signer<'_>,
    beside: &[Certificate<'_>],
) -> Result<(Timestamp, Vec<usize>), Refusal> {
    let mut stamps = signer.unsigned.iter().filter(|(oid, _)| is_timestamp(oid));
    let Some((oid, value)) = stamps.next() else {
        return Ok((Timestamp::None, Vec::new()));
    };
    if stamps.next().is_some() {
        return Err(Refusal::UncoveredBytes);
    }
    let told = if *oid == TIMESTAMP {
        token(*value, signer.signature).map(|told| (told, Vec::new()))
    } else {
        countersignature(*value, signer.signature, beside)
    };
    match told {
        Err(why @ (Refusal::WeakDigest | Refusal::UnknownAlgorithm | Refusal::NoCertificate)) => {
            Ok((Timestamp::Unverified(why), weak(oid, *value, beside)))
        }
        told => told,
    }
}

/// A countersignature: by whom, and when.
fn countersignature(
    value: Value<'_>,
    signed: &[u8],
    beside: &[Certificate<'_>],
) -> Result<(Timestamp, Vec<usize>), Refusal> {
    let mut from = Der(value.whole);
    let signer = Signer::read(&mut from).ok_or(Refusal::UncoveredBytes)?;
    let is_bare = signer.unsigned.is_empty();
    (is_bare && from.0.is_empty())
        .then_some(())
        .ok_or(Refusal::UncoveredBytes)?;
    signer.says(DATA, signed)?;
    let time = signer.signed(SIGNING_TIME).and_then(der::seconds);
    let time = time.ok_or(Refusal::WrongTimestamp)?;
    vouched(&signer, beside, time)
}

/// A token: a message of its own.
fn token(value: Value<'_>, signed: &[u8]) -> Result<Timestamp, Refusal> {
    let message = Message::read(value.whole, true).ok_or(Refusal::UncoveredBytes)?;
    let certificates = chain::read(&message.certificates)?;
    let signer = &message.signer;
    if message.content_type != TST_INFO || message.content.tag != der::OCTETS {
        return Err(Refusal::WrongTimestamp);
    }
    if !signer.unsigned.is_empty() {
        return Err(Refusal::UncoveredBytes);
    }
    signer.says(TST_INFO, message.content.body)?;
    let (oid, imprint, time) = info(message.content.body).ok_or(Refusal::WrongTimestamp)?;
    if Digest::named(oid)?.of(&[signed]) != imprint {
        return Err(Refusal::WrongTimestamp);
    }
    vouched(signer, &certificates, time).map(|(told, _)| told)
}

/// Of what a token says, the digest with its algorithm, and when.
fn info(bytes: &[u8]) -> Option<(&[u8], &[u8], i64)> {
    let mut all = Der(bytes);
    let mut info = all.enter(der::SEQUENCE)?;
    all.end()?;
    cms::number(&mut info)?;
    info.take(der::OID)?;
    let mut imprint = info.enter(der::SEQUENCE)?;
    let oid = cms::algorithm(&mut imprint)?;
    let digest = imprint.take(der::OCTETS)?.body;
    imprint.end()?;
    cms::number(&mut info)?;
    let time = info.take(der::GENERALIZED_TIME)?;
    Some((oid, digest, der::seconds(time)?))
}

fn vouched(
    signer: &Signer<'_>,
    certificates: &[Certificate<'_>],
    time: i64,
) -> Result<(Timestamp, Vec<usize>), Refusal> {
    let at = chain::signer(signer, certificates).map_err(|why| match why {
        Refusal::WrongSignature => Refusal::WrongTimestamp,
        other => other,
    })?;
    let certificate = certificates.get(at).ok_or(Refusal::NoCertificate)?;
    let is_valid = certificate.may_sign(Purpose::Time) && certificate.is_valid_at(time);
    is_valid.then_some(()).ok_or(Refusal::WrongTimestamp)?;
    let told = Timestamp::At {
        seconds: time,
        by: certificate.told().subject,
    };
    Ok((told, chain::chain(at, certificates, Purpose::Time)))
}

/// The certificates beside a countersignature that cannot be believed, by their names.
fn weak(oid: &[u8], value: Value<'_>, beside: &[Certificate<'_>]) -> Vec<usize> {
    let signer = Signer::read(&mut Der(value.whole)).filter(|_| oid == COUNTERSIGNATURE);
    let Some(signer) = signer else {
        return Vec::new();
    };
    let (mut names, mut used) = (vec![signer.issuer], Vec::new());
    let first = beside.iter().position(|certificate| {
        certificate.parsed.issuer().as_raw() == signer.issuer
            && certificate.parsed.raw_serial() == signer.serial
    });
    used.extend(first);
    while let Some(name) = names.pop() {
        for (at, certificate) in beside.iter().enumerate() {
            if certificate.parsed.subject().as_raw() == name && !used.contains(&at) {
                used.push(at);
                names.push(certificate.parsed.issuer().as_raw());
            }
        }
    }
    used
}
