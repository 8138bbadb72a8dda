//! VNC: how a client proves itself, and whether it was let in. The account is not named.

use thymus_parsers::vnc;
use thymus_schema::{Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, emit_login};
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Vnc,
    transports: &[Transport::Tcp],
    usual_ports: &[5900, 5901],
    probe,
    build: || Box::<VncAnalyzer>::default(),
};

const NONE: u8 = 1;
const PASSWORD: u8 = 2;

fn probe(opening: &Opening<'_>) -> Probe {
    let announced = |bytes| vnc::version(bytes).is_some();
    if announced(opening.server) || announced(opening.client) {
        Probe::Yes
    } else {
        Probe::No
    }
}

/// What the server says next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Version,
    Types,
    Challenge,
    Result,
}

#[derive(Default)]
struct VncAnalyzer {
    buffers: [StreamBuffer; 2],
    stage: Stage,
    minor: u16,
    client_lines: u32,
    kind: u8,
    finished: bool,
}

impl Analyzer for VncAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let mut buffer = std::mem::take(&mut self.buffers[usize::from(side == Side::Server)]);
        let ok = buffer.feed(bytes, |front| {
            if self.finished {
                return Step::Stop;
            }
            match side {
                Side::Client => self.client(front),
                Side::Server => self.server(front, cx),
            }
        });
        self.buffers[usize::from(side == Side::Server)] = buffer;
        if self.finished || !ok {
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        if self.kind != 0 && !self.finished {
            self.tell(Outcome::Unknown, cx);
        }
    }
}

impl VncAnalyzer {
    fn client(&mut self, bytes: &[u8]) -> Step {
        self.client_lines += 1;
        match self.client_lines {
            1 if bytes.len() < 12 => {
                self.client_lines = 0;
                Step::Need(12)
            }
            1 => {
                self.minor = vnc::version(bytes).unwrap_or(8);
                // Version 3.3 lets the server choose, and there is nothing to say.
                self.client_lines += u32::from(self.minor < 7);
                Step::Take(12)
            }
            2 => {
                self.kind = bytes[0];
                Step::Take(1)
            }
            _ => Step::Take(bytes.len() as u64),
        }
    }

    fn server(&mut self, bytes: &[u8], cx: &mut AnalyzerCx<'_>) -> Step {
        match self.stage {
            Stage::Version if bytes.len() < 12 => Step::Need(12),
            Stage::Version => {
                self.stage = Stage::Types;
                Step::Take(12)
            }
            Stage::Types if (3..7).contains(&self.minor) => {
                if bytes.len() < 4 {
                    return Step::Need(4);
                }
                self.chosen(bytes[3]);
                Step::Take(4)
            }
            Stage::Types => {
                let count = usize::from(bytes[0]);
                if count == 0 {
                    return Step::Stop;
                }
                self.stage = Stage::Challenge;
                Step::Take(count as u64 + 1)
            }
            Stage::Challenge if self.kind == PASSWORD => {
                self.stage = Stage::Result;
                Step::Take(16)
            }
            // What other mechanisms say before the result has no fixed length.
            Stage::Challenge if self.kind != NONE => Step::Stop,
            Stage::Challenge | Stage::Result => {
                if bytes.len() < 4 {
                    return Step::Need(4);
                }
                let ok = bytes[..4] == [0; 4];
                self.tell(
                    if ok {
                        Outcome::Success
                    } else {
                        Outcome::Failure
                    },
                    cx,
                );
                Step::Take(4)
            }
        }
    }

    fn chosen(&mut self, kind: u8) {
        self.kind = kind;
        self.stage = Stage::Challenge;
    }

    fn tell(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        self.finished = true;
        let method = vnc::security_name(self.kind);
        let attempt = Attempt {
            user: "",
            domain: "",
            method,
            client: "",
            outcome,
        };
        emit_login(Service::Vnc, &attempt, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;
    use thymus_schema::EventBody;

    #[test]
    fn a_refused_password_is_a_failed_log_in() {
        let mut talk = Talk::tcp(&SPEC, 5900);
        assert_eq!(talk.probe(b"", b"RFB 003.008\n"), Probe::Yes);
        talk.server(b"RFB 003.008\n");
        talk.client(b"RFB 003.008\n");
        talk.server(b"\x02\x01\x02");
        talk.client(b"\x02");
        talk.server(&[7; 16]);
        talk.client(&[9; 16]);
        talk.server(b"\0\0\0\x01");
        let [EventBody::Login(login)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (&*login.method, login.outcome),
            ("password", Outcome::Failure)
        );
        assert!(talk.detached);
    }
}
