//! FINS, the protocol of Omron's controllers (*FINS Commands Reference Manual*, W227), over UDP and
//! behind the header of FINS/TCP (*Ethernet Units*, W421).

use crate::reader::Reader;

/// One command or its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether it is an answer.
    pub response: bool,
    /// Ties an answer to its command.
    pub id: u8,
    /// The unit it goes to: network and node.
    pub unit: u16,
    /// The command: main and sub request code.
    pub command: u16,
    /// End code of an answer; 0 is success.
    pub end: u16,
}

/// Bytes of the head of FINS/TCP.
pub const TCP_HEAD: usize = 16;
/// Most bytes of a frame that are needed.
pub const WANTED: usize = 14;

/// Reads a frame; `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<Frame> {
    let mut reader = Reader::new(bytes);
    let control = reader.u8()?;
    let (reserved, gateways) = (reader.u8()?, reader.u8()?);
    let unit = reader.u16()?;
    reader.skip(1)?;
    reader.skip(3)?;
    let id = reader.u8()?;
    let command = reader.u16()?;
    let plausible = control & 0x3e == 0
        && control & 0x80 != 0
        && reserved == 0
        && gateways <= 7
        && command_name(command) != "unknown";
    let response = control & 0x40 != 0;
    plausible.then(|| Frame {
        response,
        id,
        unit,
        command,
        end: if response {
            reader.u16().unwrap_or_default() & 0x7f3f
        } else {
            0
        },
    })
}

/// Length of the FINS/TCP message at the front, with its head, and whether it carries a frame; `None`
/// when it is none.
pub fn tcp_length(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut reader = Reader::new(bytes);
    if reader.take(4)? != b"FINS" {
        return None;
    }
    let length = usize::try_from(reader.u32()?).ok()?;
    let command = reader.u32()?;
    ((8..=4096).contains(&length) && command <= 6)
        .then_some((length.saturating_add(8), command == 2))
}

/// What a command does, snake case.
pub const fn command_name(command: u16) -> &'static str {
    match command {
        0x0101 | 0x0104 => "memory_read",
        0x0102 | 0x0103 | 0x0105 => "memory_write",
        0x0201 => "parameter_read",
        0x0202 | 0x0203 => "parameter_write",
        0x0306 => "program_upload",
        0x0307 | 0x0308 => "program_download",
        0x0401 => "change_mode_run",
        0x0402 => "change_mode_stop",
        0x0403 => "reset_controller",
        0x0501 | 0x0502 => "identify_controller",
        0x0601 | 0x0620 => "status_read",
        0x0701 => "clock_read",
        0x0702 => "set_clock",
        0x0801 | 0x0802 => "test",
        0x0920 => "message",
        0x0c01..=0x0c03 => "access_right",
        0x2101..=0x2103 => "error_log",
        0x2201 | 0x2202 => "file_read",
        0x2203..=0x220c => "file_write",
        0x2301 | 0x2302 => "force_bits",
        _ => "unknown",
    }
}

/// Whether a command changes the process or the controller.
pub const fn is_write(command: u16) -> bool {
    matches!(
        command,
        0x0102 | 0x0103 | 0x0105 | 0x0202 | 0x0203 | 0x0307 | 0x0308 | 0x0401..=0x0403 | 0x0702
            | 0x0c01..=0x0c03 | 0x2203..=0x220c | 0x2301 | 0x2302
    )
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(frame) = parse(bytes) {
        debug_assert!(command_name(frame.command) != "unknown");
    }
    debug_assert!(tcp_length(bytes).is_none_or(|(length, _)| length >= TCP_HEAD));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_and_a_refused_write_are_read() {
        let stop = [0x80, 0, 2, 0, 1, 0, 0, 9, 0, 5, 4, 2];
        let frame = parse(&stop).unwrap();
        assert_eq!(
            (command_name(frame.command), frame.id, frame.response),
            ("change_mode_stop", 5, false)
        );
        let refused = [0xc0, 0, 2, 0, 9, 0, 0, 1, 0, 5, 1, 2, 0x21, 1];
        assert_eq!(parse(&refused).unwrap().end, 0x2101);
        assert_eq!(parse(b"GET / HTTP/1.1"), None);
        let head = [b'F', b'I', b'N', b'S', 0, 0, 0, 20, 0, 0, 0, 2, 0, 0, 0, 0];
        assert_eq!(tcp_length(&head), Some((28, true)));
    }
}
