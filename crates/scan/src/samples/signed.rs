//! Signed Windows programs, made in memory with keys that nobody keeps; they run nowhere.

use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use sha2::{Digest, Sha256};

const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
pub(crate) const SHA1: &[u8] = b"\x2b\x0e\x03\x02\x1a";
const ECDSA_SHA256: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x02";
const INDIRECT_DATA: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x04";
const TST_INFO: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04";
pub(crate) const TIMESTAMP: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x03\x03\x01";
pub(crate) const NESTED: &[u8] = b"\x2b\x06\x01\x04\x01\x82\x37\x02\x04\x01";
pub(crate) const CODE: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x03";
pub(crate) const TIME: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x08";
pub(crate) const MAIL: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x04";

/// A value in DER.
pub(crate) fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let length = body.len();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(length as u8),
        0x80..=0xff => out.extend([0x81, length as u8]),
        _ => out.extend([0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend(body);
    out
}

fn oid(body: &[u8]) -> Vec<u8> {
    der(6, &[body])
}

fn algorithm(name: &[u8]) -> Vec<u8> {
    der(0x30, &[&oid(name)])
}

/// An attribute with one value.
pub(crate) fn attribute(name: &[u8], value: &[u8]) -> Vec<u8> {
    der(0x30, &[&oid(name), &der(0x31, &[value])])
}

/// Somebody with a key and a certificate.
pub(crate) struct Party {
    key: EcdsaKeyPair,
    name: Vec<u8>,
    serial: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
}

/// What a certificate says of what it is for.
#[derive(Clone, Copy)]
pub(crate) struct Use<'u> {
    pub(crate) is_ca: bool,
    /// Issuers that may stand between it and the signer.
    pub(crate) between: Option<u8>,
    /// Extended key usage.
    pub(crate) purpose: Option<&'u [u8]>,
}

pub(crate) const ISSUER: Use<'_> = Use {
    is_ca: true,
    between: None,
    purpose: None,
};
pub(crate) const SIGNER: Use<'_> = Use {
    is_ca: false,
    between: None,
    purpose: Some(CODE),
};

