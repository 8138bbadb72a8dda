//! BACnet/IP: confirmed services with their answers, and the requests that set clocks.

use thymus_parsers::bacnet::{self, Message};
use thymus_schema::{EventBody, IcsCall, Service, Transport};

use super::unanswered::Unanswered;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Bacnet,
    transports: &[Transport::Udp],
    usual_ports: &[47808],
    probe,
    build: || Box::<BacnetAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    if bacnet::parse(bytes).is_some() {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct BacnetAnalyzer {
    waiting: Unanswered<(Side, u8, u8)>,
}

impl Analyzer for BacnetAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        match bacnet::parse(bytes) {
            Some(Message::Request(invoke, service)) => {
                if let Some((_, _, oldest)) = self.waiting.ask((side, invoke, service)) {
                    emit(oldest, None, cx);
                }
            }
            Some(Message::Answer(invoke, refusal)) => {
                let asked = |it: &(Side, u8, u8)| (it.0, it.1) == (side.other(), invoke);
                if let Some((_, _, service)) = self.waiting.answer(asked) {
                    emit(service, refusal, cx);
                }
            }
            _ => {}
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for (_, _, service) in self.waiting.take() {
            emit(service, None, cx);
        }
    }
}

fn emit(service: u8, exception: Option<u8>, cx: &mut AnalyzerCx<'_>) {
    cx.emit(EventBody::Ics(Box::new(IcsCall {
        protocol: Some(Service::Bacnet),
        function: service.into(),
        name: bacnet::service_name(service).into(),
        write: bacnet::is_write(service),
        exception,
        ..IcsCall::default()
    })));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_restart_and_its_refusal_are_one_event() {
        let mut talk = Talk::udp(&SPEC, 47808);
        let restart = [0x81, 0x0a, 0, 12, 1, 4, 0, 5, 7, 20, 9, 0];
        assert_eq!(talk.probe(&restart, b""), Probe::Yes);
        talk.client(&restart);
        talk.server(&[0x81, 0x0a, 0, 9, 1, 0, 0x50, 7, 20]);
        let [EventBody::Ics(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (&*call.name, call.write, call.exception),
            ("reinitialize_device", true, Some(5))
        );
    }
}
