//! LDAP over TCP and its connectionless form over UDP. A request is told with its result; a bind is
//! a log-in too. Entries are counted and skipped. After a SASL bind that seals the connection
//! nothing can be read and nothing is.

use std::collections::VecDeque;

use thymus_parsers::ldap::{self, Op};
use thymus_schema::{EventBody, LdapCall, Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::{Attempt, Security, emit_login};
use crate::framing::{Step, StreamBuffer};
use crate::inner::Inner;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Ldap,
    transports: &[Transport::Tcp, Transport::Udp],
    usual_ports: &[389, 3268],
    probe,
    build: || Box::<LdapAnalyzer>::default(),
};

/// Most requests that wait for their result; the oldest is told without one.
const WAITING_MAX: usize = 32;
/// Most bytes of a message that are read.
const WANTED: usize = 32 * 1024;
const STARTTLS: &str = "1.3.6.1.4.1.1466.20037";
const SASL_IN_PROGRESS: u32 = 14;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    match ldap::message_length(bytes) {
        Some((0, _)) => Probe::No,
        None if opening.transport == Transport::Tcp => Probe::More,
        _ if ldap::looks_like_message(bytes) => Probe::Yes,
        _ => Probe::No,
    }
}

#[derive(Default)]
struct LdapAnalyzer {
    buffers: [StreamBuffer; 2],
    state: State,
    inner: Option<Inner>,
}

struct Waiting {
    id: u64,
    call: LdapCall,
    bind: Option<Box<str>>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    security: Security,
    to_tls: bool,
}

impl Analyzer for LdapAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        if let Some(inner) = &mut self.inner {
            return inner.data(side, bytes, cx);
        }
        let Self { buffers, state, .. } = self;
        let ok = buffers[usize::from(side == Side::Server)].feed(bytes, |front| {
            if state.to_tls {
                Step::Stop
            } else {
                state.front(front, cx)
            }
        });
        if cx.conn.transport == Transport::Udp {
            // What a datagram lacks does not come with the next.
            self.buffers[usize::from(side == Side::Server)].clear();
        }
        if self.state.to_tls {
            self.inner = Some(Inner::known(Service::Tls));
        } else if !ok && cx.conn.transport == Transport::Tcp {
            cx.detach();
        }
    }

    fn gap(&mut self, side: Side, missing: u64, cx: &mut AnalyzerCx<'_>) {
        if let Some(inner) = &mut self.inner {
            return inner.gap(side, missing, cx);
        }
        if !self.buffers[usize::from(side == Side::Server)].gap(missing) {
            cx.detach();
        }
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for waiting in std::mem::take(&mut self.state.waiting) {
            self.state.done(waiting, None, cx);
        }
        if let Some(inner) = &mut self.inner {
            inner.close(cx);
        }
    }
}

impl State {
    fn front(&mut self, bytes: &[u8], cx: &mut AnalyzerCx<'_>) -> Step {
        let Some((length, entry)) = ldap::message_length(bytes) else {
            return Step::Need(bytes.len() + 1);
        };
        if length == 0 {
            return Step::Stop;
        }
        let wanted = if entry { 16 } else { length.min(WANTED) };
        if bytes.len() < wanted {
            return Step::Need(wanted);
        }
        if let Some(message) = ldap::parse(&bytes[..length.min(bytes.len())]) {
            self.message(message.id, message.op, cx);
        }
        Step::Take(length as u64)
    }

