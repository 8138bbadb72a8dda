//! Modbus/TCP (Modbus Messaging on TCP/IP Implementation Guide 1.0b; Application Protocol 1.1b3).

use crate::reader::Reader;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Ties a response to its request.
    pub transaction: u16,
    /// The unit.
    pub unit: u8,
    /// Function code, without the error bit.
    pub function: u8,
    /// The exception code of an error response.
    pub exception: Option<u8>,
    /// First register or coil of a request.
    pub address: u16,
    /// How many, as a request asks.
    pub quantity: u16,
    /// Bytes of the message with its header.
    pub length: usize,
}

/// Bytes needed to read a message.
pub const WANTED: usize = 12;

/// Reads the message at the front: `None` when it is none. Twelve bytes, or the whole of a shorter
/// message, are enough.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    let mut reader = Reader::new(bytes);
    let transaction = reader.u16()?;
    let protocol = reader.u16()?;
    let length = usize::from(reader.u16()?);
    // 253 bytes of data at most; some controllers send a little more.
    if protocol != 0 || !(2..=300).contains(&length) {
        return None;
    }
    let unit = reader.u8()?;
    let code = reader.u8()?;
    // Function 0 is no valid one, yet those who try all functions begin with it.
    let function = code & 0x7f;
    let exception = if code & 0x80 == 0 {
        None
    } else {
        Some(reader.u8()?)
    };
    let address = reader.u16().unwrap_or_default();
    let second = reader.u16().unwrap_or_default();
    let quantity = if matches!(function, 5 | 6 | 22) {
        1
    } else {
        second
    };
    let length = length.saturating_add(6);
    Some(Message {
        transaction,
        unit,
        function,
        exception,
        address,
        quantity,
        length,
    })
}

/// The specification's name of a function, snake case.
pub const fn function_name(function: u8) -> &'static str {
    match function {
        1 => "read_coils",
        2 => "read_discrete_inputs",
        3 => "read_holding_registers",
        4 => "read_input_registers",
        5 => "write_single_coil",
        6 => "write_single_register",
        7 => "read_exception_status",
        8 => "diagnostics",
        11 => "get_comm_event_counter",
        12 => "get_comm_event_log",
        15 => "write_multiple_coils",
        16 => "write_multiple_registers",
        17 => "report_server_id",
        20 => "read_file_record",
        21 => "write_file_record",
        22 => "mask_write_register",
        23 => "read_write_multiple_registers",
        24 => "read_fifo_queue",
        43 => "encapsulated_interface_transport",
        90 => "schneider_umas",
        _ => "unknown",
    }
}

/// The name of a request: that of its function, or where that has functions of its own (`address` is
/// their number then), theirs.
pub const fn request_name(function: u8, address: u16) -> &'static str {
    match (function, address) {
        (8, 0) => "return_query_data",
        (8, 1) => "restart_communications",
        (8, 2) => "return_diagnostic_register",
        (8, 3) => "change_ascii_delimiter",
        (8, 4) => "force_listen_only",
        (8, 10 | 20) => "clear_counters",
        (8, 11..=18) => "return_counters",
        (43, _) if address >> 8 == 14 => "read_device_identification",
        _ => function_name(function),
    }
}

/// Whether a function changes the process or the controller. Diagnostics can restart it.
pub const fn is_write(function: u8) -> bool {
    matches!(function, 5 | 6 | 8 | 15 | 16 | 21 | 22 | 23 | 90)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(message) = parse(bytes) {
        debug_assert!(message.length >= 8 && !function_name(message.function).is_empty());
        debug_assert!(!is_write(message.function) || message.function >= 5);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_and_an_exception_are_read() {
        let write = parse(&[0, 1, 0, 0, 0, 6, 17, 6, 0, 40, 0, 9]).unwrap();
        assert_eq!((write.function, write.address, write.quantity), (6, 40, 1));
        assert!(is_write(write.function));
        let refused = parse(&[0, 1, 0, 0, 0, 3, 17, 0x86, 2]).unwrap();
        assert_eq!((refused.function, refused.exception), (6, Some(2)));
        assert_eq!(parse(b"GET / HTTP/1"), None);
    }
}
