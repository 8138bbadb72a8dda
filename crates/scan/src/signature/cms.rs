//! The Cryptographic Message Syntax (RFC 5652, before that PKCS #7) as far as programs and timestamps
//! are signed with it: one signer, signed attributes, and nothing that the signature would not cover but
//! certificates and what is countersigned.

use sha2::{Sha256, Sha384, Sha512};

use super::Refusal;
use super::der::{self, Der, Value};

/// Certificates that are looked at.
const CERTIFICATES_MAX: usize = 32;
/// Attributes of one kind that are looked at.
const ATTRIBUTES_MAX: usize = 32;
/// Longest version or serial number, in bytes.
const NUMBER_BYTES_MAX: usize = 32;

const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
const CONTENT_TYPE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
const MESSAGE_DIGEST: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";

/// A digest that is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Digest {
    Sha256,
    Sha384,
    Sha512,
}

impl Digest {
    /// The one with this object identifier.
    pub(super) fn named(oid: &[u8]) -> Result<Self, Refusal> {
        match oid {
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x01" => Ok(Self::Sha256),
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x02" => Ok(Self::Sha384),
            b"\x60\x86\x48\x01\x65\x03\x04\x02\x03" => Ok(Self::Sha512),
            // SHA-1, MD5, MD2.
            b"\x2b\x0e\x03\x02\x1a"
            | b"\x2a\x86\x48\x86\xf7\x0d\x02\x05"
            | b"\x2a\x86\x48\x86\xf7\x0d\x02\x02" => Err(Refusal::WeakDigest),
            _ => Err(Refusal::UnknownAlgorithm),
        }
    }

    /// The digest of what the parts are together.
    pub(super) fn of(self, parts: &[&[u8]]) -> Vec<u8> {
        fn sum<D: sha2::Digest>(parts: &[&[u8]]) -> Vec<u8> {
            let mut sum = D::new();
            for part in parts {
                sum.update(part);
            }
            sum.finalize().to_vec()
        }
        match self {
            Self::Sha256 => sum::<Sha256>(parts),
            Self::Sha384 => sum::<Sha384>(parts),
            Self::Sha512 => sum::<Sha512>(parts),
        }
    }
}

/// A message with its one signer.
pub(super) struct Message<'d> {
    pub(super) content_type: &'d [u8],
    /// The content, for its digest without tag and length.
    pub(super) content: Value<'d>,
    /// Certificates in DER.
    pub(super) certificates: Vec<&'d [u8]>,
    pub(super) signer: Signer<'d>,
}

/// Who signed, and what.
pub(super) struct Signer<'d> {
    /// Issuer of the signer's certificate, in DER.
    pub(super) issuer: &'d [u8],
    /// Serial number of that certificate.
    pub(super) serial: &'d [u8],
    /// Object identifier of the digest.
    pub(super) digest: &'d [u8],
    /// The signed attributes, tagged as in the message.
    pub(super) attributes: Value<'d>,
    /// Object identifier of the algorithm of the signature.
    pub(super) algorithm: &'d [u8],
    pub(super) signature: &'d [u8],
    /// Attributes that are not signed: object identifier and value.
    pub(super) unsigned: Vec<(&'d [u8], Value<'d>)>,
}

impl<'d> Message<'d> {
    /// The message in `bytes`; none when it is not understood whole. A timestamp may have attribute
    /// certificates beside the others: they are skipped.
    pub(super) fn read(bytes: &'d [u8], is_timestamp: bool) -> Option<Self> {
        let mut all = Der(bytes);
        let mut info = all.enter(der::SEQUENCE)?;
        all.end()?;
        if info.take(der::OID)?.body != SIGNED_DATA {
            return None;
        }
        let mut tagged = info.enter(der::CONTEXT_0)?;
        info.end()?;
        let mut data = tagged.enter(der::SEQUENCE)?;
        tagged.end()?;
        matches!(number(&mut data)?, [1 | 3]).then_some(())?;
        let mut digests = data.enter(der::SET)?;
        let digest = algorithm(&mut digests)?;
        digests.end()?;
        let mut content = data.enter(der::SEQUENCE)?;
        let content_type = content.take(der::OID)?.body;
        let mut inner = content.enter(der::CONTEXT_0)?;
        content.end()?;
        let content = inner.next()?;
        inner.end()?;
        let mut certificates = Vec::new();
        if let Some(set) = data.take_if(der::CONTEXT_0) {
            let mut set = Der(set.body);
            let mut count = 0;
            while !set.0.is_empty() {
                count += 1;
                (count <= CERTIFICATES_MAX).then_some(())?;
                if is_timestamp && set.take_if(der::CONTEXT_1).is_some() {
                    continue;
                }
                certificates.push(set.take(der::SEQUENCE)?.whole);
            }
        }
        let mut signers = data.enter(der::SET)?;
        data.end()?;
        let signer = Signer::read(&mut signers)?;
        signers.end()?;
        (digest == signer.digest).then_some(())?;
        Some(Self {
            content_type,
            content,
            certificates,
            signer,
        })
    }
}

