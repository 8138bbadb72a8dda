//! Facts read off a file's headers, for the audit and the tables only: no network sees them. Each is a
//! word `key=value`; a header that lies gives fewer words, never an error.

mod elf;
mod pe;

use memchr::memmem;

use super::kind::Kind;

/// Words at most; more sections than that say nothing more.
const WORDS_MAX: usize = 40;

/// The words of a file, `-` for none.
pub(crate) fn of(kind: Kind, bytes: &[u8]) -> String {
    let mut words = match kind {
        Kind::Elf => elf::words(bytes),
        Kind::Pe => pe::words(bytes),
        Kind::Pdf => pdf(bytes),
        _ => Vec::new(),
    };
    words.truncate(WORDS_MAX);
    if words.is_empty() {
        return "-".to_owned();
    }
    words.join(" ")
}

/// Entropy of the bytes' histogram, bits a byte.
pub(crate) fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u64; 256];
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
    }
    let total = bytes.len().max(1) as f64;
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| *count as f64 / total)
        .map(|share| -share * share.log2())
        .sum()
}

fn pdf(bytes: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let head = bytes.get(..1024).unwrap_or(bytes);
    if let Some(at) = memmem::find(head, b"%PDF-") {
        let version = head.get(at + 5..at + 8).unwrap_or_default();
        words.push(format!("pdf={}", plain(version)));
    }
    for (name, word) in [
        (b"/JavaScript".as_slice(), "javascript"),
        (b"/OpenAction", "openaction"),
        (b"/Launch", "launch"),
        (b"/EmbeddedFile", "embeddedfile"),
        (b"/ObjStm", "objstm"),
        (b"/Encrypt", "encrypt"),
    ] {
        if memmem::find(bytes, name).is_some() {
            words.push(word.to_owned());
        }
    }
    words
}

/// Bytes from a header as a word: printable ASCII without blanks, the rest as `?`.
fn plain(bytes: &[u8]) -> String {
    bytes
        .iter()
        .take_while(|byte| **byte != 0)
        .take(16)
        .map(|byte| {
            if byte.is_ascii_graphic() {
                char::from(*byte)
            } else {
                '?'
            }
        })
        .collect()
}

/// Reads whole numbers of either byte order; out of bounds gives none.
#[derive(Clone, Copy)]
struct Numbers<'a> {
    bytes: &'a [u8],
    is_big: bool,
}

impl Numbers<'_> {
    fn get(&self, at: usize, width: usize) -> Option<u64> {
        let field = self.bytes.get(at..at.checked_add(width)?)?;
        let fold = |sum: u64, byte: &u8| (sum << 8) | u64::from(*byte);
        Some(if self.is_big {
            field.iter().fold(0, fold)
        } else {
            field.iter().rev().fold(0, fold)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_of_constants_and_of_everything() {
        assert!(entropy(&[7; 100]) < 1e-9);
        let all: Vec<u8> = (0..=255).collect();
        assert!((entropy(&all) - 8.0).abs() < 1e-9);
        assert!(entropy(&[]) < 1e-9);
    }

    #[test]
    fn hostile_headers_give_words_or_nothing() {
        let mut seed = 1_u32;
        for length in 0..600_usize {
            let mut bytes = vec![0_u8; length];
            for byte in &mut bytes {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *byte = (seed >> 24) as u8;
            }
            for (kind, magic) in [(Kind::Elf, b"\x7fELF".as_slice()), (Kind::Pe, b"MZ")] {
                if let Some(front) = bytes.get_mut(..magic.len()) {
                    front.copy_from_slice(magic);
                }
                assert!(!of(kind, &bytes).is_empty());
            }
        }
    }

    #[test]
    fn pdf_words() {
        let words = of(Kind::Pdf, b"%PDF-1.5\n1 0 obj <</OpenAction 2 0 R>>");
        assert_eq!(words, "pdf=1.5 openaction");
    }
}
