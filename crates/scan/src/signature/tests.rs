use super::*;
use crate::samples::signed::{
    ISSUER, MAIL, NESTED as NEST, Party, Recipe, SHA1, SIGNER, TIME, Use, attribute, der, entry,
    program, with_table,
};

/// When the case `stamped` was.
const STAMPED_AT: i64 = 1_795_390_505;

fn case(name: &str) -> Vec<u8> {
    let path = format!("{}/cases/signature/{name}.hex", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let digits = text.lines().filter(|line| !line.starts_with('#'));
    let digits: String = digits.collect();
    let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.as_bytes().chunks(2).map(byte).collect()
}

fn refused(bytes: &[u8]) -> Vec<Option<Refusal>> {
    let found = signatures(bytes).into_iter();
    found.map(|signature| signature.refused).collect()
}

struct Parties {
    root: Party,
    issuer: Party,
    signer: Party,
    clock: Party,
}

fn parties() -> Parties {
    let root = Party::new("Root", 1, ISSUER, None);
    let issuer = Party::new("Issuer", 2, ISSUER, Some(&root));
    let signer = Party::new("Signer", 3, SIGNER, Some(&issuer));
    let usage = Use {
        purpose: Some(TIME),
        ..SIGNER
    };
    let clock = Party::new("Clock", 4, usage, None);
    Parties {
        root,
        issuer,
        signer,
        clock,
    }
}

#[test]
fn what_osslsigncode_signs_is_verified_by_rsa_and_p384_and_with_a_timestamp() {
    let found = signatures(&case("rsa"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].refused, None);
    let names: Vec<_> = found[0].chain.iter().map(|c| &*c.subject).collect();
    assert_eq!(
        names,
        [
            "O=Example Ltd, CN=Example Ltd Programs",
            "O=Example Trust, CN=Example Code CA"
        ]
    );
    assert_eq!(found[0].timestamp, Timestamp::None);
    assert!(found[0].chain[0].names_code_signing);
    let stamped = signatures(&case("stamped"));
    let Timestamp::At { seconds, by } = &stamped[0].timestamp else {
        panic!("{:?}", stamped[0]);
    };
    assert_eq!((*seconds, &**by), (STAMPED_AT, "CN=Example Time"));
    assert_eq!(stamped[0].chain, found[0].chain);
    assert_eq!(refused(&case("ec")), [None]);
    let nested = signatures(&case("nested"));
    assert_eq!(nested.len(), 2);
    assert_eq!(nested[0].refused.or(nested[1].refused), None);
    assert_eq!(nested[1].chain[0].organisation.as_deref(), Some("EC Org"));
}

#[test]
fn a_changed_byte_anywhere_but_in_the_checksum_is_noticed() {
    let signed = case("rsa");
    let verified = signatures(&signed);
    for at in 0..signed.len() {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        let found = signatures(&changed);
        // In the certificate that nobody vouches for its fingerprint changes: no list that pins it acts.
        assert_eq!(found == verified, (152..156).contains(&at), "{at}");
        let is_verified = found.iter().any(|signature| signature.refused.is_none());
        assert!(
            !is_verified || found[0].chain[0] == verified[0].chain[0],
            "{at}"
        );
    }
}

#[test]
fn sha1_proves_nothing() {
    assert_eq!(refused(&case("sha1")), [Some(Refusal::WeakDigest)]);
    let parties = parties();
    let recipe = Recipe {
        digest: SHA1,
        ..Recipe::new(&parties.signer, &[&parties.issuer])
    };
    let found = refused(&recipe.sign(&program(b"code")));
    assert_eq!(found, [Some(Refusal::WeakDigest)]);
}

#[test]
fn bytes_that_nobody_signed_are_refused_wherever_they_lie() {
    let parties = parties();
    let recipe = || Recipe::new(&parties.signer, &[&parties.issuer, &parties.root]);
    let plain = program(b"code");
    let signed = recipe().sign(&plain);
    assert_eq!(refused(&signed), [None]);
    let uncovered = [Some(Refusal::UncoveredBytes)];
    let behind = [&signed[..], b"more"].concat();
    assert_eq!(refused(&behind), uncovered, "behind the table");
    let message = recipe().message(&plain);
    for padding in [&b"payload"[..], &[0; 16]] {
        let padded = with_table(&plain, &entry(&message, padding));
        assert_eq!(refused(&padded), uncovered, "padding {padding:?}");
    }
    let other = Party::new("Other", 9, ISSUER, None);
    let more = Recipe::new(&parties.signer, &[&parties.issuer, &other]);
    assert_eq!(refused(&more.sign(&plain)), uncovered, "a certificate");
    let blob = |_: &[u8]| attribute(b"\x2a\x03\x04", &der(4, &[b"payload"]));
    let stuffed = Recipe {
        unsigned: &blob,
        ..recipe()
    };
    assert_eq!(refused(&stuffed.sign(&plain)), uncovered, "an attribute");
    let mut loaded = plain.clone();
    loaded[344..348].copy_from_slice(&1024_u32.to_le_bytes());
    assert_eq!(refused(&recipe().sign(&loaded)), uncovered, "a section");
}

#[test]
fn only_issuers_vouch_and_only_for_what_they_may() {
    let parties = parties();
    let plain = program(b"code");
    let chain = |signer: &Party, issuers: &[&Party]| {
        let found = signatures(&Recipe::new(signer, issuers).sign(&plain));
        match found[0].refused {
            None => found[0].chain.len(),
            Some(_) => 0,
        }
    };
    let Parties {
        root,
        issuer,
        signer,
        ..
    } = &parties;
    assert_eq!(chain(signer, &[issuer, root]), 3);
    assert_eq!(chain(signer, &[]), 1);
    // What a signer issues: its issuers do not answer for that.
    let usage = Use {
        purpose: Some(crate::samples::signed::CODE),
        ..SIGNER
    };
    let forged = Party::new("Forged", 5, usage, Some(signer));
    assert_eq!(chain(&forged, &[signer, issuer]), 0);
    assert_eq!(chain(&forged, &[]), 1);
    let near = Party::new(
        "Near",
        6,
        Use {
            between: Some(0),
            ..ISSUER
        },
        None,
    );
    let middle = Party::new("Middle", 7, ISSUER, Some(&near));
    let leaf = Party::new("Leaf", 8, SIGNER, Some(&middle));
    assert_eq!(chain(&leaf, &[&middle]), 2);
    assert_eq!(chain(&leaf, &[&middle, &near]), 0, "one issuer too many");
    let mails = Party::new(
        "Mails",
        9,
        Use {
            purpose: Some(MAIL),
            ..ISSUER
        },
        None,
    );
    let leaf = Party::new("Leaf", 10, SIGNER, Some(&mails));
    assert_eq!(chain(&leaf, &[&mails]), 0, "an issuer for mail");
    let leaf = Party::new(
        "Leaf",
        11,
        Use {
            purpose: Some(MAIL),
            ..SIGNER
        },
        Some(issuer),
    );
    let found = refused(&Recipe::new(&leaf, &[issuer]).sign(&plain));
    assert_eq!(found, [Some(Refusal::WrongPurpose)]);
    // Another key under the same name vouches for nothing.
    let double = Party::new("Issuer", 2, ISSUER, None);
    assert_eq!(chain(signer, &[&double]), 0);
}

#[test]
fn a_timestamp_tells_when_or_is_refused() {
    let parties = parties();
    let plain = program(b"code");
    let at = |clock: &Party, time: &str| {
        let stamp = |signature: &[u8]| clock.stamp(signature, time);
        let recipe = Recipe {
            unsigned: &stamp,
            ..Recipe::new(&parties.signer, &[&parties.issuer])
        };
        signatures(&recipe.sign(&plain)).remove(0)
    };
    let good = at(&parties.clock, "20240229123456Z");
    assert_eq!(good.refused, None);
    let by = "O=Clock Org, CN=Clock".to_owned();
    let seconds = 1_709_210_096;
    assert_eq!(good.timestamp, Timestamp::At { seconds, by });
    let wrong = Some(Refusal::WrongTimestamp);
    assert_eq!(
        at(&parties.signer, "20240229123456Z").refused,
        wrong,
        "no clock"
    );
    assert_eq!(
        at(&parties.clock, "20310101000000Z").refused,
        wrong,
        "expired"
    );
    let other = |_: &[u8]| parties.clock.stamp(b"another signature", "20240229123456Z");
    let recipe = Recipe {
        unsigned: &other,
        ..Recipe::new(&parties.signer, &[&parties.issuer])
    };
    assert_eq!(refused(&recipe.sign(&plain)), [wrong]);
}

#[test]
fn every_signature_must_verify_or_none_does() {
    let parties = parties();
    let plain = program(b"code");
    let inner = Recipe::new(&parties.signer, &[&parties.issuer]).message(&plain);
    let other = Party::new("Other", 9, SIGNER, None);
    let nest = |_: &[u8]| attribute(NEST, &inner);
    let good = Recipe {
        unsigned: &nest,
        ..Recipe::new(&other, &[])
    };
    assert_eq!(refused(&good.sign(&plain)), [None, None]);
    let weak = Recipe {
        digest: SHA1,
        ..good
    };
    let found = refused(&weak.sign(&plain));
    assert_eq!(
        found,
        [Some(Refusal::WeakDigest), Some(Refusal::OtherRefused)]
    );
    let changed = Recipe {
        digest: good.digest,
        ..weak
    }
    .sign(&program(b"other code"));
    let found = refused(&changed);
    assert_eq!(
        found,
        [Some(Refusal::OtherRefused), Some(Refusal::DigestDiffers)]
    );
    let two = [entry(&inner, &[]), entry(&inner, &[])].concat();
    assert_eq!(refused(&with_table(&plain, &two)), [None, None]);
    let found = refused(&with_table(&plain, &two.repeat(3)));
    assert_eq!(found, [Some(Refusal::TooMuch)]);
    let nests = |_: &[u8]| attribute(NEST, &inner).repeat(9);
    let many = Recipe {
        unsigned: &nests,
        ..Recipe::new(&other, &[])
    };
    let found = refused(&many.sign(&plain));
    assert_eq!(found.len(), SIGNATURES_MAX);
    assert!(found.contains(&Some(Refusal::TooMuch)) && !found.contains(&None));
}

#[test]
fn what_is_no_signed_program_has_no_signature() {
    for bytes in [&b""[..], b"MZ", &program(b"code"), b"\x7fELF"] {
        assert_eq!(signatures(bytes), []);
    }
}
