//! DCE/RPC over TCP, and the same conversation inside the named pipes of SMB. A call is told when it
//! is answered, or at the end when no answer was seen. Requests and responses are told apart by
//! their type, not by who sent them, so a conversation joined midway is read right.

use thymus_parsers::dce_rpc::{self, Header, Pdu, Uuid};
use thymus_schema::{DceRpcCall, EventBody, Outcome, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};
use crate::auth::Security;
use crate::framing::{Step, StreamBuffer};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::DceRpc,
    transports: &[Transport::Tcp],
    usual_ports: &[135, 593],
    probe,
    build: || Box::<DceRpcAnalyzer>::default(),
};

/// Most calls that wait for their answer; the oldest is told without one.
const CALLS_MAX: usize = 64;
/// Most interfaces bound at a time; further ones go unnamed.
const CONTEXTS_MAX: usize = 64;
/// Longest response that is read to its return code.
const RESPONSE_BYTES_MAX: usize = 8 * 1024;
const ACCESS_DENIED: u32 = 5;

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    if !bytes.starts_with(&b"\x05\0"[..bytes.len().min(2)]) {
        return Probe::No;
    }
    if bytes.len() < dce_rpc::HEADER_LEN {
        return Probe::More;
    }
    match dce_rpc::header(bytes) {
        Some(header) if matches!(header.kind, 0 | 2 | 3 | 11..=16) => Probe::Yes,
        _ => Probe::No,
    }
}

#[derive(Default)]
struct DceRpcAnalyzer {
    rpc: Rpc,
}

impl Analyzer for DceRpcAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        self.rpc.data(side, bytes, cx);
    }

    fn gap(&mut self, side: Side, missing: u64, _cx: &mut AnalyzerCx<'_>) {
        self.rpc.gap(side, missing);
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.rpc.close(cx);
    }
}

#[derive(Debug)]
struct Call {
    id: u32,
    context: u16,
    opnum: u16,
}

/// One RPC conversation, whatever carries it.
#[derive(Debug, Default)]
pub(super) struct Rpc {
    pipe: Box<str>,
    buffers: [StreamBuffer; 2],
    state: State,
}

#[derive(Debug, Default)]
struct State {
    contexts: Vec<(u16, Uuid)>,
    calls: Vec<Call>,
    security: Security,
}

impl Rpc {
    /// A conversation inside the named pipe `pipe`.
    pub(super) fn in_pipe(pipe: &str) -> Self {
        let name = pipe.trim_start_matches('\\').trim_start_matches("PIPE\\");
        Self {
            pipe: name.into(),
            ..Self::default()
        }
    }

    /// The next bytes from `side`.
    pub(super) fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Self {
            pipe,
            buffers,
            state,
        } = self;
        let buffer = &mut buffers[usize::from(side == Side::Server)];
        buffer.feed(bytes, |front| state.front(front, pipe, cx));
    }

    /// Bytes of `side` were lost: the next header is looked for.
    pub(super) fn gap(&mut self, side: Side, missing: u64) {
        self.buffers[usize::from(side == Side::Server)].gap(missing);
    }

    /// Tells the calls that never were answered.
    pub(super) fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        for call in std::mem::take(&mut self.state.calls) {
            self.state.emit(&call, Outcome::Unknown, &self.pipe, cx);
        }
        self.state
            .security
            .finish(Service::DceRpc, Outcome::Unknown, cx);
    }
}

impl State {
    fn front(&mut self, bytes: &[u8], pipe: &str, cx: &mut AnalyzerCx<'_>) -> Step {
        if bytes.len() < dce_rpc::HEADER_LEN {
            return Step::Need(dce_rpc::HEADER_LEN);
        }
        let Some(header) = dce_rpc::header(bytes) else {
            // Out of step: on to the next place where a header may begin.
            let next = bytes.windows(2).skip(1).position(|pair| pair == [5, 0]);
            return Step::Take(next.map_or(bytes.len() - 1, |at| at + 1) as u64);
        };
        let wanted = wanted(&header);
        if bytes.len() < wanted {
            return Step::Need(wanted);
        }
        let length = usize::from(header.length);
        let fragment = &bytes[..length.min(bytes.len())];
        if let Some(pdu) = dce_rpc::pdu(fragment, &header) {
            if let Some(auth) = dce_rpc::auth(fragment, &header)
                && matches!(header.kind, 11..=16)
            {
                self.security.read(auth.value);
            }
            self.pdu(&header, pdu, pipe, cx);
        }
        Step::Take(length as u64)
    }

    fn pdu(&mut self, header: &Header, pdu: Pdu, pipe: &str, cx: &mut AnalyzerCx<'_>) {
        match pdu {
            Pdu::Bind(contexts) => self.bind(contexts),
            Pdu::BindAck(_) => self.logged_in(Outcome::Success, cx),
            Pdu::BindNak => self.logged_in(Outcome::Failure, cx),
            Pdu::Request { context, opnum } if header.first => {
                if self.calls.len() == CALLS_MAX {
                    let oldest = self.calls.remove(0);
                    self.emit(&oldest, Outcome::Unknown, pipe, cx);
                }
                self.calls.push(Call {
                    id: header.call_id,
                    context,
                    opnum,
                });
            }
            Pdu::Response { code } if header.last => {
                self.logged_in(Outcome::Success, cx);
                let Some(call) = self.answered(header.call_id) else {
                    return;
                };
                let failed = self
                    .interface(call.context)
                    .and_then(|uuid| dce_rpc::interface(&uuid))
                    .zip(code)
                    .is_some_and(|(interface, code)| interface.failed(code));
                let outcome = if failed {
                    Outcome::Failure
                } else {
                    Outcome::Success
                };
                self.emit(&call, outcome, pipe, cx);
            }
            Pdu::Fault { status } => {
                if status == ACCESS_DENIED {
                    self.logged_in(Outcome::Failure, cx);
                }
                if let Some(call) = self.answered(header.call_id) {
                    self.emit(&call, Outcome::Failure, pipe, cx);
                }
            }
            _ => {}
        }
    }

