//! IEC 60870-5-104: what a controlling station asks of an outstation.

use thymus_parsers::iec104::{self, Message};
use thymus_schema::{EventBody, IcsCall, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Iec104,
    transports: &[Transport::Tcp],
    usual_ports: &[2404],
    probe,
    build: || Box::<Iec104Analyzer>::default(),
};

/// Cause of transmission: unknown type, cause, address or object.
const UNKNOWN: std::ops::RangeInclusive<u8> = 44..=47;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    let usual = opening.server_port == 2404 || opening.client_port == 2404;
    match iec104::parse(bytes) {
        Some(frame) if usual || frame.length == bytes.len() => Probe::Yes,
        _ => Probe::No,
    }
}

#[derive(Default)]
struct Iec104Analyzer {
    buffers: [StreamBuffer; 2],
}

impl Analyzer for Iec104Analyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let ok = self.buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if front.len() < 6 {
                return Step::Need(6);
            }
            let Some(frame) = iec104::parse(front) else {
                return Step::Stop;
            };
            let wanted = frame.length.min(iec104::WANTED);
            if front.len() < wanted {
                return Step::Need(wanted);
            }
            if let Some(message) = frame.message {
                tell(side, &message, cx);
            }
            Step::Take(frame.length as u64)
        });
        if !ok {
            cx.quirk("iec104", "not_iec104");
            cx.detach();
        }
    }

    fn gap(&mut self, side: Side, missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.buffers[usize::from(side == Side::Server)].gap(missing);
    }
}

/// Requests of the client are told, and what the outstation refuses; its values and confirmations
/// repeat what is known.
fn tell(side: Side, message: &Message, cx: &mut AnalyzerCx<'_>) {
    let refused = message.negative || UNKNOWN.contains(&message.cause);
    if side == Side::Server && !refused {
        return;
    }
    cx.emit(EventBody::Ics(Box::new(IcsCall {
        protocol: Some(Service::Iec104),
        unit: message.station,
        function: message.kind.into(),
        name: iec104::kind_name(message.kind).into(),
        write: iec104::is_write(message.kind),
        address: message.object,
        quantity: message.objects.into(),
        exception: refused.then_some(message.cause),
    })));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_command_is_told_and_its_confirmation_is_not() {
        let mut talk = Talk::tcp(&SPEC, 2404);
        let mut command = [
            0x68, 14, 2, 0, 4, 0, 45, 1, 6, 0, 10, 0, 0x88, 0x13, 0, 0x81,
        ];
        assert_eq!(talk.probe(&command, b""), Probe::Yes);
        talk.client(&command);
        command[8] = 7;
        talk.server(&command);
        command[8] = 0x47;
        talk.server(&command);
        let [EventBody::Ics(asked), EventBody::Ics(refused)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*asked.name, asked.write), ("single_command", true));
        assert_eq!((asked.exception, refused.exception), (None, Some(7)));
    }
}
