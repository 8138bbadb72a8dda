//! EtherNet/IP encapsulation and the CIP services inside (ODVA, *The CIP Networks Library* volumes 1
//! and 2). Numbers of vendor classes as Wireshark's dissector and Rockwell's *Logix 5000 Controllers
//! Data Access* (1756-PM020) and *DF1 Protocol and Command Set* (1770-6.5.16) document them.
//!
//! Reads the header, the common packet format, the router's services also where several share a
//! packet or one is wrapped in an unconnected send, and PCCC commands inside. Never the data.

use crate::reader::Reader;

/// Bytes of the encapsulation header.
pub const HEADER: usize = 24;
/// Most services told of one message.
const CALLS_MAX: usize = 32;
/// How deep services may be wrapped into one another.
const DEPTH_MAX: u8 = 3;

/// The encapsulation header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Encapsulation command.
    pub command: u16,
    /// Status: 0 in requests.
    pub status: u32,
    /// Bytes of the message with its header.
    pub length: usize,
}

/// One CIP service request or response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Call {
    /// The service, without the response bit.
    pub service: u8,
    /// Whether it is a response.
    pub response: bool,
    /// General status of a response; 0 is success.
    pub status: u8,
    /// First class of the request's path; 0 where the path is symbolic or absent.
    pub class: u16,
    /// First instance of the path.
    pub instance: u32,
    /// Whether the path names a tag.
    pub symbolic: bool,
    /// Command and function of a PCCC command inside.
    pub pccc: Option<(u8, u8)>,
}

/// Reads the encapsulation header at the front; `None` when it is none.
pub fn header(bytes: &[u8]) -> Option<Header> {
    let mut reader = Reader::new(bytes);
    let command = reader.u16_le()?;
    let length = usize::from(reader.u16_le()?);
    reader.skip(4)?;
    let status = reader.u32_le()?;
    reader.skip(8)?;
    let options = reader.u32_le()?;
    let known = matches!(command, 0 | 1 | 4 | 0x63..=0x66 | 0x6f | 0x70 | 0x72 | 0x73);
    (known && options == 0 && status <= 0xffff).then_some(Header {
        command,
        status,
        length: length.saturating_add(HEADER),
    })
}

/// The services of a whole message, at most 32.
pub fn calls(message: &[u8]) -> Vec<Call> {
    let mut found = Vec::new();
    if let Some(header) = header(message)
        && matches!(header.command, 0x6f | 0x70)
    {
        let body = message.get(HEADER..header.length.min(message.len()));
        items(Reader::new(body.unwrap_or_default()), &mut found);
    }
    found
}

/// The common packet format: a list of items, one of which carries the service.
fn items(mut reader: Reader<'_>, found: &mut Vec<Call>) -> Option<()> {
    const CONNECTED: u16 = 0xb1;
    const UNCONNECTED: u16 = 0xb2;
    reader.skip(6)?;
    let count = reader.u16_le()?;
    for _ in 0..count.min(8) {
        let kind = reader.u16_le()?;
        let length = usize::from(reader.u16_le()?);
        let mut data = Reader::new(reader.take_up_to(length));
        match kind {
            CONNECTED => {
                data.skip(2)?;
                service(data, DEPTH_MAX, found);
            }
            UNCONNECTED => {
                service(data, DEPTH_MAX, found);
            }
            _ => {}
        }
    }
    Some(())
}

fn service(mut reader: Reader<'_>, depth: u8, found: &mut Vec<Call>) -> Option<()> {
    const MULTIPLE: u8 = 0x0a;
    const UNCONNECTED_SEND: u8 = 0x52;
    const EXECUTE_PCCC: u8 = 0x4b;
    if found.len() >= CALLS_MAX || depth == 0 {
        return None;
    }
    let below = depth.saturating_sub(1);
    let code = reader.u8()?;
    let mut call = Call {
        service: code & 0x7f,
        response: code & 0x80 != 0,
        ..Call::default()
    };
    if call.response {
        reader.skip(1)?;
        call.status = reader.u8()?;
        let more = usize::from(reader.u8()?).saturating_mul(2);
        reader.skip(more)?;
        if call.service == MULTIPLE {
            several(reader, below, found);
        } else {
            found.push(call);
        }
        return Some(());
    }
    let words = usize::from(reader.u8()?);
    path(
        Reader::new(reader.take(words.saturating_mul(2))?),
        &mut call,
    );
    match (call.class, call.service) {
        (_, MULTIPLE) => {
            several(reader, below, found);
        }
        (CONNECTION_MANAGER, UNCONNECTED_SEND) => {
            reader.skip(2)?;
            let length = usize::from(reader.u16_le()?);
            service(Reader::new(reader.take_up_to(length)), below, found);
        }
        (PCCC, EXECUTE_PCCC) => {
            let requester = usize::from(reader.u8()?);
            reader.skip(requester.saturating_sub(1))?;
            let command = reader.u8()?;
            reader.skip(3)?;
            call.pccc = Some((command & 0x0f, reader.u8().unwrap_or_default()));
            found.push(call);
        }
        _ => found.push(call),
    }
    Some(())
}

