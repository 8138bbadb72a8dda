//! Text from the wire, made harmless for each format. Names of hosts, files and users are what an attacker chose:
//! they may hold line ends that would begin a forged record, separators that would forge a field, and control
//! characters that would steer a terminal.

use std::io;

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, Serializer};

/// What stands for a character that is not written.
const STAND_IN: char = '\u{fffd}';

/// Whether a character steers a terminal, hides text or turns its direction around.
pub(crate) fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// One line of text that does nothing but be read.
pub fn plain(text: &str) -> String {
    text.chars().map(plain_char).collect()
}

fn plain_char(c: char) -> char {
    match c {
        '\n' | '\r' | '\t' => ' ',
        c if is_unsafe(c) => STAND_IN,
        c => c,
    }
}

/// A field of the head of a CEF record.
pub fn cef_head(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().map(plain_char) {
        if matches!(c, '\\' | '|') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A value of the extension of a CEF record.
pub fn cef_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '=' => out.push_str("\\="),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            c => out.push(plain_char(c)),
        }
    }
    out
}

/// The value of a parameter of structured data (RFC 5424, 6.3.3).
pub fn sd_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().map(plain_char) {
        if matches!(c, '"' | '\\' | ']') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A name in the head of a syslog message: printable ASCII without spaces, at most `max` long; `-` when nothing
/// is left.
pub fn syslog_name(text: &str, max: usize) -> String {
    let kept: String = text
        .chars()
        .filter(char::is_ascii_graphic)
        .take(max)
        .collect();
    if kept.is_empty() {
        "-".to_owned()
    } else {
        kept
    }
}

/// The value of a label of a metric (the text format of Prometheus).
pub fn label_value(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().map(plain_char) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// A string in a STIX pattern, without its quotes.
pub fn stix_string(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().map(plain_char) {
        if matches!(c, '\'' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// At most `bytes_max` bytes of `text`, with an ellipsis where something was left out.
pub fn clip(text: &str, bytes_max: usize) -> String {
    const ELLIPSIS: char = '…';
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let room = bytes_max.saturating_sub(ELLIPSIS.len_utf8());
    let mut out = String::with_capacity(bytes_max);
    for c in text.chars() {
        if out.len() + c.len_utf8() > room {
            break;
        }
        out.push(c);
    }
    if out.len() + ELLIPSIS.len_utf8() <= bytes_max {
        out.push(ELLIPSIS);
    }
    out
}

/// JSON on one line, in which whatever steers a terminal or hides text is written as `\uXXXX`: nothing is lost,
/// and nothing happens to who looks at it.
pub fn json(value: &Value) -> String {
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, Harmless);
    // A value of JSON has no key that is no string, so this does not fail; an empty line would be seen.
    if value.serialize(&mut serializer).is_err() {
        return String::new();
    }
    String::from_utf8(out).unwrap_or_default()
}

struct Harmless;

impl Formatter for Harmless {
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut units = [0; 2];
        for c in fragment.chars() {
            if !is_unsafe(c) {
                write!(writer, "{c}")?;
                continue;
            }
            for unit in c.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json as value;

    use super::*;

    /// A name as somebody would choose it who wants to forge a record.
    const HOSTILE: &str = "x\r\n<14>1 - evil|a=b\\]\" \u{1b}[2J\u{202e}\u{9b}\u{0}'";

    #[test]
    fn a_hostile_name_stays_one_line_and_one_field() {
        assert_eq!(
            plain(HOSTILE),
            "x  <14>1 - evil|a=b\\]\" \u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}'"
        );
        assert!(cef_head(HOSTILE).contains("evil\\|a=b\\\\]"));
        assert!(cef_value(HOSTILE).starts_with("x\\r\\n<14>1 - evil|a\\=b\\\\]"));
        assert!(sd_value(HOSTILE).contains("a=b\\\\\\]\\\" "));
        assert_eq!(syslog_name(" a b\u{e9}\n", 48), "ab");
        assert_eq!(syslog_name("\n", 48), "-");
        assert_eq!(label_value("a\"\n\\"), "a\\\" \\\\");
        assert_eq!(stix_string("a' OR 'b\\"), "a\\' OR \\'b\\\\");
    }

    #[test]
    fn json_is_readable_back_and_steers_nothing() {
        let text = json(&value!({ "a": HOSTILE, "\u{202e}k": [1, null, "größe 企業 \u{e0001}"] }));
        assert!(!text.chars().any(is_unsafe));
        assert!(text.contains("größe 企業 \\udb40\\udc01"));
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["a"], HOSTILE);
    }

    #[test]
    fn what_is_clipped_says_so_and_keeps_its_characters_whole() {
        assert_eq!(clip("abc", 3), "abc");
        assert_eq!(clip("abcdef", 5), "ab…");
        assert_eq!(clip("ééé", 5), "é…");
        assert_eq!(clip("abc", 2), "");
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_place(text in any::<String>(), max in 0_usize..64) {
            prop_assert!(!plain(&text).chars().any(is_unsafe));
            prop_assert!(!cef_value(&text).chars().any(is_unsafe));
            prop_assert!(!sd_value(&text).chars().any(is_unsafe));
            prop_assert!(clip(&text, max).len() <= max);
            prop_assert_eq!(json(&value!(text)).lines().count(), 1);
            prop_assert_eq!(ends(&cef_head(&text), '|'), 0);
            prop_assert_eq!(ends(&cef_value(&text), '='), 0);
            prop_assert_eq!(ends(&sd_value(&text), '"') + ends(&sd_value(&text), ']'), 0);
        }
    }

    /// How often `mark` stands in `text` without a backslash that belongs to it.
    fn ends(text: &str, mark: char) -> usize {
        let (mut found, mut is_escaped) = (0, false);
        for c in text.chars() {
            found += usize::from(c == mark && !is_escaped);
            is_escaped = c == '\\' && !is_escaped;
        }
        found
    }
}
