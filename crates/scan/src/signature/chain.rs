//! Certificates (RFC 5280) and which of them vouch for which: by signature, by name, and by what each may
//! be used for. There is no store of what to trust: how far a chain counts is for a list to say.

use ring::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use sha2::{Digest as _, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, SubjectPublicKeyInfo, X509Version};

use super::cms::{self, Digest, Signer};
use super::der::{self, Der};
use super::{Refusal, SignerCertificate};

/// Longest name that is kept, in characters.
const NAME_MAX: usize = 256;
/// Certificates in a chain.
const CHAIN_MAX: usize = 8;
/// Checks of one certificate by another, for each chain.
const CHECKS_MAX: usize = 64;

const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01";
const ECDSA: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03";
const EC_KEY: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";

/// What a certificate is needed for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Code,
    Time,
}

/// A certificate of a message.
pub(super) struct Certificate<'d> {
    pub(super) parsed: X509Certificate<'d>,
    bytes: &'d [u8],
}

/// Reads all certificates of a message.
pub(super) fn read<'d>(certificates: &[&'d [u8]]) -> Result<Vec<Certificate<'d>>, Refusal> {
    let read = certificates.iter().map(|&bytes| {
        let (rest, parsed) = X509Certificate::from_der(bytes).ok()?;
        // The reader takes more than DER there, and nobody signs it.
        let mut whole = Der(bytes).enter(der::SEQUENCE)?;
        whole.take(der::SEQUENCE)?;
        let algorithm = cms::algorithm(&mut whole)?;
        (*whole.take(der::BITS)?.body.first()? == 0).then_some(())?;
        whole.end()?;
        let is_told = algorithm == parsed.tbs_certificate.signature.algorithm.as_bytes();
        (is_told && rest.is_empty()).then_some(Certificate { parsed, bytes })
    });
    read.collect::<Option<Vec<_>>>()
        .ok_or(Refusal::NotUnderstood)
}

impl Certificate<'_> {
    /// Whether its extended key usage names the purpose; none where it has none.
    fn names(&self, purpose: Purpose) -> Option<bool> {
        match self.parsed.extended_key_usage() {
            Ok(None) => None,
            Ok(Some(usage)) => Some(match purpose {
                Purpose::Code => usage.value.code_signing,
                Purpose::Time => usage.value.time_stamping,
            }),
            Err(_) => Some(false),
        }
    }

    /// Whether everything that must be understood about it is.
    fn is_understood(&self) -> bool {
        let is_known = |known: &ParsedExtension<'_>| {
            matches!(
                known,
                ParsedExtension::KeyUsage(_)
                    | ParsedExtension::BasicConstraints(_)
                    | ParsedExtension::ExtendedKeyUsage(_)
                    | ParsedExtension::CertificatePolicies(_)
                    | ParsedExtension::SubjectAlternativeName(_)
                    | ParsedExtension::AuthorityKeyIdentifier(_)
                    | ParsedExtension::SubjectKeyIdentifier(_)
            )
        };
        let mut extensions = self.parsed.iter_extensions();
        extensions.all(|extension| !extension.critical || is_known(extension.parsed_extension()))
            && self.parsed.signature_algorithm == self.parsed.tbs_certificate.signature
    }

    /// Whether it may sign what has the purpose.
    pub(super) fn may_sign(&self, purpose: Purpose) -> bool {
        let usage = match self.parsed.key_usage() {
            Ok(usage) => usage.is_none_or(|usage| usage.value.digital_signature()),
            Err(_) => false,
        };
        let is_named = match purpose {
            Purpose::Code => self.names(purpose) != Some(false),
            Purpose::Time => self.names(purpose) == Some(true),
        };
        usage && is_named && self.is_understood()
    }

    /// Whether it may issue certificates for the purpose, with so many issuers between.
    fn may_issue(&self, purpose: Purpose, between: usize) -> bool {
        let basics = match self.parsed.basic_constraints() {
            Ok(Some(basics)) => {
                let most = basics.value.path_len_constraint;
                basics.value.ca && most.is_none_or(|most| between <= most as usize)
            }
            _ => false,
        };
        let usage = match self.parsed.key_usage() {
            Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
            Err(_) => false,
        };
        let is_allowed = match self.parsed.extended_key_usage() {
            Ok(Some(usage)) => usage.value.any || self.names(purpose) == Some(true),
            Ok(None) => true,
            Err(_) => false,
        };
        self.parsed.version() == X509Version::V3
            && basics
            && usage
            && is_allowed
            && self.is_understood()
    }

    /// Whether it was valid at so many seconds since 1970.
    pub(super) fn is_valid_at(&self, seconds: i64) -> bool {
        let validity = self.parsed.validity();
        (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&seconds)
    }

    /// What reports say of it.
    pub(super) fn told(&self) -> SignerCertificate {
        let subject = self.parsed.subject();
        SignerCertificate {
            sha256: Sha256::digest(self.bytes).into(),
            subject: cut(&subject.to_string()),
            issuer: cut(&self.parsed.issuer().to_string()),
            common_name: first(subject.iter_common_name()),
            organisation: first(subject.iter_organization()),
            names_code_signing: self.names(Purpose::Code) == Some(true),
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(NAME_MAX).collect()
}

/// The value of an attribute that is there once and is no longer than what is kept.
fn first<'a>(mut values: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<String> {
    let value = values.next()?.as_str().ok()?;
    let is_one = values.next().is_none() && value.chars().count() <= NAME_MAX;
    is_one.then(|| value.to_owned())
}

