//! S7 communication (Siemens' protocol over ISO on TCP: RFC 1006, ISO 8073). Not published; numbers
//! as Wireshark's dissector documents them.

use crate::reader::Reader;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Bytes with the TPKT header.
    pub length: usize,
    /// The S7 part, when there is one.
    pub job: Option<Job>,
}

/// The S7 header and function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Job {
    /// 1 a request, 2 and 3 answers, 7 user data.
    pub kind: u8,
    /// Ties an answer to its request.
    pub reference: u16,
    /// The function.
    pub function: u8,
    /// How many items a read or write has; of user data the subfunction.
    pub items: u8,
    /// Error class and code of an answer; 0 when it succeeded.
    pub error: u16,
}

/// Most bytes of a message that are needed.
pub const WANTED: usize = 24;

/// Length of the TPKT message at the front; `None` when the header is cut or it is none.
pub fn tpkt_length(bytes: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(bytes);
    let version = reader.u8()?;
    let reserved = reader.u8()?;
    let length = usize::from(reader.u16()?);
    (version == 3 && reserved == 0 && length >= 7).then_some(length)
}

/// Reads the message at the front; `None` when it is none.
pub fn parse(bytes: &[u8]) -> Option<Message> {
    const DATA: u8 = 0xf0;
    let length = tpkt_length(bytes)?;
    let mut reader = Reader::new(bytes);
    reader.skip(4)?;
    let header = usize::from(reader.u8()?);
    if reader.u8()? != DATA {
        return Some(Message { length, job: None });
    }
    reader.skip(header.checked_sub(1)?)?;
    Some(Message {
        length,
        job: job(reader),
    })
}

fn job(mut reader: Reader<'_>) -> Option<Job> {
    if reader.u8()? != 0x32 {
        return None;
    }
    let kind = reader.u8()?;
    reader.skip(2)?;
    let reference = reader.u16()?;
    let parameters = reader.u16()?;
    reader.skip(2)?;
    let error = if matches!(kind, 2 | 3) {
        reader.u16()?
    } else {
        0
    };
    if kind == 7 {
        // User data: the group and subfunction stand behind a fixed head of five bytes.
        reader.skip(5)?;
        let function = reader.u8()?;
        let items = reader.u8().unwrap_or_default();
        return Some(Job {
            kind,
            reference,
            function,
            items,
            error,
        });
    }
    if parameters == 0 {
        return Some(Job {
            kind,
            reference,
            function: 0,
            items: 0,
            error,
        });
    }
    let function = reader.u8()?;
    let items = reader.u8().unwrap_or_default();
    Some(Job {
        kind,
        reference,
        function,
        items,
        error,
    })
}

/// The name of a function, snake case.
pub const fn function_name(function: u8) -> &'static str {
    match function {
        0x00 => "cpu_services",
        0x04 => "read_variable",
        0x05 => "write_variable",
        0x1a => "request_download",
        0x1b => "download_block",
        0x1c => "download_ended",
        0x1d => "start_upload",
        0x1e => "upload",
        0x1f => "end_upload",
        0x28 => "plc_control",
        0x29 => "plc_stop",
        0xf0 => "setup_communication",
        _ => "unknown",
    }
}

/// The name of a request of user data: by the group in the low half of `function` and the subfunction.
pub const fn user_name(function: u8, subfunction: u8) -> &'static str {
    match (function & 15, subfunction) {
        (1, _) => "program_test",
        (2, _) => "cyclic_data",
        (3, _) => "block_list",
        (4, 1) => "identify_system",
        (5, _) => "password",
        (7, 2 | 3) => "set_clock",
        (7, _) => "read_clock",
        (15, _) => "numeric_control",
        _ => "user_data",
    }
}

/// Whether user data is a request; the other kinds are answers and pushed values.
pub const fn is_user_request(function: u8) -> bool {
    function >> 4 == 4
}

/// Whether a function changes the process or the controller.
pub const fn is_write(function: u8) -> bool {
    matches!(function, 0x05 | 0x1a..=0x1c | 0x28 | 0x29)
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    if let Some(Message { length, job }) = parse(bytes) {
        debug_assert!(length >= 7);
        debug_assert!(job.is_none_or(|job| !function_name(job.function).is_empty()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_known() {
        let bytes = [
            3, 0, 0, 36, 2, 0xf0, 0x80, 0x32, 1, 0, 0, 0, 5, 0, 14, 0, 5, 5, 1, 0x12, 10, 16, 2, 0,
        ];
        let job = parse(&bytes).unwrap().job.unwrap();
        assert_eq!(
            (job.kind, job.reference, job.function, job.items),
            (1, 5, 5, 1)
        );
        assert!(is_write(job.function));
        assert_eq!(parse(b"GET / HTTP"), None);
    }
}
