//! Messages out of a stream of bytes (RFC 6587): counted, or each on a line of its own.

/// Longest message; more is cut into pieces by lines, or makes the stream unreadable where it is counted.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// A count has at most so many digits.
const DIGITS_MAX: usize = 5;

/// What stands at the front of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing<'a> {
    /// A whole message; `used` bytes of the stream are done with.
    Whole {
        /// The message.
        message: &'a [u8],
        /// Bytes of the stream it took.
        used: usize,
    },
    /// More bytes are needed.
    More,
    /// A message is announced that is longer than any that is read: the rest cannot be told apart.
    Lost,
}

/// Takes the first message of a stream.
pub fn frame(bytes: &[u8]) -> Framing<'_> {
    match bytes.first() {
        None => Framing::More,
        // A count never begins with 0, and a message begins with its priority.
        Some(b'1'..=b'9') => counted(bytes),
        Some(_) => line(bytes),
    }
}

fn counted(bytes: &[u8]) -> Framing<'_> {
    let digits = bytes
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .count();
    let Some((count, rest)) = bytes.split_at_checked(digits) else {
        return Framing::More;
    };
    match rest.first() {
        None if digits <= DIGITS_MAX => return Framing::More,
        Some(b' ') if digits <= DIGITS_MAX => {}
        // A line that begins with a digit, as some devices write them.
        _ => return line(bytes),
    }
    let count = str::from_utf8(count)
        .ok()
        .and_then(|count| count.parse().ok());
    let count: usize = count.unwrap_or(usize::MAX);
    if count > FRAME_BYTES_MAX {
        return Framing::Lost;
    }
    let begin = digits.saturating_add(1);
    let end = begin.saturating_add(count);
    match bytes.get(begin..end) {
        Some(message) => Framing::Whole { message, used: end },
        None => Framing::More,
    }
}

fn line(bytes: &[u8]) -> Framing<'_> {
    // Some senders end a message with NUL.
    match memchr::memchr2(b'\n', 0, bytes) {
        Some(at) => Framing::Whole {
            message: bytes.get(..at).unwrap_or_default().trim_ascii_end(),
            used: at.saturating_add(1),
        },
        None if bytes.len() >= FRAME_BYTES_MAX => Framing::Whole {
            message: bytes,
            used: bytes.len(),
        },
        None => Framing::More,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut bytes: &[u8]) -> (Vec<&[u8]>, usize) {
        let mut messages = Vec::new();
        while let Framing::Whole { message, used } = frame(bytes) {
            messages.push(message);
            bytes = &bytes[used..];
        }
        (messages, bytes.len())
    }

    #[test]
    fn counted_messages_and_lines_are_told_apart() {
        assert_eq!(all(b"5 <1>ab6 <1>abc"), (vec![&b"<1>ab"[..], b"<1>abc"], 0));
        assert_eq!(
            all(b"<1>ab\r\n<1>c\n<1>d"),
            (vec![&b"<1>ab"[..], b"<1>c"], 4)
        );
        assert_eq!(all(b"<1>ab\0<1>c\n").0.len(), 2);
    }

    #[test]
    fn what_is_not_there_yet_is_waited_for_and_what_is_too_long_is_not() {
        assert_eq!(frame(b"12"), Framing::More);
        assert_eq!(frame(b"12 <1>"), Framing::More);
        assert_eq!(frame(b"99999 <1>"), Framing::Lost);
        assert_eq!(frame(b""), Framing::More);
    }
}