    fn bind(&mut self, contexts: Vec<(u16, Uuid)>) {
        for (id, uuid) in contexts {
            self.contexts.retain(|(known, _)| *known != id);
            if self.contexts.len() < CONTEXTS_MAX {
                self.contexts.push((id, uuid));
            }
        }
    }

    fn logged_in(&mut self, outcome: Outcome, cx: &mut AnalyzerCx<'_>) {
        if self.security.is_pending() {
            self.security.finish(Service::DceRpc, outcome, cx);
        }
    }

    fn answered(&mut self, id: u32) -> Option<Call> {
        let at = self.calls.iter().position(|call| call.id == id)?;
        Some(self.calls.remove(at))
    }

    fn interface(&self, context: u16) -> Option<Uuid> {
        self.contexts
            .iter()
            .find(|(id, _)| *id == context)
            .map(|(_, uuid)| *uuid)
    }

    fn emit(&self, call: &Call, outcome: Outcome, pipe: &str, cx: &mut AnalyzerCx<'_>) {
        let uuid = self.interface(call.context);
        let known = uuid.and_then(|uuid| dce_rpc::interface(&uuid));
        let interface = match (known, uuid) {
            (Some(known), _) => known.name.into(),
            (None, Some(uuid)) => dce_rpc::uuid_text(&uuid),
            (None, None) => Box::default(),
        };
        let operation = known
            .and_then(|known| known.operation(call.opnum))
            .map_or_else(|| format!("op {}", call.opnum).into(), Box::from);
        cx.emit(EventBody::DceRpc(Box::new(DceRpcCall {
            interface,
            operation,
            opnum: call.opnum,
            pipe: pipe.into(),
            outcome,
        })));
    }
}

/// How much of a fragment is worth waiting for.
fn wanted(header: &Header) -> usize {
    let length = usize::from(header.length);
    let head_only = match header.kind {
        0 => true,
        2 => !header.last || length > RESPONSE_BYTES_MAX,
        _ => false,
    };
    if head_only {
        length.min(dce_rpc::HEADER_LEN + 8)
    } else {
        length
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    fn pdu(kind: u8, call: u8, body: &[u8]) -> Vec<u8> {
        let length = (16 + body.len()) as u16;
        let mut bytes = vec![5, 0, kind, 3, 0x10, 0, 0, 0];
        bytes.extend(length.to_le_bytes());
        bytes.extend([0, 0, call, 0, 0, 0]);
        bytes.extend(body);
        bytes
    }

    fn bind_svcctl() -> Vec<u8> {
        let mut body = vec![0xb8, 0x10, 0xb8, 0x10, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0];
        body.extend([0x81, 0xbb, 0x7a, 0x36, 0x44, 0x98, 0xf1, 0x35]);
        body.extend([0xad, 0x32, 0x98, 0xf0, 0x38, 0x00, 0x10, 0x03, 2, 0, 0, 0]);
        body.extend([0; 20]);
        pdu(11, 1, &body)
    }

    fn calls(talk: &Talk) -> Vec<(&str, &str, Outcome)> {
        talk.events
            .iter()
            .filter_map(|event| match event {
                EventBody::DceRpc(call) => Some((&*call.interface, &*call.operation, call.outcome)),
                _ => None,
            })
            .collect()
    }

    #[test]
    fn a_call_is_named_and_its_return_code_read() {
        let mut talk = Talk::tcp(&SPEC, 49_700);
        assert_eq!(talk.probe(&bind_svcctl(), b""), Probe::Yes);
        talk.client(&bind_svcctl());
        talk.client(&pdu(0, 2, &[0, 0, 0, 0, 0, 0, 15, 0]));
        talk.server(&pdu(2, 2, &[0; 12]));
        talk.client(&pdu(0, 3, &[0, 0, 0, 0, 0, 0, 12, 0]));
        talk.server(&pdu(2, 3, &[0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]));
        let expected = [
            ("svcctl", "OpenSCManagerW", Outcome::Success),
            ("svcctl", "CreateServiceW", Outcome::Failure),
        ];
        assert_eq!(calls(&talk), expected);
    }

    #[test]
    fn a_fault_fails_its_call_and_one_side_alone_is_told_at_the_end() {
        let mut talk = Talk::tcp(&SPEC, 49_700);
        talk.client(&pdu(0, 2, &[0, 0, 0, 0, 0, 0, 3, 0]));
        talk.server(&pdu(3, 2, &[0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0]));
        talk.client(&pdu(0, 3, &[0, 0, 0, 0, 0, 0, 4, 0]));
        talk.close();
        let expected = [
            ("", "op 3", Outcome::Failure),
            ("", "op 4", Outcome::Unknown),
        ];
        assert_eq!(calls(&talk), expected);
    }

    #[test]
    fn reading_goes_on_at_the_next_header_after_a_hole() {
        let mut talk = Talk::tcp(&SPEC, 49_700);
        talk.client(&bind_svcctl());
        talk.gap(Side::Client, 1000);
        talk.client(b"middle of something else");
        talk.client(&pdu(0, 2, &[0, 0, 0, 0, 0, 0, 19, 0]));
        talk.server(&pdu(2, 2, &[0; 12]));
        assert_eq!(
            calls(&talk),
            [("svcctl", "StartServiceW", Outcome::Success)]
        );
    }
}
