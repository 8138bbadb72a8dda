//! Signatures over model files, in minisign's format (jedisct1.github.io/minisign): Ed25519 (RFC 8032) over
//! the BLAKE2b digest of the file, with a comment that is signed too. Whoever signs can use the program
//! `minisign`; nothing here is a format of our own.
//!
//! What comes from others is read by `minisign-verify`, which depends on nothing and takes any bytes;
//! `minisign` makes keys and signatures. Signatures over the bare file (minisign's legacy kind) are refused.

use minisign::{KeyPair, SecretKeyBox};
use minisign_verify::{Error, PublicKey, Signature};

/// Bytes of a key or signature file that are read.
pub(super) const TEXT_BYTES_MAX: u64 = 16 << 10;
/// Digits of base 64 in which the algorithm and the number of a key stand.
const ID_DIGITS: usize = 16;

/// A public key that models may be signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelKey {
    /// Its number, as `minisign` prints it: sixteen hexadecimal digits.
    pub id: String,
    /// The key in base 64, as `minisign -P` takes it.
    pub text: String,
    key: PublicKey,
}

/// A new pair of keys, as the files that hold them.
#[derive(Clone)]
pub struct ModelKeyPair {
    /// Keep it secret.
    pub secret: String,
    /// Give it away.
    pub public: String,
    /// Their number.
    pub id: String,
}

/// Why a signature does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is none.
    #[error(
        "it is not signed: no signature is beside it (the same name and .minisig); sign it with `thymus model sign` or `minisign -S`"
    )]
    Missing,
    /// It cannot be read.
    #[error("its signature is no minisign signature; get both files again")]
    Malformed,
    /// It is over the bare file.
    #[error(
        "its signature is of minisign's legacy kind; sign it with `thymus model sign`, or `minisign -S` of version 0.10 or later"
    )]
    Legacy,
    /// No key is trusted.
    #[error(
        "it is signed by key {id} and no key is trusted yet; if you know whose it is: `thymus model trust KEY`"
    )]
    NoKeys {
        /// Number of the key it claims.
        id: String,
    },
    /// Its key is not trusted.
    #[error(
        "it is signed by key {id}, which is not trusted (trusted: {trusted}); if you know whose it is: `thymus model trust KEY`"
    )]
    NotTrusted {
        /// Number of the key it claims.
        id: String,
        /// Numbers of the keys that are.
        trusted: String,
    },
    /// The file is not what was signed.
    #[error(
        "it is not what key {id} signed: it was changed, or the signature is of another file; get both again"
    )]
    Wrong {
        /// Number of the key it claims.
        id: String,
    },
    /// The secret key or its password is wrong.
    #[error("cannot sign: {0}")]
    Secret(String),
    /// A public key that is none.
    #[error("that is no minisign public key: give the file, or the line that begins with RW")]
    Key,
}

impl ModelKey {
    /// Reads a key: the text of its file, or the line in it that holds the key.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with("untrusted comment:"));
        let text = line.ok_or(SignatureError::Key)?;
        let key = PublicKey::from_base64(text).map_err(|_| SignatureError::Key)?;
        let id = id_of(text).ok_or(SignatureError::Key)?;
        Ok(Self {
            id,
            text: text.to_owned(),
            key,
        })
    }

    /// The key as a file.
    pub(super) fn file(&self) -> String {
        format!(
            "untrusted comment: minisign public key {}\n{}\n",
            self.id, self.text
        )
    }
}

impl ModelKeyPair {
    /// Makes a pair; the secret key is locked with `password`, if there is one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new(password: Option<String>) -> Result<Self, SignatureError> {
        let comment = "thymus model signing key";
        let pair = match password {
            Some(password) => KeyPair::generate_encrypted_keypair(Some(password)),
            None => KeyPair::generate_unencrypted_keypair(),
        };
        let pair = pair?;
        let public = pair.pk.to_box()?.into_string();
        let id = ModelKey::parse(&public)?.id;
        let secret_key = pair.sk.to_box(Some(comment))?;
        Ok(Self {
            secret: secret_key.into_string(),
            public,
            id,
        })
    }
}

/// Whether the text of a secret key is locked with a password; none when it is no key.
pub fn is_locked(secret_key: &str) -> Option<bool> {
    // Two letters name the algorithm of the key, the next two that of the lock: none are zeros.
    let digits = secret_key.lines().nth(1)?.trim();
    let head = decoded(digits.get(..8)?)?;
    match head.get(2..4)? {
        b"Sc" => Some(true),
        [0, 0] => Some(false),
        _ => None,
    }
}

/// The signature over `bytes`, as its file, with a comment that is signed too.
///
/// # Errors
/// When the key is none, or is locked with another password.
pub fn sign(
    bytes: &[u8],
    secret_key: &str,
    password: Option<String>,
    comment: &str,
) -> Result<String, SignatureError> {
    let boxed = SecretKeyBox::from_string(secret_key)?;
    let key = match password {
        Some(password) => boxed.into_secret_key(Some(password)),
        None => boxed.into_unencrypted_secret_key(),
    };
    let key = key?;
    let signature = minisign::sign(None, &key, bytes, Some(comment), None)?;
    Ok(signature.into_string())
}

