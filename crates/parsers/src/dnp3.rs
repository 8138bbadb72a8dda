//! DNP3 (IEEE 1815): link header, transport segment and application header. Objects are read as far
//! as the first one's group and variation.

use crate::reader::Reader;

/// One link frame, with its application header when it begins a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Where it goes.
    pub destination: u16,
    /// Where it comes from.
    pub source: u16,
    /// Whether a master sent it.
    pub from_master: bool,
    /// The application function, when this frame has one.
    pub function: Option<u8>,
    /// Sequence of the application message.
    pub sequence: u8,
    /// Group and variation of the first object: group times 256 plus variation.
    pub object: u16,
    /// Internal indications of a response: 0 when none.
    pub indications: u16,
    /// Bytes of the frame with all checksums.
    pub length: usize,
}

/// Most bytes of a frame that are needed.
pub const WANTED: usize = 18;

/// Reads the frame at the front; `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<Frame> {
    let mut reader = Reader::new(bytes);
    if reader.u16()? != 0x0564 {
        return None;
    }
    let count = usize::from(reader.u8()?);
    let control = reader.u8()?;
    let destination = reader.u16_le()?;
    let source = reader.u16_le()?;
    reader.skip(2)?;
    let data = count.checked_sub(5)?;
    // Every 16 bytes of data have two of checksum.
    let sums = data.div_ceil(16).saturating_mul(2);
    let length = data.saturating_add(sums).saturating_add(10);
    let mut frame = Frame {
        destination,
        source,
        from_master: control & 0x80 != 0,
        function: None,
        sequence: 0,
        object: 0,
        indications: 0,
        length,
    };
    if data >= 3 {
        application(&mut frame, &mut reader);
    }
    Some(frame)
}

fn application(frame: &mut Frame, reader: &mut Reader<'_>) -> Option<()> {
    const FIRST: u8 = 0x40;
    let transport = reader.u8()?;
    if transport & FIRST == 0 {
        return None;
    }
    frame.sequence = reader.u8()? & 15;
    let function = reader.u8()?;
    frame.function = Some(function);
    if function >= 129 {
        frame.indications = reader.u16()?;
    }
    let group = reader.u8()?;
    let variation = reader.u8()?;
    frame.object = (u16::from(group) << 8) | u16::from(variation);
    Some(())
}

/// The specification's name of a function, snake case.
pub const fn function_name(function: u8) -> &'static str {
    match function {
        0 => "confirm",
        1 => "read",
        2 => "write",
        3 => "select",
        4 => "operate",
        5 => "direct_operate",
        6 => "direct_operate_nr",
        7 => "immed_freeze",
        8 => "immed_freeze_nr",
        9 => "freeze_clear",
        10 => "freeze_clear_nr",
        11 => "freeze_at_time",
        12 => "freeze_at_time_nr",
        13 => "cold_restart",
        14 => "warm_restart",
        15 => "initialize_data",
        16 => "initialize_appl",
        17 => "start_appl",
        18 => "stop_appl",
        19 => "save_config",
        20 => "enable_unsolicited",
        21 => "disable_unsolicited",
        22 => "assign_class",
        23 => "delay_measure",
        24 => "record_current_time",
        25 => "open_file",
        26 => "close_file",
        27 => "delete_file",
        28 => "get_file_info",
        29 => "authenticate_file",
        30 => "abort_file",
        31 => "activate_config",
        32 => "authenticate_req",
        33 => "authenticate_err",
        129 => "response",
        130 => "unsolicited_response",
        131 => "authenticate_resp",
        _ => "unknown",
    }
}

/// Whether a function changes the process or the outstation.
pub const fn is_write(function: u8) -> bool {
    matches!(function, 2..=6 | 9 | 10 | 13..=19 | 21 | 22 | 27 | 31)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(frame) = parse(bytes) {
        debug_assert!((10..=292).contains(&frame.length));
        debug_assert!(
            frame
                .function
                .is_none_or(|code| !function_name(code).is_empty())
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_and_a_response_are_read() {
        let ask = [
            5, 0x64, 11, 0xc4, 3, 0, 4, 0, 0, 0, 0xc1, 0xc2, 5, 12, 1, 0x28, 0, 0,
        ];
        let frame = parse(&ask).unwrap();
        assert_eq!(
            (frame.destination, frame.source, frame.from_master),
            (3, 4, true)
        );
        assert_eq!(
            (frame.function, frame.object, frame.length),
            (Some(5), 0x0c01, 18)
        );
        assert!(is_write(5) && !is_write(1));
        let link = parse(&[5, 0x64, 5, 0x49, 3, 0, 4, 0, 0, 0]).unwrap();
        assert_eq!((link.function, link.length), (None, 10));
    }
}