/// The number of the signer's certificate, under which the signature verifies.
pub(super) fn signer(
    signer: &Signer<'_>,
    certificates: &[Certificate<'_>],
) -> Result<usize, Refusal> {
    let at = certificates.iter().position(|certificate| {
        certificate.parsed.issuer().as_raw() == signer.issuer
            && certificate.parsed.raw_serial() == signer.serial
    });
    let at = at.ok_or(Refusal::NoCertificate)?;
    let certificate = certificates.get(at).ok_or(Refusal::NoCertificate)?;
    let digest = Digest::named(signer.digest)?;
    let key = certificate.parsed.public_key();
    verify(
        key,
        signer.algorithm,
        Some(digest),
        &signer.message(),
        signer.signature,
    )?;
    Ok(at)
}

/// The certificate `leaf` and all that vouch for it, each once, the nearest first.
pub(super) fn chain(leaf: usize, certificates: &[Certificate<'_>], purpose: Purpose) -> Vec<usize> {
    let (mut chain, mut checks) = (vec![(leaf, 0)], 0);
    let mut next = 0;
    while let Some((at, between)) = chain.get(next).copied() {
        next += 1;
        let Some(issued) = certificates.get(at) else {
            continue;
        };
        for (number, issuer) in certificates.iter().enumerate() {
            let is_new = chain.iter().all(|(at, _)| *at != number);
            let is_named = issuer.parsed.subject().as_raw() == issued.parsed.issuer().as_raw();
            if !is_new || !is_named || !issuer.may_issue(purpose, between) || checks >= CHECKS_MAX {
                continue;
            }
            checks += 1;
            if chain.len() < CHAIN_MAX && vouches(issuer, issued) {
                chain.push((number, between + 1));
            }
        }
    }
    chain.into_iter().map(|(at, _)| at).collect()
}

fn vouches(issuer: &Certificate<'_>, issued: &Certificate<'_>) -> bool {
    let parsed = &issued.parsed;
    verify(
        issuer.parsed.public_key(),
        parsed.signature_algorithm.algorithm.as_bytes(),
        None,
        parsed.tbs_certificate.as_ref(),
        &parsed.signature_value.data,
    )
    .is_ok()
}

/// Checks a signature. Where its algorithm names a digest too, that must be `digest`.
fn verify(
    key: &SubjectPublicKeyInfo<'_>,
    algorithm: &[u8],
    digest: Option<Digest>,
    message: &[u8],
    signed: &[u8],
) -> Result<(), Refusal> {
    let named = match (
        algorithm.strip_prefix(RSA),
        algorithm.strip_prefix(ECDSA),
        algorithm,
    ) {
        (Some([1]), _, _) | (_, _, EC_KEY) => digest,
        (Some([11]), _, _) | (_, Some([2]), _) => Some(Digest::Sha256),
        (Some([12]), _, _) | (_, Some([3]), _) => Some(Digest::Sha384),
        (Some([13]), _, _) | (_, Some([4]), _) => Some(Digest::Sha512),
        (Some([2..=5]), _, _) => return Err(Refusal::WeakDigest),
        _ => None,
    };
    let named = named.ok_or(Refusal::UnknownAlgorithm)?;
    if digest.is_some_and(|digest| digest != named) {
        return Err(Refusal::NotUnderstood);
    }
    let of_key = key.algorithm.algorithm.as_bytes();
    let curve = key.algorithm.parameters.as_ref();
    let curve = curve.map(x509_parser::asn1_rs::Any::as_bytes);
    let is_rsa = of_key.strip_prefix(RSA) == Some(&[1]) && algorithm.starts_with(RSA);
    let is_ec = of_key == EC_KEY && !algorithm.starts_with(RSA);
    let by: &dyn VerificationAlgorithm = match (named, curve) {
        (Digest::Sha256, _) if is_rsa => &signature::RSA_PKCS1_2048_8192_SHA256,
        (Digest::Sha384, _) if is_rsa => &signature::RSA_PKCS1_2048_8192_SHA384,
        (Digest::Sha512, _) if is_rsa => &signature::RSA_PKCS1_2048_8192_SHA512,
        (Digest::Sha256, Some(P256)) if is_ec => &signature::ECDSA_P256_SHA256_ASN1,
        (Digest::Sha384, Some(P256)) if is_ec => &signature::ECDSA_P256_SHA384_ASN1,
        (Digest::Sha256, Some(P384)) if is_ec => &signature::ECDSA_P384_SHA256_ASN1,
        (Digest::Sha384, Some(P384)) if is_ec => &signature::ECDSA_P384_SHA384_ASN1,
        _ => return Err(Refusal::UnknownAlgorithm),
    };
    let key = UnparsedPublicKey::new(by, &key.subject_public_key.data);
    key.verify(message, signed)
        .map_err(|_| Refusal::WrongSignature)
}
