//! MongoDB up to the log-in.

use thymus_parsers::mongo::{self, Document};
use thymus_schema::{Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, emit_login};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Mongo,
    transports: &[Transport::Tcp],
    usual_ports: &[27017],
    probe,
    build: || Box::<MongoAnalyzer>::default(),
};

/// Most bytes of a message that are read.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;
/// Messages after which a conversation without a log-in is left alone.
const MESSAGES_MAX: u32 = 64;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    if mongo::header(bytes).is_some() {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct MongoAnalyzer {
    buffers: [StreamBuffer; 2],
    state: State,
}

#[derive(Default)]
struct State {
    user: Option<Box<str>>,
    method: Box<str>,
    messages: u32,
    finished: bool,
}

impl Analyzer for MongoAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self { buffers, state } = self;
        let ok = buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if front.len() < 16 {
                return Step::Need(16);
            }
            let Some(header) = mongo::header(front) else {
                return Step::Stop;
            };
            let wanted = header.length.min(MESSAGE_BYTES_MAX);
            if front.len() < wanted {
                return Step::Need(wanted);
            }
            state.messages += 1;
            if let Some(document) = mongo::document(&front[..wanted], &header) {
                state.document(document, header.reply, cx);
            }
            Step::Take(header.length as u64)
        });
        if !ok || state.finished || state.messages > MESSAGES_MAX {
            state.tell(Outcome::Unknown, cx);
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.state.tell(Outcome::Unknown, cx);
    }
}

impl State {
    fn document(&mut self, document: Document, reply: bool, cx: &mut AnalyzerCx<'_>) {
        if !reply {
            if !document.user.is_empty() {
                self.user = Some(document.user);
                self.method = document.mechanism.to_ascii_lowercase().into();
            }
            return;
        }
        match (document.ok, document.done) {
            (Some(false), _) => self.tell(Outcome::Failure, cx),
            (Some(true), true) => {
                self.tell(Outcome::Success, cx);
                self.finished = true;
            }
            _ => {}
        }
    }

    fn tell(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        let Some(user) = self.user.take() else { return };
        let method = &self.method;
        let attempt = Attempt {
            user: &user,
            domain: "",
            method,
            client: "",
            outcome,
        };
        emit_login(Service::Mongo, &attempt, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::EventBody;

    fn message(reply: bool, document: &[u8]) -> Vec<u8> {
        let length = (16 + 5 + document.len()) as u32;
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend([
            1,
            0,
            0,
            0,
            u8::from(reply),
            0,
            0,
            0,
            0xdd,
            7,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        bytes.extend(document);
        bytes
    }

    #[test]
    fn a_refused_log_in_names_its_account() {
        let start = b"\x40\0\0\0\x10saslStart\0\x01\0\0\0\x05payload\0\x0b\0\0\0\0n,,n=bob,r=\0";
        let mut talk = Talk::tcp(&SPEC, 27_018);
        assert_eq!(talk.probe(&message(false, start), b""), Probe::Yes);
        talk.client(&message(false, start));
        talk.server(&message(true, b"\x11\0\0\0\x01ok\0\0\0\0\0\0\0\0\0\0"));
        let [EventBody::Login(login)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, login.outcome), ("bob", Outcome::Failure));
    }
}