/// Which of `keys` signed `bytes`, and what the signed comment says.
///
/// # Errors
/// When none did.
pub fn check(
    bytes: &[u8],
    signature: &str,
    keys: &[ModelKey],
) -> Result<(String, String), SignatureError> {
    let claimed = signature.lines().nth(1).and_then(id_of);
    let id = claimed.ok_or(SignatureError::Malformed)?;
    let signature = Signature::decode(signature).map_err(|_| SignatureError::Malformed)?;
    if keys.is_empty() {
        return Err(SignatureError::NoKeys { id });
    }
    let mut told = SignatureError::NotTrusted {
        id: id.clone(),
        trusted: keys
            .iter()
            .map(|key| key.id.as_str())
            .collect::<Vec<_>>()
            .join(", "),
    };
    // Numbers of keys are chosen by whoever makes them, so two may have the same.
    for key in keys {
        match key.key.verify(bytes, &signature, false) {
            Ok(()) => return Ok((key.id.clone(), signature.trusted_comment().to_owned())),
            Err(Error::UnexpectedKeyId) => {}
            Err(Error::UnexpectedAlgorithm) => return Err(SignatureError::Legacy),
            Err(_) => told = SignatureError::Wrong { id: id.clone() },
        }
    }
    Err(told)
}

impl From<minisign::PError> for SignatureError {
    fn from(error: minisign::PError) -> Self {
        Self::Secret(error.to_string())
    }
}

/// The number of the key in a line of base 64: eight bytes, the lowest first, behind two.
fn id_of(line: &str) -> Option<String> {
    let bytes = decoded(line.trim().get(..ID_DIGITS)?)?;
    let number = u64::from_le_bytes(*bytes.get(2..)?.first_chunk()?);
    Some(format!("{number:016X}"))
}

/// What whole groups of four digits of base 64 (RFC 4648) stand for.
fn decoded(digits: &str) -> Option<Vec<u8>> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => Some(u32::from(digit - b'A')),
        b'a'..=b'z' => Some(u32::from(digit - b'a') + 26),
        b'0'..=b'9' => Some(u32::from(digit - b'0') + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::new();
    for group in digits.as_bytes().chunks_exact(4) {
        let mut word = 0;
        for digit in group {
            word = (word << 6) | value(*digit)?;
        }
        bytes.extend_from_slice(&word.to_be_bytes()[1..]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(bytes: &[u8]) -> (ModelKey, String) {
        let pair = ModelKeyPair::new(None).unwrap();
        let signature = sign(bytes, &pair.secret, None, "a comment").unwrap();
        (ModelKey::parse(&pair.public).unwrap(), signature)
    }

    #[test]
    fn only_what_was_signed_by_a_key_of_ours_counts() {
        let (key, signature) = signed(b"weights");
        let other = signed(b"weights").0;
        let keys = [other.clone(), key.clone()];
        let told = check(b"weights", &signature, &keys).unwrap();
        assert_eq!(told, (key.id.clone(), "a comment".to_owned()));
        let wrong = SignatureError::Wrong { id: key.id.clone() };
        assert_eq!(check(b"weightS", &signature, &keys).unwrap_err(), wrong);
        let forged = signature.replace("a comment", "A comment");
        assert_eq!(check(b"weights", &forged, &keys).unwrap_err(), wrong);
        let told = check(b"weights", &signature, &[other]).unwrap_err();
        assert!(matches!(told, SignatureError::NotTrusted { id, .. } if id == key.id));
        let told = check(b"weights", &signature, &[]).unwrap_err();
        assert_eq!(told, SignatureError::NoKeys { id: key.id });
    }

    #[test]
    fn a_cut_or_changed_signature_never_counts_and_never_panics() {
        let (key, signature) = signed(b"weights");
        for end in 0..signature.trim_end().len() {
            assert!(
                check(
                    b"weights",
                    signature.get(..end).unwrap(),
                    std::slice::from_ref(&key)
                )
                .is_err()
            );
        }
        let comment = signature.lines().next().unwrap().len();
        for at in comment + 1..signature.trim_end().len() {
            let mut bytes = signature.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(
                check(b"weights", &changed, std::slice::from_ref(&key)).is_err(),
                "byte {at}"
            );
        }
    }

    #[test]
    fn a_legacy_signature_is_refused() {
        // Of the tests of minisign-verify: over "test", without the digest.
        let key =
            ModelKey::parse("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3").unwrap();
        let legacy = "untrusted comment: signature from minisign secret key\n\
            RWQf6LRCGA9i59SLOFxz6NxvASXDJeRtuZykwQepbDEGt87ig1BNpWaVWuNrm73YiIiJbq71Wi+dP9eKL8OC351vwIasSSbXxwA=\n\
            trusted comment: timestamp:1555779966\tfile:test\n\
            QtKMXWyYcwdpZAlPF7tE2ENJkRd1ujvKjlj1m9RtHTBnZPa5WKU5uWRs5GoP5M/VqE81QFuMKI5k/SfNQUaOAA==\n";
        assert_eq!(key.id, "E7620F1842B4E81F");
        let told = check(b"test", legacy, &[key]).unwrap_err();
        assert_eq!(told, SignatureError::Legacy);
    }

    #[test]
    fn a_locked_key_needs_its_password() {
        let pair = ModelKeyPair::new(Some("open".to_owned())).unwrap();
        assert_eq!(is_locked(&pair.secret), Some(true));
        let sign =
            |password: Option<&str>| sign(b"x", &pair.secret, password.map(str::to_owned), "c");
        let key = ModelKey::parse(&pair.public).unwrap();
        assert!(check(b"x", &sign(Some("open")).unwrap(), &[key]).is_ok());
        assert!(sign(Some("shut")).is_err() && sign(None).is_err());
        let bare = ModelKeyPair::new(None).unwrap();
        assert_eq!(is_locked(&bare.secret), Some(false));
        assert_eq!(is_locked("nothing\nof the kind"), None);
    }
}