/// The services of a multiple service packet.
fn several(reader: Reader<'_>, depth: u8, found: &mut Vec<Call>) -> Option<()> {
    let all = reader.rest();
    let mut offsets = reader;
    let count = usize::from(offsets.u16_le()?);
    for _ in 0..count.min(CALLS_MAX) {
        let at = usize::from(offsets.u16_le()?);
        service(Reader::new(all.get(at..)?), depth, found);
    }
    Some(())
}

/// The first class and instance of an encoded path.
fn path(mut reader: Reader<'_>, call: &mut Call) -> Option<()> {
    loop {
        let segment = reader.u8()?;
        let value = match segment {
            // A logical segment of eight, sixteen or thirty-two bits; the wider ones are padded.
            0x20..=0x3f => match segment & 3 {
                0 => u32::from(reader.u8()?),
                1 => {
                    reader.skip(1)?;
                    u32::from(reader.u16_le()?)
                }
                2 => {
                    reader.skip(1)?;
                    reader.u32_le()?
                }
                _ => return None,
            },
            0x91 => {
                call.symbolic |= call.class == 0;
                let length = usize::from(reader.u8()?);
                reader.skip(length.saturating_add(length % 2))?;
                continue;
            }
            // A port segment: where a request goes on to.
            0x00..=0x1f => {
                reader.skip(1)?;
                continue;
            }
            _ => return None,
        };
        match segment >> 2 & 7 {
            0 if call.class == 0 => call.class = u16::try_from(value).unwrap_or(u16::MAX),
            1 if call.instance == 0 => call.instance = value,
            _ => {}
        }
    }
}

const IDENTITY: u16 = 0x01;
const CONNECTION_MANAGER: u16 = 0x06;
const PCCC: u16 = 0x67;
const FLASH: u16 = 0xa1;
const CLOCK: u16 = 0x8b;
const TIME_SYNC: u16 = 0x43;
const MODE: u16 = 0x8e;
const CHANGES: u16 = 0xac;

impl Call {
    /// Whether the class is one that the vendor of the controller defines for itself.
    const fn is_vendors(&self) -> bool {
        matches!(self.class, 0x64..=0xc7 | 0x300..=0x4ff)
    }

    /// What the service does, snake case, in the words of the specification where it has them.
    pub const fn name(&self) -> &'static str {
        if let Some((command, function)) = self.pccc {
            return pccc_name(command, function);
        }
        match (self.service, self.class) {
            (0x01, IDENTITY) => "identity",
            (0x01, _) => "get_attributes_all",
            (0x03, IDENTITY) => "identity_attributes",
            (0x03, _) => "get_attribute_list",
            (0x0e, _) => "get_attribute_single",
            (0x11, _) => "find_next_object",
            (0x18, _) => "get_member",
            (0x02 | 0x04 | 0x10 | 0x19, _) => self.set_name(),
            (0x05, IDENTITY) => "reset_device",
            (0x05, _) => "reset_object",
            (0x06, _) => "start",
            (0x07, _) => "stop",
            (0x08, _) => "create_object",
            (0x09, _) => "delete_object",
            (0x0d, _) => "apply_attributes",
            (0x15, _) => "restore_configuration",
            (0x16, _) => "save_configuration",
            (0x54 | 0x5b, CONNECTION_MANAGER) => "forward_open",
            (0x4e, CONNECTION_MANAGER) => "forward_close",
            (_, CONNECTION_MANAGER) => "connection_service",
            (0x4b, FLASH) => "firmware_update",
            (0x4b..=0x63, FLASH) => "firmware_transfer",
            (0x4b..=0x63, MODE) => "controller_ownership",
            (0x4b..=0x63, CHANGES) => "controller_lock",
            (0x4c, _) => "read_tag",
            (0x4d, _) => "write_tag",
            (0x4e, _) if self.symbolic || self.is_vendors() => "modify_tag",
            (0x52, _) => "read_tag_fragmented",
            (0x53, _) => "write_tag_fragmented",
            (0x55, _) if self.is_vendors() => "get_instance_list",
            (0x4b..=0x63, _) => "object_service",
            _ => "unknown",
        }
    }

    const fn set_name(&self) -> &'static str {
        match self.class {
            CLOCK | TIME_SYNC => "set_clock",
            0xf5 => "set_network_address",
            0xf6 | 0xf4 | 0x47 | 0x48 => "set_network_link",
            // Assemblies and parameters: values of the process.
            _ => "set_attribute",
        }
    }

    /// Whether the service changes the process or the controller.
    pub const fn is_write(&self) -> bool {
        if let Some((command, function)) = self.pccc {
            return pccc_writes(command, function);
        }
        match self.service {
            0x02 | 0x04..=0x0a | 0x0d | 0x10 | 0x15 | 0x16 | 0x19 => true,
            0x4d | 0x53 => self.class != CONNECTION_MANAGER,
            0x4e => self.symbolic || self.is_vendors(),
            0x4b | 0x4c => matches!(self.class, FLASH | MODE | CHANGES),
            _ => false,
        }
    }
}

