//! S7 communication: each request with its answer.

use thymus_parsers::s7::{self, Job};
use thymus_schema::{EventBody, IcsCall, Service, Transport};

use super::unanswered::Unanswered;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::S7,
    transports: &[Transport::Tcp],
    usual_ports: &[102],
    probe,
    build: || Box::<S7Analyzer>::default(),
};

const REQUEST: u8 = 1;
const USER_DATA: u8 = 7;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    match s7::parse(bytes) {
        Some(message) if message.job.is_some() => Probe::Yes,
        // The connection request of ISO on TCP is shared with remote desktops: the port tells.
        Some(_) if opening.server_port == 102 || opening.client_port == 102 => Probe::Yes,
        _ => Probe::No,
    }
}

#[derive(Default)]
struct S7Analyzer {
    buffers: [StreamBuffer; 2],
    waiting: Unanswered<Job>,
}

impl Analyzer for S7Analyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self { buffers, waiting } = self;
        let ok = buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if front.len() < 7 {
                return Step::Need(7);
            }
            let Some(length) = s7::tpkt_length(front) else {
                return Step::Stop;
            };
            let wanted = length.min(s7::WANTED);
            if front.len() < wanted {
                return Step::Need(wanted);
            }
            if let Some(job) = s7::parse(front).and_then(|message| message.job) {
                take(job, waiting, cx);
            }
            Step::Take(length as u64)
        });
        if !ok {
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for job in self.waiting.take() {
            emit(job, None, cx);
        }
    }
}

fn take(job: Job, waiting: &mut Unanswered<Job>, cx: &mut AnalyzerCx<'_>) {
    match job.kind {
        REQUEST => {
            if let Some(oldest) = waiting.ask(job) {
                emit(oldest, None, cx);
            }
        }
        USER_DATA if s7::is_user_request(job.function) => emit(job, None, cx),
        USER_DATA => {}
        _ => {
            let asked = waiting.answer(|asked| asked.reference == job.reference);
            let asked = asked.unwrap_or(job);
            let class = job.error.to_be_bytes()[0];
            emit(asked, (class != 0).then_some(class), cx);
        }
    }
}

fn emit(job: Job, exception: Option<u8>, cx: &mut AnalyzerCx<'_>) {
    let name = if job.kind == USER_DATA {
        s7::user_name(job.function, job.items)
    } else {
        s7::function_name(job.function)
    };
    cx.emit(EventBody::Ics(Box::new(IcsCall {
        protocol: Some(Service::S7),
        function: job.function.into(),
        name: name.into(),
        write: if job.kind == USER_DATA {
            name == "set_clock"
        } else {
            s7::is_write(job.function)
        },
        quantity: job.items.into(),
        exception,
        ..IcsCall::default()
    })));
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_stop_of_the_controller_is_a_write() {
        let mut talk = Talk::tcp(&SPEC, 102);
        let stop = [
            3, 0, 0, 25, 2, 0xf0, 0x80, 0x32, 1, 0, 0, 0, 9, 0, 8, 0, 0, 0x29, 0, 0, 0, 0, 0, 9, 80,
        ];
        assert_eq!(talk.probe(&stop, b""), Probe::Yes);
        talk.client(&stop);
        talk.close();
        let [EventBody::Ics(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*call.name, call.write), ("plc_stop", true));
    }
}
