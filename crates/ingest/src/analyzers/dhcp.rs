//! DHCP: every message is told as it comes. For IPv6 there is no mark to know it by, so the port
//! and a whole parse together decide.

use thymus_parsers::ParseBudget;
use thymus_parsers::dhcp;
use thymus_schema::{DhcpMessage, EventBody, Mac, Service, Transport};

use crate::analyzer::{Analyzer, AnalyzerCx, AnalyzerSpec, Opening, Probe, Side};

pub(super) const SPEC: AnalyzerSpec = AnalyzerSpec {
    service: Service::Dhcp,
    transports: &[Transport::Udp],
    usual_ports: &[67, 68, 546, 547],
    probe,
    build: || Box::new(DhcpAnalyzer),
};

fn probe(opening: &Opening<'_>) -> Probe {
    let bytes = opening.first();
    let port_v6 = |port| matches!(port, 546 | 547);
    let v6 = (port_v6(opening.client_port) || port_v6(opening.server_port))
        && dhcp::parse_v6(bytes, &ParseBudget::default())
            .is_some_and(|found| found.quirks.is_empty());
    if v6 || dhcp::looks_like_v4(bytes) {
        Probe::Yes
    } else {
        Probe::No
    }
}

struct DhcpAnalyzer;

impl Analyzer for DhcpAnalyzer {
    fn data(&mut self, side: Side, bytes: &[u8], cx: &mut AnalyzerCx<'_>) {
        let budget = ParseBudget::default();
        let parsed = if dhcp::looks_like_v4(bytes) {
            dhcp::parse_v4(bytes, &budget)
        } else {
            dhcp::parse_v6(bytes, &budget)
        };
        let Some(parsed) = parsed else {
            cx.quirk("dhcp", "unreadable_message");
            return;
        };
        for quirk in parsed.quirks {
            cx.quirk("dhcp", quirk);
        }
        let message = parsed.value;
        let sender = if side == Side::Client {
            cx.conn.client.addr
        } else {
            cx.conn.server.addr
        };
        // A version 6 server names itself by an identifier; its address is where it writes from.
        let answers = matches!(message.message, "advertise" | "reply");
        cx.emit(EventBody::Dhcp(Box::new(DhcpMessage {
            message: message.message.into(),
            mac: Mac(message.mac),
            client_id: message.client_id,
            hostname: message.hostname,
            vendor: message.vendor,
            requested: message.requested,
            assigned: message.assigned,
            server: message.server.or(answers.then_some(sender)),
            routers: message.routers,
            name_servers: message.name_servers,
            lease_secs: message.lease_secs,
        })));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Talk;
    use super::*;

    #[test]
    fn a_reply_of_version_6_names_its_sender_as_server() {
        let reply = [7, 1, 2, 3, 0, 1, 0, 10, 0, 3, 0, 1, 2, 0, 0, 0, 0, 9];
        let mut talk = Talk::udp(&SPEC, 547);
        assert_eq!(talk.probe(&reply, b""), Probe::Yes);
        talk.server(&reply);
        let [EventBody::Dhcp(dhcp)] = &talk.events[..] else {
            panic!("{:?}", talk.events)
        };
        assert_eq!(
            (&*dhcp.message, dhcp.mac),
            ("reply", Mac([2, 0, 0, 0, 0, 9]))
        );
        assert_eq!(dhcp.server, Some(talk.conn.server.addr));
    }
}