    fn message(&mut self, id: u64, op: Op<'_>, cx: &mut AnalyzerCx<'_>) {
        match op {
            Op::Bind(bind) => {
                self.security.read(bind.credentials);
                let call = LdapCall {
                    operation: "bind".into(),
                    name: bind.name,
                    ..LdapCall::default()
                };
                self.wait(
                    Waiting {
                        id,
                        call,
                        bind: Some(bind.method),
                    },
                    cx,
                );
            }
            Op::Request(request) => {
                let call = LdapCall {
                    operation: request.verb.into(),
                    name: request.name,
                    filter: request.filter,
                    attributes: request.attributes,
                    ..LdapCall::default()
                };
                self.wait(
                    Waiting {
                        id,
                        call,
                        bind: None,
                    },
                    cx,
                );
            }
            Op::Entry => {
                if let Some(waiting) = self.waiting.iter_mut().find(|waiting| waiting.id == id) {
                    waiting.call.entries += 1;
                }
            }
            Op::BindResult(code, credentials) => {
                self.security.read(credentials);
                if let Some(waiting) = self.answered(id) {
                    self.done(waiting, Some(code), cx);
                }
            }
            Op::Result(code) => {
                if let Some(waiting) = self.answered(id) {
                    self.to_tls |= code == 0 && &*waiting.call.name == STARTTLS;
                    self.done(waiting, Some(code), cx);
                }
            }
            Op::Other => {}
        }
    }

    fn wait(&mut self, waiting: Waiting, cx: &mut AnalyzerCx<'_>) {
        if self.waiting.len() == WAITING_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.done(oldest, None, cx);
        }
        self.waiting.push_back(waiting);
    }

    fn answered(&mut self, id: u64) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| waiting.id == id)?;
        self.waiting.remove(at)
    }

    fn done(&mut self, waiting: Waiting, code: Option<u32>, cx: &mut AnalyzerCx<'_>) {
        let Waiting { mut call, bind, .. } = waiting;
        call.result = code;
        if let (Some(method), true) = (bind, code != Some(SASL_IN_PROGRESS)) {
            self.tell_login(&method, &call.name, code, cx);
        }
        cx.emit(EventBody::Ldap(Box::new(call)));
    }

    fn tell_login(&mut self, method: &str, name: &str, code: Option<u32>, cx: &mut AnalyzerCx<'_>) {
        let outcome = match code {
            Some(0) => Outcome::Success,
            Some(_) => Outcome::Failure,
            None => Outcome::Unknown,
        };
        if self.security.is_pending() {
            self.security.finish(Service::Ldap, outcome, cx);
            return;
        }
        // Nobody logs in by an anonymous bind, nor by the first leg of NTLM.
        if matches!(method, "anonymous" | "ntlm") {
            return;
        }
        let method = if method == "simple" {
            "password"
        } else {
            method
        };
        let attempt = Attempt {
            user: name,
            domain: "",
            method,
            client: "",
            outcome,
        };
        emit_login(Service::Ldap, &attempt, cx);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    const BIND: &[u8] = b"\x30\x11\x02\x01\x01\x60\x0c\x02\x01\x03\x04\x04cn=b\x80\x01p";
    const REFUSED: &[u8] = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x31\x04\x00\x04\x00";
    const SEARCH: &[u8] =
        b"\x30\x25\x02\x01\x02\x63\x20\x04\x04dc=x\x0a\x01\x02\x0a\x01\x00\x02\x01\
        \x00\x02\x01\x00\x01\x01\x00\x87\x02cn\x30\x05\x04\x03uid";

    #[test]
    fn a_refused_bind_is_a_failed_log_in() {
        let mut talk = Talk::tcp(&SPEC, 389);
        assert_eq!(talk.probe(BIND, b""), Probe::Yes);
        talk.client(BIND);
        talk.server(REFUSED);
        let [EventBody::Login(login), EventBody::Ldap(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*login.user, login.outcome), ("cn=b", Outcome::Failure));
        assert_eq!(call.result, Some(49));
    }

    #[test]
    fn entries_are_counted_and_skipped_over_many_pieces() {
        let mut talk = Talk::tcp(&SPEC, 389);
        talk.client(SEARCH);
        let mut entry = b"\x30\x84\x00\x00\x10\x09\x02\x01\x02\x64\x84\x00\x00\x10\x00".to_vec();
        entry.resize(15 + 4096, 4);
        let done = b"\x30\x0c\x02\x01\x02\x65\x07\x0a\x01\x00\x04\x00\x04\x00";
        for piece in [&entry[..], &entry, done].concat().chunks(700) {
            talk.server(piece);
        }
        let [EventBody::Ldap(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (call.entries, call.result, &*call.filter),
            (2, Some(0), "(cn=*)")
        );
    }
}