const fn pccc_name(command: u8, function: u8) -> &'static str {
    match (command, function) {
        (0x0f, 0x00 | 0x02 | 0x03 | 0x26 | 0xa7 | 0xa9..=0xab | 0xaf | 0x67) | (0 | 8, _) => {
            "pccc_write"
        }
        (0x0f, 0x01 | 0x04 | 0x09 | 0x29 | 0x68 | 0xa1 | 0xa2) | (1 | 5, _) => "pccc_read",
        (0x0f, 0x07 | 0x41 | 0x42) => "pccc_force",
        (0x0f, 0x11) => "pccc_lock",
        (0x0f, 0x12) => "pccc_unlock",
        (0x0f, 0x3a | 0x80) => "pccc_change_mode",
        (0x0f, 0x05 | 0x50 | 0x52 | 0x56) => "pccc_program_download",
        (0x0f, 0x06 | 0x53 | 0x55) => "pccc_program_upload",
        (0x0f, 0x57) => "pccc_initialize_memory",
        (0x0f, 0x8f) => "pccc_set_network_link",
        (0x0f, 0x81 | 0x82) => "pccc_open_file",
        (0x0f, 0x88) => "pccc_execute_several",
        (6, 0x03) => "pccc_identity",
        (6, 0x00 | 0x01) => "pccc_diagnostics",
        (6, _) => "pccc_set_link",
        _ => "unknown",
    }
}

const fn pccc_writes(command: u8, function: u8) -> bool {
    match command {
        0 | 8 => true,
        6 => !matches!(function, 0x00 | 0x01 | 0x03),
        0x0f => !matches!(
            function,
            0x01 | 0x04 | 0x06 | 0x09 | 0x29 | 0x53 | 0x55 | 0x68 | 0x81 | 0x82 | 0xa1 | 0xa2
        ),
        _ => false,
    }
}

/// Entry of the mutation test and the fuzzer.
pub fn fuzz(bytes: &[u8]) {
    let found = calls(bytes);
    debug_assert!(found.len() <= CALLS_MAX);
    debug_assert!(found.iter().all(|call| !call.name().is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(command: u16, item: u16, data: &[u8]) -> Vec<u8> {
        let mut body = vec![0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0];
        body.extend_from_slice(&item.to_le_bytes());
        body.extend_from_slice(&(data.len() as u16).to_le_bytes());
        body.extend_from_slice(data);
        let mut bytes = command.to_le_bytes().to_vec();
        bytes.extend_from_slice(&(body.len() as u16).to_le_bytes());
        bytes.resize(HEADER, 0);
        bytes.extend_from_slice(&body);
        bytes
    }

    #[test]
    fn a_stop_inside_a_wrapped_request_is_seen() {
        // An unconnected send to the connection manager that carries a stop of class 0x8e.
        let inner = [0x07, 2, 0x20, 0x8e, 0x24, 1];
        let mut wrapped = vec![0x52, 2, 0x20, 6, 0x24, 1, 5, 0x9d, inner.len() as u8, 0];
        wrapped.extend_from_slice(&inner);
        wrapped.extend_from_slice(&[1, 0, 1, 0]);
        let found = calls(&message(0x6f, 0xb2, &wrapped));
        let [stop] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!(
            (stop.name(), stop.is_write(), stop.class),
            ("stop", true, 0x8e)
        );
    }

    #[test]
    fn services_that_share_a_packet_are_told_apart() {
        let mut several = vec![9, 0, 0x0a, 2, 0x20, 2, 0x24, 1];
        several.extend_from_slice(&[2, 0, 6, 0, 12, 0]);
        several.extend_from_slice(&[0x0e, 2, 0x20, 1, 0x24, 1]);
        several.extend_from_slice(&[0x10, 2, 0x20, 0xf5, 0x24, 1]);
        let found = calls(&message(0x70, 0xb1, &several));
        let names: Vec<_> = found
            .iter()
            .map(|call| (call.name(), call.is_write()))
            .collect();
        assert_eq!(
            names,
            [
                ("get_attribute_single", false),
                ("set_network_address", true)
            ]
        );
        let refused = calls(&message(0x6f, 0xb2, &[0x87, 0, 0x10, 0]));
        assert_eq!((refused[0].response, refused[0].status), (true, 0x10));
    }

    #[test]
    fn a_command_of_the_older_protocol_inside_is_read() {
        let mode = [
            0x4b, 2, 0x20, 0x67, 0x24, 1, 7, 0, 0, 1, 2, 3, 4, 0x0f, 0, 1, 0, 0x80, 6,
        ];
        let found = calls(&message(0x6f, 0xb2, &mode));
        assert_eq!(
            (found[0].name(), found[0].is_write()),
            ("pccc_change_mode", true)
        );
        assert_eq!(header(b"GET / HTTP/1.1\r\nHost: example.org"), None);
    }
}
