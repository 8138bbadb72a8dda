//! EtherNet/IP and CIP: each service that a client asks of a controller, with its answer.

use std::collections::VecDeque;

use thymus_parsers::enip::{self, Call};
use thymus_schema::{EventBody, IcsCall, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Enip,
    transports: &[Transport::Tcp, Transport::Udp],
    usual_ports: &[44818],
    probe,
    build: || Box::<EnipAnalyzer>::default(),
};

/// Most services that wait for their answer; the oldest is told without one.
const WAITING_MAX: usize = 64;
/// Pieces that could not be read before the conversation is given up.
const UNREAD_MAX: u8 = 8;
/// Bytes of a message that are read; the data of longer ones is skipped.
const READ_MAX: usize = 1024;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    let usual = opening.server_port == 44818 || opening.client_port == 44818;
    match enip::header(bytes) {
        // The first command of a conversation elsewhere opens a session.
        Some(header) if usual || (header.command == 0x65 && header.length == bytes.len()) => {
            Probe::Yes
        }
        None if usual && bytes.len() < enip::HEADER => Probe::More,
        _ => Probe::No,
    }
}

#[derive(Default)]
struct EnipAnalyzer {
    buffers: [StreamBuffer; 2],
    waiting: VecDeque<Call>,
    unread: u8,
}

impl Analyzer for EnipAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self {
            buffers, waiting, ..
        } = self;
        let ok = buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if front.len() < enip::HEADER {
                return Step::Need(enip::HEADER);
            }
            let Some(header) = enip::header(front) else {
                return Step::Stop;
            };
            let wanted = header.length.min(READ_MAX);
            if front.len() < wanted {
                return Step::Need(wanted);
            }
            let message = front.get(..wanted).unwrap_or(front);
            match side {
                Side::Client => asked(header.command, message, waiting, cx),
                Side::Server => answered(message, waiting, cx),
            }
            Step::Take(header.length as u64)
        });
        if !ok {
            // Messages begin with segments: reading goes on with the next one.
            self.unread += 1;
            if self.unread >= UNREAD_MAX {
                cx.quirk("enip", "not_enip");
                cx.detach();
            }
        }
    }

    fn gap(&mut self, side: Side, missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.buffers[usize::from(side == Side::Server)].gap(missing);
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for call in std::mem::take(&mut self.waiting) {
            emit(&call, None, 1, cx);
        }
    }
}

fn asked(command: u16, message: &[u8], waiting: &mut VecDeque<Call>, cx: &mut AnalyzerCx<'_>) {
    let name = match command {
        0x04 => "list_services",
        0x63 => "list_identity",
        0x64 => "list_interfaces",
        _ => "",
    };
    if !name.is_empty() {
        cx.emit(EventBody::Ics(Box::new(IcsCall {
            protocol: Some(Service::Enip),
            function: command,
            name: name.into(),
            ..IcsCall::default()
        })));
        return;
    }
    for call in enip::calls(message) {
        if call.response {
            continue;
        }
        if waiting.len() == WAITING_MAX
            && let Some(oldest) = waiting.pop_front()
        {
            emit(&oldest, None, 1, cx);
        }
        waiting.push_back(call);
    }
}

/// An answer belongs to the oldest request of its service; what waited longer got none. Reads that
/// share a packet are told once.
fn answered(message: &[u8], waiting: &mut VecDeque<Call>, cx: &mut AnalyzerCx<'_>) {
    let mut same: Option<(Call, u32)> = None;
    for answer in enip::calls(message).iter().filter(|call| call.response) {
        let Some(at) = waiting
            .iter()
            .position(|asked| asked.service == answer.service)
        else {
            continue;
        };
        let Some(asked) = waiting.remove(at) else {
            continue;
        };
        // Success with more to come is success.
        let exception = (!matches!(answer.status, 0 | 6)).then_some(answer.status);
        if exception.is_some() || asked.is_write() {
            emit(&asked, exception, 1, cx);
            continue;
        }
        match &mut same {
            Some((call, count)) if call.name() == asked.name() && call.class == asked.class => {
                *count += 1;
            }
            _ => {
                if let Some((call, count)) = same.replace((asked, 1)) {
                    emit(&call, None, count, cx);
                }
            }
        }
    }
    if let Some((call, count)) = same {
        emit(&call, None, count, cx);
    }
}

fn emit(call: &Call, exception: Option<u8>, quantity: u32, cx: &mut AnalyzerCx<'_>) {
    let function = match call.pccc {
        Some((command, function)) => u16::from(command) << 8 | u16::from(function),
        None => call.service.into(),
    };
    cx.emit(EventBody::Ics(Box::new(IcsCall {
        protocol: Some(Service::Enip),
        unit: 0,
        function,
        name: call.name().into(),
        write: call.is_write(),
        address: call.class.into(),
        quantity,
        exception,
    })));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    fn message(service: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x6f, 0];
        bytes.extend_from_slice(&(16 + service.len() as u16).to_le_bytes());
        bytes.resize(enip::HEADER, 0);
        bytes.extend_from_slice(&[0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0xb2, 0]);
        bytes.extend_from_slice(&(service.len() as u16).to_le_bytes());
        bytes.extend_from_slice(service);
        bytes
    }

    #[test]
    fn a_reset_and_its_refusal_are_one_event() {
        let mut talk = Talk::tcp(&SPEC, 44818);
        let reset = message(&[0x05, 2, 0x20, 1, 0x24, 1]);
        assert_eq!(talk.probe(&reset, b""), Probe::Yes);
        talk.client(&reset);
        talk.server(&message(&[0x85, 0, 0x10, 0]));
        let [EventBody::Ics(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (&*call.name, call.write, call.exception),
            ("reset_device", true, Some(0x10))
        );
    }

    #[test]
    fn a_conversation_joined_inside_a_message_is_read_from_the_next_on() {
        let mut talk = Talk::tcp(&SPEC, 44818);
        talk.client(&[0xff; 40]);
        talk.client(&message(&[0x07, 2, 0x20, 0x8e, 0x24, 1]));
        talk.close();
        let [EventBody::Ics(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*call.name, call.exception), ("stop", None));
    }
}