impl<'d> Signer<'d> {
    /// The next one; none when it is not understood whole.
    pub(super) fn read(from: &mut Der<'d>) -> Option<Self> {
        let mut info = from.enter(der::SEQUENCE)?;
        (number(&mut info)? == [1]).then_some(())?;
        let mut name = info.enter(der::SEQUENCE)?;
        let issuer = name.take(der::SEQUENCE)?.whole;
        let serial = number(&mut name)?;
        name.end()?;
        let digest = algorithm(&mut info)?;
        let attributes = info.take(der::CONTEXT_0)?;
        let algorithm = algorithm(&mut info)?;
        let signature = info.take(der::OCTETS)?.body;
        let unsigned = match info.take_if(der::CONTEXT_1) {
            Some(set) => pairs(set.body)?,
            None => Vec::new(),
        };
        info.end()?;
        Some(Self {
            issuer,
            serial,
            digest,
            attributes,
            algorithm,
            signature,
            unsigned,
        })
    }

    /// What the signature is over: the signed attributes as a set.
    pub(super) fn message(&self) -> Vec<u8> {
        let mut message = self.attributes.whole.to_vec();
        if let Some(tag) = message.first_mut() {
            *tag = der::SET;
        }
        message
    }

    /// The value of a signed attribute that is there once.
    pub(super) fn signed(&self, oid: &[u8]) -> Option<Value<'d>> {
        let pairs = pairs(self.attributes.body)?;
        let mut found = pairs.into_iter().filter(|(name, _)| *name == oid);
        let (_, value) = found.next()?;
        found.next().is_none().then_some(value)
    }

    /// Whether the signed attributes say that a content of this type with these bytes is signed.
    pub(super) fn says(&self, content_type: &[u8], content: &[u8]) -> Result<(), Refusal> {
        let digest = Digest::named(self.digest)?.of(&[content]);
        let is = |oid, tag, body: &[u8]| {
            let value = self.signed(oid);
            value.is_some_and(|value| value.tag == tag && value.body == body)
        };
        let is_said =
            is(CONTENT_TYPE, der::OID, content_type) && is(MESSAGE_DIGEST, der::OCTETS, &digest);
        is_said.then_some(()).ok_or(Refusal::AttributesDiffer)
    }
}

/// Attributes, each with one value; one with several values is there as often.
fn pairs(bytes: &[u8]) -> Option<Vec<(&[u8], Value<'_>)>> {
    let mut set = Der(bytes);
    let mut pairs = Vec::new();
    while !set.0.is_empty() {
        let mut attribute = set.enter(der::SEQUENCE)?;
        let oid = attribute.take(der::OID)?.body;
        let mut values = attribute.enter(der::SET)?;
        attribute.end()?;
        // One without a value is as good as not understood.
        loop {
            pairs.push((oid, values.next()?));
            (pairs.len() <= ATTRIBUTES_MAX).then_some(())?;
            if values.0.is_empty() {
                break;
            }
        }
    }
    Some(pairs)
}

/// The object identifier of an algorithm without parameters.
pub(super) fn algorithm<'d>(from: &mut Der<'d>) -> Option<&'d [u8]> {
    let mut algorithm = from.enter(der::SEQUENCE)?;
    let oid = algorithm.take(der::OID)?.body;
    if let Some(null) = algorithm.take_if(der::NULL) {
        null.body.is_empty().then_some(())?;
    }
    algorithm.end()?;
    Some(oid)
}

/// The bytes of a number that is not too long.
pub(super) fn number<'d>(from: &mut Der<'d>) -> Option<&'d [u8]> {
    let body = from.take(der::INTEGER)?.body;
    (body.len() <= NUMBER_BYTES_MAX).then_some(body)
}
