//! Who signed a Windows program, and whether that holds ("Windows Authenticode Portable Executable
//! Signature Format", Microsoft, 2008; RFC 5652, 5280, 3161).
//!
//! A signature is verified when the digest of the file's bytes is the one that was signed, the signed
//! attributes say so, and the signature over them verifies under the signer's certificate. Of the
//! certificates in the file, those count that vouch for the signer's by their own signatures. Nothing is
//! trusted for that: a list names whom it trusts. Nothing is asked whether a certificate was revoked.
//!
//! What cannot be verified is refused, with the reason; so are SHA-1, and bytes that the signature would
//! not cover: behind the table of signatures, in its padding, in attributes that nobody signs, in
//! certificates that nobody needs. Every signature in a file must verify, or none does. What remains:
//! certificates, timestamps and what vouches for them are bytes that the signer has not signed.
//!
//! Must not: trust, ask a clock, make a verdict milder.

mod chain;
mod cms;
mod der;
mod pe;
mod time;

use std::fmt;

use serde::{Deserialize, Serialize};

use chain::{Certificate, Purpose};
use cms::{Digest, Message};
use der::Der;

/// Signatures in one file that are looked at.
const SIGNATURES_MAX: usize = 4;
const INDIRECT_DATA: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x04";
const PE_IMAGE: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0f";
const NESTED: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x02\x04\x01";

/// Why a signature does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Refusal {
    /// Its form.
    NotUnderstood,
    /// There is more of it than is looked at.
    TooMuch,
    /// SHA-1 or MD5.
    WeakDigest,
    /// An algorithm or a key of a kind that is not checked.
    UnknownAlgorithm,
    /// Bytes of the file that nobody signed.
    UncoveredBytes,
    /// The file was changed after it was signed.
    DigestDiffers,
    /// The signed attributes are of other content.
    AttributesDiffer,
    /// The signer's certificate is not there.
    NoCertificate,
    /// It does not verify under the signer's certificate.
    WrongSignature,
    /// The certificate is not for signing code.
    WrongPurpose,
    /// The timestamp is not of this signature, or not by who may give it.
    WrongTimestamp,
    /// The timestamp is outside the validity of the certificate.
    OutsideValidity,
    /// Another signature in the file is refused.
    OtherRefused,
}

impl Refusal {
    /// The words for it, behind "because".
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotUnderstood => "the signature is not understood",
            Self::TooMuch => "there is more in the signature than is looked at",
            Self::WeakDigest => "SHA-1 and MD5 prove nothing",
            Self::UnknownAlgorithm => "its algorithm or key is not supported",
            Self::UncoveredBytes => "the signature does not cover all bytes",
            Self::DigestDiffers => "the file was changed after it was signed",
            Self::AttributesDiffer => "what is signed is something else",
            Self::NoCertificate => "the signer's certificate is not in the file",
            Self::WrongSignature => "the signature is wrong",
            Self::WrongPurpose => "the certificate is not for signing programs",
            Self::WrongTimestamp => "its timestamp is wrong",
            Self::OutsideValidity => "it was signed when the certificate was not valid",
            Self::OtherRefused => "another signature in the file is refused",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// When a signature was made, by its timestamp.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timestamp {
    /// Nobody says.
    None,
    /// There is one that proves nothing.
    Unverified(Refusal),
    /// One that verifies, by whomever.
    At {
        /// Seconds since 1970.
        seconds: i64,
        /// Subject of the certificate that it verifies under.
        by: String,
    },
}

/// A certificate that signed or vouches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignerCertificate {
    /// SHA-256 of the certificate in DER, its fingerprint.
    pub sha256: [u8; 32],
    /// Distinguished name.
    pub subject: String,
    /// Distinguished name of who issued it.
    pub issuer: String,
    /// The common name in the subject, where there is one.
    pub common_name: Option<String>,
    /// The organisation in the subject, where there is one.
    pub organisation: Option<String>,
    /// Whether it says that it is for signing code.
    pub names_code_signing: bool,
}

/// A signature of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Why it does not count, where it does not.
    pub refused: Option<Refusal>,
    /// The signer's certificate, then those that vouch for it, the nearest first. Where the signature is
    /// refused, at most the one that is claimed.
    pub chain: Vec<SignerCertificate>,
    /// When it was made.
    pub timestamp: Timestamp,
}

impl Signature {
    /// One that does not count.
    pub(crate) const fn refused(why: Refusal) -> Self {
        Self {
            refused: Some(why),
            chain: Vec::new(),
            timestamp: Timestamp::None,
        }
    }
}

