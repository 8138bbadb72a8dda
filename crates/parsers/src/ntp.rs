//! NTP (RFC 5905), its control messages (RFC 9327, mode 6) and the reference implementation's private
//! ones (mode 7), which give long answers to short questions.
//!
//! Must not: read the times. Only who asks for what matters here.

use crate::Reader;

/// Length of a time message without extensions.
const TIME_LEN: usize = 48;

/// What a datagram is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Modes 1 to 5: the ordinary exchange of times.
    Time {
        /// The mode.
        mode: u8,
        /// The time of the request that is answered; zero in a first request.
        originate: u64,
        /// When it was sent.
        transmit: u64,
    },
    /// Modes 6 and 7.
    Control {
        /// The mode.
        mode: u8,
        /// Whether it answers.
        response: bool,
        /// Operation (mode 6) or request code (mode 7).
        code: u8,
        /// Whether the server refused.
        failed: bool,
    },
}

impl Message {
    /// The name of a control or private operation; empty when it has none here.
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Control { mode: 6, code, .. } => match code {
                1 => "readstat",
                2 => "readvar",
                3 => "writevar",
                4 => "readclock",
                5 => "writeclock",
                6 => "settrap",
                7 => "asyncmsg",
                8 => "configure",
                9 => "saveconfig",
                10 => "read_mru",
                11 => "read_ordlist",
                12 => "req_nonce",
                31 => "unsettrap",
                _ => "",
            },
            Self::Control { mode: 7, code, .. } => match code {
                0 => "peer_list",
                1 => "peer_list_sum",
                2 => "peer_info",
                4 => "sys_info",
                16 => "get_restrict",
                20 | 42 => "monlist",
                _ => "",
            },
            _ => "",
        }
    }
}

/// Reads a datagram; `None` when its fixed fields cannot be NTP's. A time message has no mark of its
/// own: the caller needs more than this to be sure of one.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(bytes);
    let first = reader.u8()?;
    let (version, mode) = ((first >> 3) & 7, first & 7);
    if !(1..=4).contains(&version) {
        return None;
    }
    match mode {
        1..=5 => time(bytes, mode),
        6 => {
            let second = reader.u8()?;
            reader.skip(8)?;
            let count = usize::from(reader.u16()?);
            let known = matches!(second & 31, 0..=12 | 31);
            // The data is padded to four bytes and may be followed by a key's digest.
            let fits = (count..=count.saturating_add(28)).contains(&reader.len());
            (version >= 2 && first & 0xc0 == 0 && known && fits).then_some(Message::Control {
                mode,
                response: second & 0x80 != 0,
                code: second & 31,
                failed: second & 0x40 != 0,
            })
        }
        7 => {
            reader.skip(1)?;
            let (implementation, code) = (reader.u8()?, reader.u8()?);
            let (items, size) = (reader.u16()?, reader.u16()?);
            let response = first & 0x80 != 0;
            let data = usize::from(items & 0xfff).checked_mul(usize::from(size & 0xfff))?;
            let fits = matches!(implementation, 0 | 2 | 3)
                && code <= 45
                && size & 0xf000 == 0
                && data <= 500
                && (!response || reader.len() >= data);
            fits.then_some(Message::Control {
                mode,
                response,
                code,
                failed: response && items >> 12 != 0,
            })
        }
        _ => None,
    }
}

fn time(bytes: &[u8], mode: u8) -> Option<Message> {
    let mut reader = Reader::new(bytes);
    let [_, stratum, poll, precision] = reader.array()?;
    let length = bytes.len() >= TIME_LEN && bytes.len().is_multiple_of(4) && bytes.len() <= 1024;
    // Powers of two of seconds: a poll of at most 2^17, a clock no coarser than some seconds.
    let plausible =
        stratum <= 16 && (poll <= 17 || poll >= 0xf0) && (precision <= 8 || precision >= 0xd0);
    if !length || !plausible {
        return None;
    }
    reader.skip(20)?;
    let originate = reader.u64()?;
    reader.skip(8)?;
    Some(Message::Time {
        mode,
        originate,
        transmit: reader.u64()?,
    })
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(Message::Time { mode, .. }) = parse(bytes) {
        debug_assert!((1..=5).contains(&mode));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_times_from_control() {
        let mut request = [0_u8; 48];
        request[0] = 0x23;
        assert!(matches!(
            parse(&request),
            Some(Message::Time { mode: 3, .. })
        ));
        let monlist = b"\x17\0\x03\x2a\0\0\0\0";
        assert_eq!(
            parse(monlist).map(|found| found.operation()),
            Some("monlist")
        );
        let readvar = b"\x16\x02\0\x01\0\0\0\0\0\0\0\0";
        assert_eq!(
            parse(readvar).map(|found| found.operation()),
            Some("readvar")
        );
        request[1] = 99;
        assert_eq!(parse(&request), None, "no such stratum");
    }
}
