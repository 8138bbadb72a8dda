//! A digest of a script's shape: its tokens with names, numbers, strings and blanks made equal, so that
//! scripts which differ only in what is random about them (names, keys, addresses) have one digest.

/// Fewer tokens than this say nothing: such a script is its own shape.
const TOKENS_MIN: usize = 24;

/// A digest of the normalised tokens.
pub(crate) fn shape(bytes: &[u8]) -> [u8; 32] {
    let mut tokens = Vec::new();
    let mut put = |class: u8| {
        // Joined lists of strings or numbers of any length are alike.
        if tokens.last() != Some(&class) || !matches!(class, b'0' | b's') {
            tokens.push(class);
        }
    };
    let mut rest = narrow(bytes);
    while let Some((first, after)) = rest.split_first() {
        let take = match first {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | b'$' | 0x80.. => {
                put(b'a');
                run(after, |c| {
                    c.is_ascii_alphanumeric() || c == b'_' || c == b'$' || c >= 0x80
                })
            }
            b'0'..=b'9' => {
                put(b'0');
                run(after, |c| c.is_ascii_alphanumeric() || c == b'.')
            }
            b'"' | b'\'' | b'`' => {
                put(b's');
                string(*first, after)
            }
            // Blanks; and what joins the parts of a cut-up string, whose count is random too.
            b' ' | b'\t' | b'\r' | b'\n' | 0 | b'+' | b',' | b'&' => 0,
            other => {
                put(*other);
                0
            }
        };
        rest = after.get(take..).unwrap_or_default();
    }
    let enough = tokens.len() >= TOKENS_MIN;
    *blake3::hash(if enough { &tokens } else { bytes }).as_bytes()
}

/// Past a byte order mark; zero bytes of wide text count as blanks.
fn narrow(bytes: &[u8]) -> &[u8] {
    for mark in [b"\xef\xbb\xbf".as_slice(), b"\xff\xfe", b"\xfe\xff"] {
        if let Some(rest) = bytes.strip_prefix(mark) {
            return rest;
        }
    }
    bytes
}

fn run(bytes: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|c| !belongs(*c))
        .unwrap_or(bytes.len())
}

/// Length of a string's rest with its closing quote; one that does not close ends with its line.
fn string(quote: u8, bytes: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => return at,
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            byte if *byte == quote => return at + 1,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_numbers_and_strings_do_not_count() {
        let one = b"var kQx1 = \"aGVs\" + \"bG8=\"; eval(kQx1, 12);".repeat(4);
        let two = b"var  zz_9=\"ZZZZZZ\" + \"q\" + \"r\" ;\n eval( zz_9 , 7 );".repeat(4);
        assert_eq!(shape(&one), shape(&two));
    }

    #[test]
    fn structure_counts() {
        assert_ne!(
            shape(&b"if (a) { b(); }".repeat(9)),
            shape(&b"if (a) b();".repeat(9))
        );
    }

    #[test]
    fn a_short_script_is_its_own_shape() {
        assert_ne!(shape(b"rm(a)"), shape(b"ls(b)"));
    }

    #[test]
    fn an_open_string_ends_with_its_line() {
        let line = b"don't\nx(1);".repeat(9);
        assert_ne!(shape(&line), shape(&b"don't\n".repeat(9)));
        assert_eq!(shape(&line), shape(&b"won't say\nyy(22);".repeat(9)));
    }
}
