//! What of an event goes into which column. The order of the calls is that of the table's columns.

use std::fmt::{Display, Write as _};

use thymus_schema::{
    Certificate, Conn, DnsTransaction, EventBody, FlowRecord, HttpTransaction, MailEnvelope,
    Outcome, Service, SmbOperation, Timestamp, TlsHandshake, TrafficWindow,
};

use super::cells::Cells;

/// Takes the values of one row, column by column.
pub(crate) struct Row<'a> {
    columns: std::slice::IterMut<'a, Cells>,
    scratch: &'a mut String,
}

impl<'a> Row<'a> {
    /// A row of `columns`; `scratch` is only room to write in.
    pub(crate) fn new(columns: &'a mut [Cells], scratch: &'a mut String) -> Self {
        Self {
            columns: columns.iter_mut(),
            scratch,
        }
    }

    /// Text; none when empty.
    pub(crate) fn text(&mut self, text: &str) {
        if let Some(cells) = self.columns.next() {
            cells.push_text((!text.is_empty()).then_some(text));
        }
    }

    fn shown(&mut self, value: Option<impl Display>) {
        self.scratch.clear();
        // Writing to a string cannot fail.
        let _written = value.map(|value| write!(self.scratch, "{value}"));
        if let Some(cells) = self.columns.next() {
            let text = self.scratch.as_str();
            cells.push_text((!text.is_empty()).then_some(text));
        }
    }

    fn list(&mut self, texts: impl Iterator<Item = impl Display>) {
        let texts: Vec<String> = texts.map(|text| text.to_string()).collect();
        let json = (!texts.is_empty()).then(|| serde_json::to_string(&texts).unwrap_or_default());
        self.text(&json.unwrap_or_default());
    }

    fn int(&mut self, value: Option<i64>) {
        if let Some(cells) = self.columns.next() {
            cells.push_int(value);
        }
    }

