//! SNMP: what is asked or set, under which community, and how much comes back.

use thymus_parsers::snmp;
use thymus_schema::{Operation, Outcome, Service, Transport};

use super::calls::Calls;
use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Snmp,
    transports: &[Transport::Udp],
    usual_ports: &[161, 162],
    probe,
    build: || Box::<SnmpAnalyzer>::default(),
};

fn probe(opening: &Opening<'_>) -> Probe {
    if snmp::parse(opening.first()).is_some() {
        Probe::Yes
    } else {
        Probe::No
    }
}

#[derive(Default)]
struct SnmpAnalyzer {
    calls: Calls,
}

impl Analyzer for SnmpAnalyzer {
    fn data(&mut self, _side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let Some(message) = snmp::parse(bytes) else {
            cx.quirk("snmp", "unreadable_message");
            return;
        };
        // A report says what is wrong with a request of version 3; asking for the engine is one.
        let outcome = match (message.operation, message.error) {
            ("response", 0) => Outcome::Success,
            ("response", _) => Outcome::Failure,
            _ => Outcome::Unknown,
        };
        let operation = || Operation {
            service: Some(Service::Snmp),
            verb: message.operation.into(),
            object: message.object.clone(),
            detail: message.community.clone(),
            ..Operation::default()
        };
        let answer = message.is_response().then_some(outcome);
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

    fn message(pdu: u8) -> Vec<u8> {
        let mut out = b"\x30\x26\x02\x01\x01\x04\x06public\xa0\x19\x02\x01\x07\x02\x01\x00\x02\x01\x00\x30\x0e\x30\x0c\x06\x08\x2b\x06\x01\x02\x01\x01\x01\x00\x05\x00".to_vec();
        out[13] = pdu;
        out
    }

    #[test]
    fn a_set_is_told_with_its_community_and_answer() {
        let mut talk = Talk::udp(&SPEC, 1161);
        assert_eq!(talk.probe(&message(0xa3), b""), Probe::Yes);
        talk.client(&message(0xa3));
        talk.server(&message(0xa2));
        talk.client(&message(0xa1));
        talk.close();
        let [EventBody::Operation(set), EventBody::Operation(next)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!((&*set.verb, &*set.object), ("set", "1.3.6.1.2.1.1.1.0"));
        assert_eq!(
            (&*set.detail, set.outcome, set.response_len),
            ("public", Outcome::Success, 40)
        );
        assert_eq!((&*next.verb, next.outcome), ("getnext", Outcome::Unknown));
    }

    #[test]
    fn a_directory_search_is_not_taken() {
        let talk = Talk::udp(&SPEC, 389);
        let bind = b"\x30\x0c\x02\x01\x01\x60\x07\x02\x01\x03\x04\x00\x80\x00";
        assert_eq!(talk.probe(bind, b""), Probe::No);
        assert_eq!(super::super::ldap::SPEC.usual_ports.first(), Some(&389));
        let ldap = Talk::udp(&super::super::ldap::SPEC, 161);
        assert_eq!(ldap.probe(&message(0xa0), b""), Probe::No);
    }
}
