//! IEC 60870-5-104: frames of telecontrol over TCP, with the type and cause of the application
//! message inside (IEC 60870-5-101, 7.2).

use crate::reader::Reader;

/// One frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Bytes of the frame with its head.
    pub length: usize,
    /// The application message, when the frame carries one.
    pub message: Option<Message>,
}

/// The head of an application message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Type identification.
    pub kind: u8,
    /// Objects it speaks of.
    pub objects: u8,
    /// Cause of transmission, without the test and the negative bit.
    pub cause: u8,
    /// Whether it is a negative confirmation.
    pub negative: bool,
    /// Common address of the station.
    pub station: u16,
    /// Address of the first object.
    pub object: u32,
}

/// Most bytes of a frame that are needed.
pub const WANTED: usize = 15;

/// Reads the frame at the front; `None` when it is none. Fifteen bytes, or the whole of a shorter
/// frame, are enough.
pub fn parse(bytes: &[u8]) -> Option<Frame> {
    let mut reader = Reader::new(bytes);
    let start = reader.u8()?;
    let count = usize::from(reader.u8()?);
    let [first, second, third, fourth]: [u8; 4] = reader.array()?;
    let numbered = first & 1 == 0;
    let plausible = match first & 3 {
        // An unnumbered frame says one thing and has no numbers.
        3 => {
            count == 4
                && (second, third, fourth) == (0, 0, 0)
                && matches!(first, 0x07 | 0x0b | 0x13 | 0x23 | 0x43 | 0x83)
        }
        1 => count == 4 && (first, second) == (1, 0) && third & 1 == 0,
        _ => (10..=253).contains(&count) && third & 1 == 0,
    };
    if start != 0x68 || !plausible {
        return None;
    }
    Some(Frame {
        length: count.saturating_add(2),
        message: if numbered { message(&mut reader) } else { None },
    })
}

fn message(reader: &mut Reader<'_>) -> Option<Message> {
    let kind = reader.u8()?;
    let objects = reader.u8()? & 0x7f;
    let cause = reader.u8()?;
    reader.skip(1)?;
    let station = reader.u16_le()?;
    let [low, middle, high] = reader.array()?;
    Some(Message {
        kind,
        objects,
        cause: cause & 0x3f,
        negative: cause & 0x40 != 0,
        station,
        object: u32::from_le_bytes([low, middle, high, 0]),
    })
}

/// What a type of message does, snake case.
pub const fn kind_name(kind: u8) -> &'static str {
    match kind {
        1..=44 => "monitor",
        45 | 58 => "single_command",
        46 | 59 => "double_command",
        47 | 60 => "regulating_step",
        48..=50 | 61..=63 => "set_point",
        51 | 64 => "bitstring_command",
        70 => "end_of_initialisation",
        100 => "interrogation",
        101 => "counter_interrogation",
        102 => "read",
        103 => "clock_synchronisation",
        104 | 107 => "test",
        105 => "reset_process",
        106 => "delay_acquisition",
        110..=112 => "set_parameter",
        113 => "activate_parameter",
        120 | 121 | 122 | 124 | 126 => "file_directory",
        123 | 125 | 127 => "file_transfer",
        _ => "unknown",
    }
}

/// Whether a type of message, sent by the controlling station, changes the process or the station.
pub const fn is_write(kind: u8) -> bool {
    matches!(kind, 45..=64 | 103 | 105 | 110..=113 | 123 | 125)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(frame) = parse(bytes) {
        debug_assert!((6..=255).contains(&frame.length));
        debug_assert!(
            frame
                .message
                .is_none_or(|it| !kind_name(it.kind).is_empty())
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_and_a_start_are_read() {
        let command = [
            0x68, 14, 2, 0, 4, 0, 45, 1, 6, 0, 10, 0, 0x88, 0x13, 0, 0x81,
        ];
        let frame = parse(&command).unwrap();
        let message = frame.message.unwrap();
        assert_eq!(
            (message.kind, message.cause, message.station, message.object),
            (45, 6, 10, 5000)
        );
        assert!(is_write(message.kind) && frame.length == 16);
        let start = parse(&[0x68, 4, 7, 0, 0, 0]).unwrap();
        assert_eq!((start.length, start.message), (6, None));
        assert_eq!(parse(b"hello world, this"), None);
    }
}