/// The signatures of the program in `bytes`; none where there are none, or no program.
pub(crate) fn signatures(bytes: &[u8]) -> Vec<Signature> {
    let table = match pe::table(bytes) {
        Ok(Some(table)) => table,
        Ok(None) => return Vec::new(),
        Err(why) => return vec![Signature::refused(why)],
    };
    let mut found = Vec::new();
    for entry in &table.entries {
        add(entry, &table.signed, true, &mut found);
    }
    if found.iter().any(|signature| signature.refused.is_some()) {
        for signature in &mut found {
            signature.refused.get_or_insert(Refusal::OtherRefused);
            signature.chain.truncate(1);
        }
    }
    found
}

/// Adds the signature in `entry` and those nested in it.
fn add(entry: &[u8], signed: &[&[u8]], may_nest: bool, found: &mut Vec<Signature>) {
    if found.len() >= SIGNATURES_MAX {
        if let Some(last) = found.last_mut() {
            last.refused = Some(Refusal::TooMuch);
            last.chain.truncate(1);
        }
        return;
    }
    let read = Message::read(entry, false).ok_or(Refusal::NotUnderstood);
    let read = read.and_then(|message| Ok((chain::read(&message.certificates)?, message)));
    let (certificates, message) = match read {
        Ok(read) => read,
        Err(why) => return found.push(Signature::refused(why)),
    };
    found.push(
        check(&message, &certificates, signed, may_nest).unwrap_or_else(|why| {
            let claimed = certificates.iter().find(|certificate| {
                certificate.parsed.raw_serial() == message.signer.serial
                    && certificate.parsed.issuer().as_raw() == message.signer.issuer
            });
            Signature {
                chain: claimed.map(Certificate::told).into_iter().collect(),
                ..Signature::refused(why)
            }
        }),
    );
    let nested = message.signer.unsigned.iter();
    for (_, value) in nested.filter(|(oid, _)| *oid == NESTED && may_nest) {
        add(value.whole, signed, false, found);
    }
}

fn check(
    message: &Message<'_>,
    certificates: &[Certificate<'_>],
    signed: &[&[u8]],
    may_nest: bool,
) -> Result<Signature, Refusal> {
    let signer = &message.signer;
    for (oid, _) in &signer.unsigned {
        let is_nested = *oid == NESTED && may_nest;
        if !is_nested && !time::is_timestamp(oid) {
            return Err(Refusal::UncoveredBytes);
        }
    }
    if message.content_type != INDIRECT_DATA || message.content.tag != der::SEQUENCE {
        return Err(Refusal::NotUnderstood);
    }
    let (digest, expected) = indirect(message.content.body).ok_or(Refusal::NotUnderstood)?;
    if Digest::named(digest)?.of(signed) != expected {
        return Err(Refusal::DigestDiffers);
    }
    signer.says(INDIRECT_DATA, message.content.body)?;
    let leaf = chain::signer(signer, certificates)?;
    let own = certificates.get(leaf).ok_or(Refusal::NoCertificate)?;
    if !own.may_sign(Purpose::Code) {
        return Err(Refusal::WrongPurpose);
    }
    let (timestamp, vouching) = time::read(signer, certificates)?;
    if let Timestamp::At { seconds, .. } = timestamp
        && !own.is_valid_at(seconds)
    {
        return Err(Refusal::OutsideValidity);
    }
    let chain = chain::chain(leaf, certificates, Purpose::Code);
    let mut numbers = 0..certificates.len();
    if numbers.any(|at| !chain.contains(&at) && !vouching.contains(&at)) {
        return Err(Refusal::UncoveredBytes);
    }
    let told = chain.iter().filter_map(|at| certificates.get(*at));
    Ok(Signature {
        refused: None,
        chain: told.map(Certificate::told).collect(),
        timestamp,
    })
}

/// Of what is signed, the digest of the program with its algorithm.
fn indirect(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut content = Der(content);
    let mut data = content.enter(der::SEQUENCE)?;
    if data.take(der::OID)?.body != PE_IMAGE {
        return None;
    }
    let mut info = content.enter(der::SEQUENCE)?;
    content.end()?;
    let oid = cms::algorithm(&mut info)?;
    let digest = info.take(der::OCTETS)?.body;
    info.end()?;
    Some((oid, digest))
}

/// For the mutation loop and the fuzzer.
pub(crate) fn fuzz(bytes: &[u8]) {
    let mut found = signatures(bytes);
    add(bytes, &[bytes], true, &mut found);
    for signature in found {
        assert!(signature.refused.is_none() || signature.chain.len() <= 1);
    }
}

#[cfg(test)]
mod tests;