impl Party {
    /// One whose certificate another issued, or itself.
    pub(crate) fn new(name: &str, serial: u8, usage: Use<'_>, by: Option<&Self>) -> Self {
        let random = SystemRandom::new();
        let scheme = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let key = EcdsaKeyPair::generate_pkcs8(scheme, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(scheme, key.as_ref(), &random).unwrap();
        let step = |kind: u8, text: &str| {
            let pair = der(
                0x30,
                &[&oid(&[0x55, 4, kind]), &der(0x0c, &[text.as_bytes()])],
            );
            der(0x31, &[&pair])
        };
        let name = der(0x30, &[&step(10, &format!("{name} Org")), &step(3, name)]);
        let mut party = Self {
            key,
            name,
            serial: der(2, &[&[serial]]),
            certificate: Vec::new(),
        };
        party.certificate = party.certified(usage, by.unwrap_or(&party));
        party
    }

    /// A certificate for it by `issuer`.
    fn certified(&self, usage: Use<'_>, issuer: &Self) -> Vec<u8> {
        let curve = oid(b"\x2a\x86\x48\xce\x3d\x03\x01\x07");
        let kind = der(0x30, &[&oid(b"\x2a\x86\x48\xce\x3d\x02\x01"), &curve]);
        let point = der(3, &[&[0], self.key.public_key().as_ref()]);
        let key = der(0x30, &[&kind, &point]);
        let mut basics = Vec::new();
        if usage.is_ca {
            basics.extend(der(1, &[&[0xff]]));
        }
        basics.extend(usage.between.iter().flat_map(|most| der(2, &[&[*most]])));
        let extension =
            |name: u8, value: &[u8]| der(0x30, &[&oid(&[0x55, 0x1d, name]), &der(4, &[value])]);
        let mut extensions = extension(19, &der(0x30, &[&basics]));
        if let Some(purpose) = usage.purpose {
            extensions.extend(extension(37, &der(0x30, &[&oid(purpose)])));
        }
        let day = |text: &[u8]| der(0x17, &[text]);
        let valid = der(0x30, &[&day(b"200101000000Z"), &day(b"300101000000Z")]);
        let parts: [&[u8]; 8] = [
            &der(0xa0, &[&der(2, &[&[2]])]),
            &self.serial,
            &algorithm(ECDSA_SHA256),
            &issuer.name,
            &valid,
            &self.name,
            &key,
            &der(0xa3, &[&der(0x30, &[&extensions])]),
        ];
        let body = der(0x30, &parts);
        let signature = issuer.sign(&body);
        let signature = der(3, &[&[0], &signature]);
        der(0x30, &[&body, &algorithm(ECDSA_SHA256), &signature])
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.key.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }

    /// A message signed by it, the certificates beside it, and what nobody signs.
    fn message(
        &self,
        kind: &[u8],
        content: &[u8],
        certificates: &[&[u8]],
        unsigned: &dyn Fn(&[u8]) -> Vec<u8>,
    ) -> Vec<u8> {
        let body = content.get(content.len() - length_of(content)..).unwrap();
        let digest = Sha256::digest(body);
        let attributes = [
            attribute(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03", &oid(kind)),
            attribute(b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04", &der(4, &[&digest])),
        ]
        .concat();
        let signature = self.sign(&der(0x31, &[&attributes]));
        let mut behind = unsigned(&signature);
        if !behind.is_empty() {
            behind = der(0xa1, &[&behind]);
        }
        let parts: [&[u8]; 7] = [
            &der(2, &[&[1]]),
            &der(0x30, &[&self.issuer(), &self.serial]),
            &algorithm(SHA256),
            &der(0xa0, &[&attributes]),
            &algorithm(ECDSA_SHA256),
            &der(4, &[&signature]),
            &behind,
        ];
        let signer = der(0x30, &parts);
        let parts: [&[u8]; 5] = [
            &der(2, &[&[1]]),
            &der(0x31, &[&algorithm(SHA256)]),
            &der(0x30, &[&oid(kind), &der(0xa0, &[content])]),
            &der(0xa0, certificates),
            &der(0x31, &[&signer]),
        ];
        let data = der(0x30, &parts);
        let signed_data = oid(b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02");
        der(0x30, &[&signed_data, &der(0xa0, &[&data])])
    }

    /// The issuer's name, out of the certificate.
    fn issuer(&self) -> Vec<u8> {
        use x509_parser::prelude::{FromDer, X509Certificate};
        let (_, parsed) = X509Certificate::from_der(&self.certificate).unwrap();
        parsed.issuer().as_raw().to_vec()
    }

    /// A timestamp of this signature, as an unsigned attribute.
    pub(crate) fn stamp(&self, signature: &[u8], time: &str) -> Vec<u8> {
        let digest = Sha256::digest(signature);
        let imprint = der(0x30, &[&algorithm(SHA256), &der(4, &[&digest])]);
        let parts: [&[u8]; 5] = [
            &der(2, &[&[1]]),
            &oid(&[0x2a, 3]),
            &imprint,
            &der(2, &[&[9]]),
            &der(0x18, &[time.as_bytes()]),
        ];
        let content = der(4, &[&der(0x30, &parts)]);
        let token = self.message(TST_INFO, &content, &[&self.certificate], &|_| Vec::new());
        attribute(TIMESTAMP, &token)
    }
}

/// Bytes of the content of a value.
fn length_of(value: &[u8]) -> usize {
    match value.get(1) {
        Some(0x81) => value.len() - 3,
        Some(0x82) => value.len() - 4,
        _ => value.len() - 2,
    }
}

/// A program without a signature.
pub(crate) fn program(code: &[u8]) -> Vec<u8> {
    let mut out = b"MZ".to_vec();
    out.resize(64, 0);
    out[60] = 64;
    out.extend_from_slice(b"PE\0\0\x64\x86\x01\0");
    out.resize(512, 0);
    out[84] = 240;
    out[88..90].copy_from_slice(b"\x0b\x02");
    out[196] = 16;
    out[328..333].copy_from_slice(b".text");
    out[344..348].copy_from_slice(&512_u32.to_le_bytes());
    out[348..352].copy_from_slice(&512_u32.to_le_bytes());
    out.extend_from_slice(code);
    out.resize(1024, 0);
    out
}

/// What a signature of a program is made of.
pub(crate) struct Recipe<'r> {
    pub(crate) signer: &'r Party,
    pub(crate) certificates: Vec<&'r [u8]>,
    /// Attributes that nobody signs, by the signature.
    pub(crate) unsigned: &'r dyn Fn(&[u8]) -> Vec<u8>,
    /// Object identifier of the program's digest.
    pub(crate) digest: &'r [u8],
}

impl<'r> Recipe<'r> {
    /// One with these certificates beside the signer's, and nothing more.
    pub(crate) fn new(signer: &'r Party, issuers: &[&'r Party]) -> Self {
        let issuers = issuers.iter().map(|party| &*party.certificate);
        Self {
            signer,
            certificates: std::iter::once(&*signer.certificate)
                .chain(issuers)
                .collect(),
            unsigned: &|_| Vec::new(),
            digest: SHA256,
        }
    }

    /// The signature of a program, as it is without the checksum and the directory entry.
    pub(crate) fn message(&self, program: &[u8]) -> Vec<u8> {
        let hashed = [&program[..152], &program[156..232], &program[240..]].concat();
        let sum = Sha256::digest(&hashed);
        let data = der(0x30, &[&oid(b"\x2b\x06\x01\x04\x01\x82\x37\x02\x01\x0f")]);
        let info = der(0x30, &[&algorithm(self.digest), &der(4, &[&sum])]);
        let content = der(0x30, &[&data, &info]);
        self.signer
            .message(INDIRECT_DATA, &content, &self.certificates, self.unsigned)
    }

    /// The program with its signature.
    pub(crate) fn sign(&self, program: &[u8]) -> Vec<u8> {
        with_table(program, &entry(&self.message(program), &[]))
    }
}

/// An entry of the table of signatures: the bytes behind the signature are its padding.
pub(crate) fn entry(message: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut out = ((8 + message.len() + behind.len()) as u32)
        .to_le_bytes()
        .to_vec();
    out.extend_from_slice(b"\0\x02\x02\0");
    out.extend_from_slice(message);
    out.extend_from_slice(behind);
    out.resize(out.len().next_multiple_of(8), 0);
    out
}

/// A program with this table of signatures.
pub(crate) fn with_table(program: &[u8], table: &[u8]) -> Vec<u8> {
    let mut out = program.to_vec();
    out[232..236].copy_from_slice(&(program.len() as u32).to_le_bytes());
    out[236..240].copy_from_slice(&(table.len() as u32).to_le_bytes());
    out.extend_from_slice(table);
    out
}
