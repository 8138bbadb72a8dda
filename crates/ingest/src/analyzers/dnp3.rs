//! DNP3 over TCP and UDP: each request of a master, and what the outstation says of itself.

use thymus_parsers::dnp3::{self, Frame};
use thymus_schema::{EventBody, IcsCall, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Dnp3,
    transports: &[Transport::Tcp, Transport::Udp],
    usual_ports: &[20000],
    probe,
    build: || Box::<Dnp3Analyzer>::default(),
};

const RESPONSE: u8 = 129;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    if dnp3::parse(bytes).is_some() {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct Dnp3Analyzer {
    buffers: [StreamBuffer; 2],
}

impl Analyzer for Dnp3Analyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        self.buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if front.len() < 10 {
                return Step::Need(10);
            }
            let Some(frame) = dnp3::parse(front) else {
                // On to the next start of a frame.
                let next = front.windows(2).skip(1).position(|pair| pair == [5, 0x64]);
                return Step::Take(next.map_or(front.len() - 1, |at| at + 1) as u64);
            };
            let wanted = frame.length.min(dnp3::WANTED);
            if front.len() < wanted {
                return Step::Need(wanted);
            }
            emit(&frame, cx);
            Step::Take(frame.length as u64)
        });
    }

    fn gap(&mut self, side: Side, missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.buffers[usize::from(side == Side::Server)].gap(missing);
    }
}

fn emit(frame: &Frame, cx: &mut AnalyzerCx<'_>) {
    let Some(function) = frame.function else {
        return;
    };
    // A plain response repeats its request; only an unsolicited one says something of its own.
    if function == RESPONSE || function == 0 {
        return;
    }
    let unit = if frame.from_master {
        frame.destination
    } else {
        frame.source
    };
    cx.emit(EventBody::Ics(Box::new(IcsCall {
        protocol: Some(Service::Dnp3),
        unit,
        function: function.into(),
        name: dnp3::function_name(function).into(),
        write: dnp3::is_write(function),
        address: frame.object.into(),
        ..IcsCall::default()
    })));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn an_operation_is_told_and_its_echo_is_not() {
        let mut talk = Talk::tcp(&SPEC, 20_000);
        let ask = [
            5, 0x64, 11, 0xc4, 3, 0, 4, 0, 0, 0, 0xc1, 0xc2, 5, 12, 1, 0x28, 0, 0,
        ];
        let answer = [
            5, 0x64, 10, 0x44, 4, 0, 3, 0, 0, 0, 0xc1, 0xc2, 129, 0, 0, 0, 0,
        ];
        talk.client(&[&b"noise"[..], &ask].concat());
        talk.server(&answer);
        let [EventBody::Ics(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (call.unit, &*call.name, call.write),
            (3, "direct_operate", true)
        );
    }
}