    fn count(&mut self, value: u64) {
        self.int(Some(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn number(&mut self, value: impl Into<i64>) {
        self.int(Some(value.into()));
    }

    /// A number whose 0 says that there was none.
    fn nonzero(&mut self, value: impl Into<i64>) {
        self.int(Some(value.into()).filter(|value| *value != 0));
    }

    /// A time in microseconds, also 1970.
    pub(crate) fn micros(&mut self, micros: i64) {
        self.int(Some(micros));
    }

    fn time(&mut self, value: Timestamp) {
        self.int(Some(value.as_nanos().div_euclid(1_000)).filter(|value| *value != 0));
    }

    fn flag(&mut self, value: bool) {
        self.int(Some(i64::from(value)));
    }

    fn real(&mut self, value: f64) {
        if let Some(cells) = self.columns.next() {
            cells.push_real(Some(value).filter(|value| value.is_finite()));
        }
    }

    fn service(&mut self, service: Option<Service>) {
        self.text(service.map_or("", Service::as_str));
    }

    fn outcome(&mut self, outcome: Outcome) {
        self.text(match outcome {
            Outcome::Success => "success",
            Outcome::Failure => "failure",
            Outcome::Unknown => "unknown",
        });
    }

    /// A word that serde writes for an enum.
    fn word(&mut self, value: &impl serde::Serialize) {
        let word = serde_json::to_value(value).unwrap_or_default();
        self.text(word.as_str().unwrap_or_default());
    }

    /// The ends of a conversation, from the column `flow` to `vlan`.
    pub(crate) fn conn(&mut self, conn: Option<&Conn>) {
        let Some(conn) = conn else {
            self.text("");
            for _ in 0..2 {
                self.text("");
                self.int(None);
            }
            self.text("");
            self.int(None);
            return;
        };
        self.shown(Some(conn.flow).filter(|flow| flow.0 != 0));
        for end in [conn.client, conn.server] {
            self.shown(Some(end.addr));
            self.number(end.port);
        }
        self.text(conn.transport.as_str());
        self.nonzero(conn.scope.0);
    }

    /// What only this kind of event has.
    pub(crate) fn body(&mut self, body: &EventBody) {
        match body {
            EventBody::Arp(arp) => {
                self.flag(arp.reply);
                self.shown(Some(arp.sender));
                self.shown(Some(arp.sender_mac).filter(|mac| !mac.is_zero()));
                self.shown(Some(arp.target));
            }
            EventBody::DceRpc(call) => {
                self.text(&call.interface);
                self.text(&call.operation);
                self.text(&call.pipe);
                self.outcome(call.outcome);
            }
            EventBody::Dhcp(dhcp) => {
                self.text(&dhcp.message);
                self.shown(Some(dhcp.mac).filter(|mac| !mac.is_zero()));
                self.text(&dhcp.hostname);
                self.text(&dhcp.vendor);
                self.shown(dhcp.assigned);
                self.shown(dhcp.server);
            }
            EventBody::Dns(dns) => self.dns(dns),
            EventBody::FileSeen(file) => {
                self.text(&file.name);
                self.text(&file.sha256);
                self.count(file.bytes);
                self.text(&file.magic);
                self.text(&file.content_type);
                self.service(file.service);
                self.flag(file.upload);
                self.flag(file.complete);
            }
            EventBody::Flow(flow) => self.flow(flow),
            EventBody::Http(http) => self.http(http),
            EventBody::Mail(mail) => self.mail(mail),
            EventBody::Ndp(ndp) => {
                self.number(ndp.message);
                self.shown(Some(ndp.sender));
                self.shown(ndp.target);
                self.shown(Some(ndp.mac).filter(|mac| !mac.is_zero()));
            }
            EventBody::Quirk(quirk) => {
                self.text(&quirk.parser);
                self.text(&quirk.quirk);
            }
            EventBody::Smb(smb) => self.smb(smb),
            EventBody::Ssh(ssh) => {
                self.text(&ssh.client);
                self.text(&ssh.server);
                self.text(&ssh.hassh);
                self.text(&ssh.hassh_server);
            }
            EventBody::Tls(tls) => self.tls(tls),
            EventBody::Traffic(traffic) => self.traffic(traffic),
            EventBody::Kerberos(_)
            | EventBody::Ldap(_)
            | EventBody::Login(_)
            | EventBody::Ntlm(_)
            | EventBody::Rdp(_) => self.identity(body),
            EventBody::Ics(_) | EventBody::Observation(_) | EventBody::Operation(_) => {
                self.other(body);
            }
        }
    }

    fn identity(&mut self, body: &EventBody) {
        match body {
            EventBody::Kerberos(exchange) => {
                self.word(&exchange.request);
                self.text(&exchange.client);
                self.text(&exchange.realm);
                self.text(&exchange.service);
                self.int(exchange.error.map(i64::from));
                self.outcome(exchange.outcome);
                self.nonzero(exchange.ticket_etype);
                self.flag(exchange.preauth);
            }
            EventBody::Ldap(call) => {
                self.text(&call.operation);
                self.text(&call.name);
                self.text(&call.filter);
                self.int(call.result.map(i64::from));
                self.number(call.entries);
            }
            EventBody::Login(login) => {
                self.service(login.service);
                self.text(&login.user);
                self.text(&login.domain);
                self.outcome(login.outcome);
                self.text(&login.method);
                self.text(&login.client);
                self.number(login.attempts);
            }
            EventBody::Ntlm(ntlm) => {
                self.text(&ntlm.user);
                self.text(&ntlm.domain);
                self.text(&ntlm.workstation);
                self.text(&ntlm.server_name);
                self.outcome(ntlm.outcome);
                self.service(ntlm.carrier);
                self.flag(ntlm.version1);
            }
            EventBody::Rdp(rdp) => {
                self.text(&rdp.cookie);
                self.text(&rdp.client_name);
                self.text(&rdp.security);
                self.outcome(rdp.outcome);
            }
            _ => {}
        }
    }

    fn other(&mut self, body: &EventBody) {
        match body {
            EventBody::Ics(call) => {
                self.service(call.protocol);
                self.number(call.unit);
                self.number(call.function);
                self.text(&call.name);
                self.flag(call.write);
                self.number(call.address);
                self.number(call.quantity);
                self.int(call.exception.map(i64::from));
            }
            EventBody::Observation(seen) => {
                self.text(&seen.source);
                self.text(&seen.name);
                self.text(&seen.category);
                self.nonzero(seen.severity);
                self.text(&seen.detail);
                self.list(seen.techniques.iter());
            }
            EventBody::Operation(operation) => {
                self.service(operation.service);
                self.text(&operation.verb);
                self.text(&operation.object);
                self.text(&operation.detail);
                self.count(operation.request_len);
                self.count(operation.response_len);
                self.outcome(operation.outcome);
            }
            _ => {}
        }
    }

    fn dns(&mut self, dns: &DnsTransaction) {
        self.word(&dns.flavor);
        self.text(&dns.query);
        self.number(dns.qtype);
        self.int(dns.rcode.map(i64::from));
        self.list(dns.answers.iter().map(|answer| &answer.data));
        self.count(dns.answers.len() as u64);
        self.nonzero(dns.query_len);
        self.nonzero(dns.response_len);
    }

    fn flow(&mut self, flow: &FlowRecord) {
        self.time(flow.start);
        self.real(flow.duration.as_secs_f64());
        self.count(flow.client_bytes);
        self.count(flow.server_bytes);
        self.count(flow.client_packets);
        self.count(flow.server_packets);
        self.text(flow.state.as_str());
        self.service(flow.service);
        self.shown(flow.client_mac);
        self.shown(flow.server_mac);
        self.number(flow.part);
        self.flag(flow.last);
    }

    fn http(&mut self, http: &HttpTransaction) {
        self.text(&http.method);
        self.text(&http.host);
        self.text(&http.uri);
        self.nonzero(http.status);
        self.text(&http.user_agent);
        self.text(&http.referrer);
        self.count(http.request_len);
        self.count(http.response_len);
        self.text(&http.content_type);
        self.text(&http.magic);
        self.text(&http.file_name);
        self.text(&http.user);
        self.flag(http.proxied);
    }

    fn mail(&mut self, mail: &MailEnvelope) {
        self.text(&mail.helo);
        self.text(&mail.from);
        self.list(mail.to.iter());
        self.number(mail.recipients);
        self.text(&mail.subject);
        self.text(&mail.header_from);
        self.count(mail.bytes);
        self.flag(mail.tls);
        self.nonzero(mail.status);
    }

    fn smb(&mut self, smb: &SmbOperation) {
        self.word(&smb.action);
        self.text(&smb.share);
        self.text(&smb.path);
        self.text(&smb.new_path);
        self.count(smb.bytes);
        self.int(Some(i64::from(smb.status)).filter(|status| *status != 0xffff_ffff));
        self.text(&smb.user);
        self.nonzero(smb.dialect);
    }

    fn tls(&mut self, tls: &TlsHandshake) {
        let none = Certificate::default();
        let certificate = tls.certificate.as_deref();
        let cert = certificate.unwrap_or(&none);
        self.text(&tls.sni);
        self.text(&tls.alpn);
        self.nonzero(tls.version);
        self.nonzero(tls.cipher);
        self.text(&tls.ja3);
        self.text(&tls.ja4);
        self.text(&cert.subject);
        self.text(&cert.issuer);
        self.time(cert.not_before);
        self.time(cert.not_after);
        self.list(cert.names.iter());
        self.text(&cert.sha256);
        self.int(certificate.map(|cert| i64::from(cert.self_signed)));
        self.flag(tls.quic);
        self.flag(tls.established);
        self.flag(tls.resumed);
    }

    fn traffic(&mut self, traffic: &TrafficWindow) {
        self.shown(traffic.addr);
        self.real(traffic.secs);
        self.count(traffic.packets_out);
        self.count(traffic.packets_in);
        self.count(traffic.bytes_out);
        self.count(traffic.bytes_in);
        self.count(traffic.peers);
        self.count(traffic.ports_out);
        self.count(traffic.syn_out);
        self.count(traffic.syn_in);
        self.count(traffic.rst);
    }
}
