//! The few fields of a certificate that say who it is for and from (RFC 5280), over `x509-parser`.
//! Signatures and chains are not checked: validity is no business of a bystander.

use sha2::{Digest, Sha256};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::ParseBudget;

/// A certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    /// Subject distinguished name.
    pub subject: Box<str>,
    /// Issuer distinguished name.
    pub issuer: Box<str>,
    /// Start of validity, seconds since the epoch.
    pub not_before: i64,
    /// End of validity, seconds since the epoch.
    pub not_after: i64,
    /// Subject alternative names: host names and addresses.
    pub names: Vec<Box<str>>,
    /// Whether subject and issuer are encoded alike.
    pub self_signed: bool,
    /// SHA-256 of the encoding.
    pub sha256: [u8; 32],
}

/// Reads an encoded certificate; `None` when it is not one.
pub fn parse(der: &[u8], budget: &ParseBudget) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let name = |text: String| crate::text(text.as_bytes(), budget.text_bytes_max);
    let mut names = Vec::new();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        for general in alternative
            .value
            .general_names
            .iter()
            .take(budget.items_max)
        {
            match general {
                GeneralName::DNSName(host) => {
                    names.push(crate::text(host.to_ascii_lowercase().as_bytes(), 255));
                }
                GeneralName::IPAddress(bytes) => names.extend(address(bytes)),
                _ => {}
            }
        }
    }
    Some(Certificate {
        subject: name(certificate.subject().to_string()),
        issuer: name(certificate.issuer().to_string()),
        not_before: certificate.validity().not_before.timestamp(),
        not_after: certificate.validity().not_after.timestamp(),
        names,
        self_signed: certificate.subject().as_raw() == certificate.issuer().as_raw(),
        sha256: Sha256::digest(der).into(),
    })
}

fn address(bytes: &[u8]) -> Option<Box<str>> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|v4| std::net::Ipv4Addr::from(v4).to_string());
    let v6 = || <[u8; 16]>::try_from(bytes).map(|v6| std::net::Ipv6Addr::from(v6).to_string());
    v4.or_else(|_| v6()).ok().map(Into::into)
}

/// For the mutation loop and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let _ = parse(bytes, &ParseBudget::default());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case() -> Vec<u8> {
        let text = include_str!("../cases/x509/self-signed.hex");
        let digits: String = text.lines().skip(1).collect();
        digits
            .as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn names_and_validity_are_read() {
        let certificate = parse(&case(), &ParseBudget::default()).unwrap();
        assert_eq!(&*certificate.subject, "C=XX, O=Example, CN=www.example.org");
        assert!(certificate.self_signed);
        let names: Vec<&str> = certificate.names.iter().map(|name| &**name).collect();
        assert_eq!(
            names,
            [
                "www.example.org",
                "*.example.net",
                "192.0.2.1",
                "2001:db8::1"
            ]
        );
        assert_eq!(certificate.not_after - certificate.not_before, 30 * 86_400);
    }

    #[test]
    fn a_cut_certificate_is_none() {
        let der = case();
        assert_eq!(parse(&der[..der.len() / 2], &ParseBudget::default()), None);
    }
}
