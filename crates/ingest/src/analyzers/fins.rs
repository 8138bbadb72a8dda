//! FINS over UDP and TCP: each command with its answer.

use thymus_parsers::fins::{self, Frame};
use thymus_schema::{EventBody, IcsCall, Service, Transport};

use super::unanswered::Unanswered;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Fins,
    transports: &[Transport::Tcp, Transport::Udp],
    usual_ports: &[9600],
    probe,
    build: || Box::<FinsAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    let usual = opening.server_port == 9600 || opening.client_port == 9600;
    let found = match opening.transport {
        Transport::Tcp => fins::tcp_length(bytes).is_some(),
        // Ten bytes of small numbers are no signature: elsewhere it is not looked for.
        _ => usual && fins::parse(bytes).is_some(),
    };
    if found { Probe::Yes } else { Probe::No }
}

#[derive(Default)]
struct FinsAnalyzer {
    buffers: [StreamBuffer; 2],
    waiting: Unanswered<Frame>,
}

impl Analyzer for FinsAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self { buffers, waiting } = self;
        if cx.conn.transport == Transport::Udp {
            if let Some(frame) = fins::parse(bytes) {
                take(frame, waiting, cx);
            }
            return;
        }
        let ok = buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if front.len() < fins::TCP_HEAD {
                return Step::Need(fins::TCP_HEAD);
            }
            let Some((length, carries)) = fins::tcp_length(front) else {
                return Step::Stop;
            };
            let wanted = length.min(fins::TCP_HEAD + fins::WANTED);
            if front.len() < wanted {
                return Step::Need(wanted);
            }
            if carries && let Some(frame) = front.get(fins::TCP_HEAD..).and_then(fins::parse) {
                take(frame, waiting, cx);
            }
            Step::Take(length as u64)
        });
        if !ok {
            cx.quirk("fins", "not_fins");
            cx.detach();
        }
    }

    fn gap(&mut self, side: Side, missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.buffers[usize::from(side == Side::Server)].gap(missing);
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for frame in self.waiting.take() {
            emit(frame, 0, cx);
        }
    }
}

fn take(frame: Frame, waiting: &mut Unanswered<Frame>, cx: &mut AnalyzerCx<'_>) {
    if !frame.response {
        if let Some(oldest) = waiting.ask(frame) {
            emit(oldest, 0, cx);
        }
        return;
    }
    let asked = waiting.answer(|asked| (asked.id, asked.command) == (frame.id, frame.command));
    if let Some(asked) = asked {
        emit(asked, frame.end, cx);
    }
}

fn emit(frame: Frame, end: u16, cx: &mut AnalyzerCx<'_>) {
    cx.emit(EventBody::Ics(Box::new(IcsCall {
        protocol: Some(Service::Fins),
        unit: frame.unit,
        function: frame.command,
        name: fins::command_name(frame.command).into(),
        write: fins::is_write(frame.command),
        exception: (end != 0).then(|| end.to_be_bytes()[0]),
        ..IcsCall::default()
    })));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_stop_over_tcp_is_a_write() {
        let mut talk = Talk::tcp(&SPEC, 9600);
        let mut stop = b"FINS\0\0\0\x14\0\0\0\x02\0\0\0\0".to_vec();
        stop.extend([0x80, 0, 2, 0, 1, 0, 0, 9, 0, 5, 4, 2]);
        assert_eq!(talk.probe(&stop, b""), Probe::Yes);
        talk.client(&stop);
        talk.close();
        let [EventBody::Ics(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*call.name, call.write), ("change_mode_stop", true));
    }
}
