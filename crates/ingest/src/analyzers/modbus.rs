//! Modbus/TCP: each request with its answer.

use thymus_parsers::modbus::{self, Message};
use thymus_schema::{EventBody, IcsCall, Service, Transport};

use super::unanswered::Unanswered;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Modbus,
    transports: &[Transport::Tcp],
    usual_ports: &[502],
    probe,
    build: || Box::<ModbusAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    let usual = opening.server_port == 502 || opening.client_port == 502;
    match modbus::parse(bytes) {
        // Elsewhere the first message must be whole and of a known function.
        Some(message) if usual || message.length == bytes.len() => {
            let known = modbus::function_name(message.function) != "unknown";
            if usual || known && bytes.len() >= modbus::WANTED {
                Probe::Yes
            } else {
                Probe::No
            }
        }
        _ => Probe::No,
    }
}

#[derive(Default)]
struct ModbusAnalyzer {
    buffers: [StreamBuffer; 2],
    waiting: Unanswered<Message>,
}

impl Analyzer for ModbusAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self { buffers, waiting } = self;
        let ok = buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if front.len() < 8 {
                return Step::Need(8);
            }
            let Some(message) = modbus::parse(front) else {
                return if front.len() < 9 {
                    Step::Need(9)
                } else {
                    Step::Stop
                };
            };
            let wanted = message.length.min(modbus::WANTED);
            if front.len() < wanted {
                return Step::Need(wanted);
            }
            match side {
                Side::Client => {
                    if let Some(oldest) = waiting.ask(message) {
                        emit(&oldest, None, cx);
                    }
                }
                Side::Server => answer(&message, waiting, cx),
            }
            Step::Take(message.length as u64)
        });
        if !ok {
            cx.quirk("modbus", "not_modbus");
            cx.detach();
        }
    }

    fn gap(&mut self, side: Side, missing: u64, _cx: &mut AnalyzerCx<'_>) {
        // Messages begin with segments: reading goes on with the next one.
        self.buffers[usize::from(side == Side::Server)].gap(missing);
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for message in self.waiting.take() {
            emit(&message, None, cx);
        }
    }
}

fn answer(message: &Message, waiting: &mut Unanswered<Message>, cx: &mut AnalyzerCx<'_>) {
    let asked = waiting.answer(|asked| {
        asked.transaction == message.transaction && asked.function == message.function
    });
    match asked {
        Some(asked) => emit(&asked, message.exception, cx),
        None => emit(
            &Message {
                address: 0,
                quantity: 0,
                ..*message
            },
            message.exception,
            cx,
        ),
    }
}

fn emit(message: &Message, exception: Option<u8>, cx: &mut AnalyzerCx<'_>) {
    let name = modbus::request_name(message.function, message.address);
    cx.emit(EventBody::Ics(Box::new(IcsCall {
        protocol: Some(Service::Modbus),
        unit: message.unit.into(),
        function: message.function.into(),
        name: name.into(),
        write: modbus::is_write(message.function) && !name.starts_with("return_"),
        address: message.address.into(),
        quantity: message.quantity.into(),
        exception,
    })));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_write_and_its_refusal_are_one_event() {
        let mut talk = Talk::tcp(&SPEC, 502);
        talk.client(&[0, 1, 0, 0, 0, 6, 17, 16, 0, 40, 0, 9]);
        talk.server(&[0, 1, 0, 0, 0, 3, 17, 0x90, 2]);
        let [EventBody::Ics(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (call.function, call.write, call.exception),
            (16, true, Some(2))
        );
        assert_eq!((call.unit, call.address, call.quantity), (17, 40, 9));
    }

    #[test]
    fn trying_functions_from_zero_on_is_read_to_the_end() {
        let mut talk = Talk::tcp(&SPEC, 502);
        for function in 0..3 {
            talk.client(&[0, 1, 0, 0, 0, 6, 17, function, 0, 0, 0, 1]);
            talk.server(&[0, 1, 0, 0, 0, 3, 17, function | 0x80, 1]);
        }
        talk.client(&[0, 2, 0, 0, 0, 6, 17, 8, 0, 4, 0, 0]);
        talk.close();
        let names: Vec<&str> = talk
            .events
            .iter()
            .filter_map(|body| match body {
                EventBody::Ics(call) => Some(&*call.name),
                _ => None,
            })
            .collect();
        assert_eq!(
            names,
            [
                "unknown",
                "read_coils",
                "read_discrete_inputs",
                "force_listen_only"
            ]
        );
    }
}
