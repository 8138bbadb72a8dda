//! A message as a program wrote it, with or without the priority that only travels on the wire.

/// Longest name of a program that is kept, in bytes.
const PROGRAM_BYTES_MAX: usize = 48;
/// Longest name of a host that is kept, in bytes.
const HOST_BYTES_MAX: usize = 255;

/// When a message was written, as far as it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stamp<'a> {
    /// Not said.
    None,
    /// With date and zone (RFC 3339).
    Full(&'a str),
    /// Without a year and a zone (RFC 3164).
    Local {
        /// 1 to 12.
        month: u8,
        /// 1 to 31.
        day: u8,
        /// Hour, minute and second.
        time: [u8; 3],
    },
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Facility and severity, where they are told.
    pub priority: Option<u8>,
    /// When it was written.
    pub stamp: Stamp<'a>,
    /// On which host; empty when not said.
    pub host: &'a str,
    /// By which program; empty when not said.
    pub program: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// Reads a message; `None` when it is not text, or holds no words.
pub fn message(bytes: &[u8]) -> Option<Message<'_>> {
    let text = readable(bytes).trim_ascii();
    let (priority, rest) = priority(text);
    let message = match rest
        .strip_prefix("1 ")
        .and_then(|rest| structured(priority, rest))
    {
        Some(message) => message,
        None => plain(priority, rest),
    };
    let has_words = message
        .text
        .bytes()
        .any(|byte| byte.is_ascii_alphanumeric());
    has_words.then_some(message)
}

/// The bytes up to the first that is no text.
fn readable(bytes: &[u8]) -> &str {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => {
            let good = bytes.get(..error.valid_up_to()).unwrap_or_default();
            str::from_utf8(good).unwrap_or_default()
        }
    }
}

fn priority(text: &str) -> (Option<u8>, &str) {
    let read = || {
        let (digits, rest) = text.strip_prefix('<')?.split_once('>')?;
        let priority: u8 = digits.parse().ok().filter(|priority| *priority <= 191)?;
        (digits.len() <= 3).then_some((Some(priority), rest))
    };
    read().unwrap_or((None, text))
}

/// RFC 5424, behind its version.
fn structured(priority: Option<u8>, text: &str) -> Option<Message<'_>> {
    priority?;
    let mut words = text.splitn(6, ' ');
    let (time, host, program) = (words.next()?, words.next()?, words.next()?);
    let (_process, _id, rest) = (
        words.next()?,
        words.next()?,
        words.next().unwrap_or_default(),
    );
    let said = |word| if word == "-" { "" } else { word };
    Some(Message {
        priority,
        stamp: if time == "-" {
            Stamp::None
        } else {
            Stamp::Full(time)
        },
        host: short(said(host), HOST_BYTES_MAX),
        program: short(said(program), PROGRAM_BYTES_MAX),
        text: behind_data(rest).trim_start_matches('\u{feff}'),
    })
}

/// What stands behind the structured data.
fn behind_data(text: &str) -> &str {
    if let Some(rest) = text.strip_prefix('-') {
        return rest.trim_start();
    }
    let (mut is_quoted, mut is_escaped, mut is_inside) = (false, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'[' if !is_quoted => is_inside = true,
            b']' if !is_quoted => is_inside = false,
            _ if is_inside || is_quoted => {}
            _ => return text.get(at..).unwrap_or_default().trim_start(),
        }
    }
    ""
}

/// RFC 3164, or a line of a file: time, host, program, text.
fn plain(priority: Option<u8>, text: &str) -> Message<'_> {
    let (stamp, rest) = stamp(text);
    let mut message = Message {
        priority,
        stamp,
        host: "",
        program: "",
        text: rest,
    };
    if stamp == Stamp::None {
        // Some devices leave time and host out.
        if let Some((program, text)) = tag(rest) {
            (message.program, message.text) = (program, text);
        }
        return message;
    }
    let (first, behind) = rest.split_once(' ').unwrap_or((rest, ""));
    match (tag(behind), tag(rest)) {
        // Programs that write to /dev/log name no host: what ends like a tag is one.
        (_, Some((program, text))) if first.ends_with(':') => {
            (message.program, message.text) = (program, text);
        }
        (Some((program, text)), _) => {
            message.host = short(first, HOST_BYTES_MAX);
            (message.program, message.text) = (program, text);
        }
        (None, _) => {
            message.host = short(first, HOST_BYTES_MAX);
            message.text = behind;
        }
    }
    message
}

