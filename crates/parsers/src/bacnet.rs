//! BACnet/IP (ASHRAE 135, annex J): the link header, the network header as far as it must be stepped
//! over, and the service of the application message.

use crate::reader::Reader;

/// What a message asks or answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// A confirmed request: its invoke id and service.
    Request(u8, u8),
    /// An unconfirmed request: its service.
    Unconfirmed(u8),
    /// The answer to an invoke id; the number is the kind of refusal, `None` for success.
    Answer(u8, Option<u8>),
    /// A message of the link or network layer, by its number.
    Control(u8),
}

/// Reads a datagram; `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(bytes);
    let (kind, function) = (reader.u8()?, reader.u8()?);
    let length = usize::from(reader.u16()?);
    if kind != 0x81 || function > 12 || length > bytes.len() || length < 4 {
        return None;
    }
    match function {
        // Forwarded for another device, whose address comes first.
        4 => reader.skip(6)?,
        9..=11 => {}
        _ => return Some(Message::Control(function)),
    }
    if reader.u8()? != 1 {
        return None;
    }
    let control = reader.u8()?;
    for present in [control & 0x20 != 0, control & 8 != 0] {
        if present {
            reader.skip(2)?;
            reader.sub8()?;
        }
    }
    if control & 0x20 != 0 {
        reader.skip(1)?;
    }
    if control & 0x80 != 0 {
        return Some(Message::Control(0x80 | reader.u8()?));
    }
    application(reader)
}

fn application(mut reader: Reader<'_>) -> Option<Message> {
    let head = reader.u8()?;
    Some(match head >> 4 {
        0 => {
            reader.skip(1)?;
            let invoke = reader.u8()?;
            if head & 8 != 0 {
                reader.skip(2)?;
            }
            Message::Request(invoke, reader.u8()?)
        }
        1 => Message::Unconfirmed(reader.u8()?),
        2 | 3 => Message::Answer(reader.u8()?, None),
        kind @ 5..=7 => Message::Answer(reader.u8()?, Some(kind)),
        _ => return None,
    })
}

/// The name of a confirmed service, snake case.
pub const fn service_name(service: u8) -> &'static str {
    match service {
        0..=4 => "alarm_service",
        5 | 28 => "subscribe",
        6 => "read_file",
        7 => "write_file",
        8 => "add_list_element",
        9 => "remove_list_element",
        10 => "create_object",
        11 => "delete_object",
        12 => "read_property",
        14 => "read_property_multiple",
        15 => "write_property",
        16 => "write_property_multiple",
        17 => "communication_control",
        18 => "private_transfer",
        20 => "reinitialize_device",
        26 => "read_range",
        27 => "life_safety_operation",
        _ => "unknown",
    }
}

/// Whether a confirmed service changes the process or the device.
pub const fn is_write(service: u8) -> bool {
    matches!(service, 7..=11 | 15..=17 | 20 | 27)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(Message::Request(_, service)) = parse(bytes) {
        debug_assert!(!service_name(service).is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_routed_restart_and_its_refusal_are_read() {
        let restart = [
            0x81, 0x0a, 0, 17, 1, 0x24, 0, 5, 1, 9, 0xff, 0, 5, 7, 20, 9, 0,
        ];
        assert_eq!(parse(&restart), Some(Message::Request(7, 20)));
        assert_eq!(service_name(20), "reinitialize_device");
        let refused = [0x81, 0x0a, 0, 9, 1, 0, 0x50, 7, 20];
        assert_eq!(parse(&refused), Some(Message::Answer(7, Some(5))));
        let who_is = [0x81, 0x0b, 0, 8, 1, 0, 0x10, 8];
        assert_eq!(parse(&who_is), Some(Message::Unconfirmed(8)));
        assert_eq!(parse(b"GET / HTTP"), None);
    }
}
