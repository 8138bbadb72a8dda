//! NTP: control and private messages, which can be abused for amplification. The exchange of times
//! is recognised and left alone.

use thymus_parsers::ntp::{self, Message};
use thymus_schema::{Operation, Outcome, Service, Transport};

use super::calls::Calls;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

const PORT: u16 = 123;

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Ntp,
    transports: &[Transport::Udp],
    usual_ports: &[PORT],
    probe,
    build: || Box::<NtpAnalyzer>::default(),
};

/// NTP has no mark. At its port a possible header does; elsewhere the answer must repeat the time of
/// the question.
fn probe(opening: &Opening<'_>) -> Probe {
    let (client, server) = (ntp::parse(opening.client), ntp::parse(opening.server));
    if opening.server_port == PORT || opening.client_port == PORT {
        return if client.is_some() || server.is_some() {
            Probe::Yes
        } else {
            Probe::No
        };
    }
    match (client, server) {
        (
            Some(Message::Time {
                mode: 3, transmit, ..
            }),
            Some(Message::Time {
                mode: 4, originate, ..
            }),
        ) if transmit == originate && transmit != 0 => Probe::Yes,
        (
            Some(Message::Time {
                mode: 3,
                transmit: 1..,
                ..
            }),
            None,
        ) if opening.server.is_empty() => Probe::More,
        _ => Probe::No,
    }
}

#[derive(Default)]
struct NtpAnalyzer {
    calls: Calls,
}

impl Analyzer for NtpAnalyzer {
    fn data(&mut self, _side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Some(message) = ntp::parse(bytes) else {
            cx.quirk("ntp", "unreadable_message");
            return;
        };
        let Message::Control {
            mode,
            response,
            code,
            failed,
        } = message
        else {
            return;
        };
        let name = message.operation();
        let outcome = if failed {
            Outcome::Failure
        } else {
            Outcome::Success
        };
        let operation = || Operation {
            service: Some(Service::Ntp),
            verb: if name == "monlist" {
                "monlist"
            } else {
                "control"
            }
            .into(),
            object: if name.is_empty() {
                format!("op {code}").into()
            } else {
                name.into()
            },
            detail: format!("mode {mode}").into(),
            ..Operation::default()
        };
        let answer = response.then_some(outcome);
        self.calls.message(bytes.len(), answer, operation, cx);
    }

    fn close(&mut self, cx: &mut AnalyzerCx<'_>) {
        self.calls.close(cx);
    }
}

#[cfg(test)]
mod tests {
    use thymus_schema::EventBody;

    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn monlist_is_told_with_its_sizes() {
        let ask = b"\x17\0\x03\x2a\0\0\0\0";
        let mut talk = Talk::udp(&SPEC, 123);
        assert_eq!(talk.probe(ask, b""), Probe::Yes);
        talk.client(ask);
        let mut answer = b"\x97\0\x03\x2a\0\x06\0\x48".to_vec();
        answer.resize(440, 1);
        talk.server(&answer);
        talk.server(&answer);
        talk.close();
        let [EventBody::Operation(call)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (&*call.verb, call.request_len, call.response_len),
            ("monlist", 8, 880)
        );
        assert_eq!(call.outcome, Outcome::Success);
    }

    #[test]
    fn times_are_known_elsewhere_only_by_their_echo() {
        let mut ask = [0_u8; 48];
        ask[0] = 0x23;
        ask[40..].copy_from_slice(b"12345678");
        let mut answer = [0_u8; 48];
        answer[0] = 0x24;
        answer[24..32].copy_from_slice(b"12345678");
        let mut talk = Talk::udp(&SPEC, 4460);
        assert_eq!(talk.probe(&ask, b""), Probe::More);
        assert_eq!(talk.probe(&ask, &answer), Probe::Yes);
        answer[24] = 0;
        assert_eq!(talk.probe(&ask, &answer), Probe::No);
        assert_eq!(talk.probe(b"\x17\0\x03\x2a\0\0\0\0", b""), Probe::No);
        talk.client(&ask);
        talk.close();
        assert!(talk.events.is_empty(), "an exchange of times is no event");
    }
}
