//! Entries that name who signed a Windows program.

use std::fmt;

use super::{ListEntry, Lists, Named};
use crate::{FileType, Refusal, Signature, Verdict};

/// Why an entry does not name who signed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unsigned {
    /// It has no signature.
    NotSigned,
    /// It has one that does not count.
    Refused(Refusal),
    /// The certificate is neither the signer's nor one that vouches for it.
    OtherSigner,
    /// The signer has another common name and another organisation.
    OtherSubject,
    /// The certificate vouches for the signer's, which does not say that it is for signing code.
    NotForCode,
    /// The file is outside the folder of the entry.
    OutOfScope,
}

impl fmt::Display for Unsigned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSigned => f.write_str("there is no signature"),
            Self::Refused(why) => write!(f, "not signed, because {why}"),
            Self::OtherSigner => f.write_str("neither the signer nor who vouches for it"),
            Self::OtherSubject => f.write_str("the signer has another name and organisation"),
            Self::NotForCode => f.write_str("the signer's certificate does not name code signing"),
            Self::OutOfScope => f.write_str("outside the scope"),
        }
    }
}

impl Lists {
    /// The entries for signers that do not act on a Windows program, and why; none for anything else.
    pub fn unsigned(
        &self,
        path: Option<&std::path::Path>,
        verdict: &Verdict,
    ) -> Vec<(&ListEntry, Unsigned)> {
        if verdict.kind != FileType::Pe && verdict.signatures.is_empty() {
            return Vec::new();
        }
        let entries = self.entries.iter().filter_map(|entry| {
            let why = match names(&entry.named, verdict)? {
                Err(why) => why,
                Ok(()) if entry.acts_on(path) => return None,
                Ok(()) => Unsigned::OutOfScope,
            };
            Some((entry, why))
        });
        entries.collect()
    }
}

/// Whether an entry names who signed it; none when it is an entry of another kind.
pub(super) fn names(named: &Named, verdict: &Verdict) -> Option<Result<(), Unsigned>> {
    let Named::Signer {
        certificate,
        subject,
    } = named
    else {
        return None;
    };
    let of_each = verdict.signatures.iter();
    let of_each = of_each.map(|signature| of_one(certificate, subject.as_deref(), signature));
    // Of several reasons the one that came furthest.
    let nearest = |best: Result<(), Unsigned>, next: Result<(), Unsigned>| match (best, next) {
        (Err(best), Err(next)) => Err(next.max(best)),
        _ => Ok(()),
    };
    Some(of_each.fold(Err(Unsigned::NotSigned), nearest))
}

fn of_one(
    certificate: &[u8; 32],
    subject: Option<&str>,
    signature: &Signature,
) -> Result<(), Unsigned> {
    if let Some(why) = signature.refused {
        return Err(Unsigned::Refused(why));
    }
    let mut chain = signature.chain.iter();
    let at = chain.position(|link| link.sha256 == *certificate);
    let (Some(at), Some(own)) = (at, signature.chain.first()) else {
        return Err(Unsigned::OtherSigner);
    };
    let names = [own.common_name.as_deref(), own.organisation.as_deref()];
    if subject.is_some() && !names.contains(&subject) {
        return Err(Unsigned::OtherSubject);
    }
    if at > 0 && !own.names_code_signing {
        return Err(Unsigned::NotForCode);
    }
    Ok(())
}