/// `program[123]: text`, `program: text`.
fn tag(text: &str) -> Option<(&str, &str)> {
    let end = text
        .bytes()
        .position(|byte| matches!(byte, b':' | b'[' | b' '))?;
    let (program, rest) = text.split_at_checked(end)?;
    let rest = match rest.strip_prefix('[') {
        Some(process) => process.split_once(']')?.1.strip_prefix(':')?,
        None => rest.strip_prefix(':')?,
    };
    let named = !program.is_empty() && program.len() <= PROGRAM_BYTES_MAX;
    named.then_some((program, rest.trim_start()))
}

fn stamp(text: &str) -> (Stamp<'_>, &str) {
    let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
    let is_date = matches!(
        first.as_bytes(),
        [b'1'..=b'2', _, _, _, b'-', _, _, b'-', ..]
    );
    if is_date && first.contains('T') {
        return (Stamp::Full(first), rest.trim_start());
    }
    local(text).unwrap_or((Stamp::None, text))
}

/// `Oct 11 22:14:15`, also with fractions behind.
fn local(text: &str) -> Option<(Stamp<'_>, &str)> {
    let (name, rest) = text.split_once(' ')?;
    let month = super::MONTHS
        .iter()
        .position(|month| *month == name.as_bytes())?;
    let (day, rest) = rest.trim_start().split_once(' ')?;
    let (clock, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let whole = clock.split('.').next()?;
    let mut parts = whole.split(':').map(|part| part.parse::<u8>().ok());
    let time = [parts.next()??, parts.next()??, parts.next()??];
    let day: u8 = day.parse().ok()?;
    let [hour, minute, second] = time;
    let is_time = (1..=31).contains(&day) && hour < 24 && minute < 60 && second <= 60;
    let stamp = Stamp::Local {
        month: u8::try_from(month).ok()?.saturating_add(1),
        day,
        time,
    };
    is_time.then(|| (stamp, rest.trim_start()))
}

fn short(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(line: &str) -> (String, String, String) {
        let read = message(line.as_bytes()).unwrap();
        (read.host.into(), read.program.into(), read.text.into())
    }

    fn of(host: &str, program: &str, text: &str) -> (String, String, String) {
        (host.into(), program.into(), text.into())
    }

    #[test]
    fn both_formats_and_lines_of_files_say_the_same() {
        let wanted = of("gate", "sshd", "Server listening");
        for line in [
            "<38>Oct  1 22:14:15 gate sshd[12]: Server listening",
            "Oct 11 22:14:15 gate sshd[12]: Server listening",
            "2024-05-06T10:00:00.123456+02:00 gate sshd[12]: Server listening",
            "<38>1 2003-10-11T22:14:15.003Z gate sshd 12 - - Server listening",
            "<38>1 2003-10-11T22:14:15.003Z gate sshd 12 ID47 [a@1 b=\"c ] \\\" d\"][x] Server listening",
        ] {
            assert_eq!(parts(line), wanted, "{line}");
        }
        let local = "<38>Oct 11 22:14:15 sshd[12]: Server listening";
        assert_eq!(parts(local), of("", "sshd", "Server listening"));
        assert_eq!(
            parts("<38>sshd: Server listening"),
            of("", "sshd", "Server listening")
        );
    }

    #[test]
    fn a_time_is_read_as_it_stands() {
        let read = message(b"Oct 11 22:14:15 gate su: x").unwrap();
        let wanted = Stamp::Local {
            month: 10,
            day: 11,
            time: [22, 14, 15],
        };
        assert_eq!(read.stamp, wanted);
        let read = message(b"Oct 41 22:14:15 gate su: x").unwrap();
        assert_eq!(read.stamp, Stamp::None);
    }

    #[test]
    fn what_holds_no_words_is_no_message() {
        assert_eq!(message(b""), None);
        assert_eq!(message(b"<13>"), None);
        assert_eq!(message(b"\xff\xfe"), None);
    }
}
