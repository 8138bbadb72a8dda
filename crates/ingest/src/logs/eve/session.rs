//! TLS, SSH, RDP, DHCP, MQTT, SNMP and industrial protocols.

use thymus_parsers::Json;
use thymus_schema::{
    Certificate, DhcpMessage, EventBody, IcsCall, Login, Operation, Outcome, RdpHello, Service,
    SshHello, Timestamp, TlsHandshake,
};

use super::{EveRecord, text, time};
use crate::logs::names::{dnp3_function, modbus_function, tls_version};
use crate::logs::{Decoded, Records};

pub(super) fn tls(tls: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let (subject, issuer) = (text(tls.get("subject")), text(tls.get("issuerdn")));
    // Times of certificates come without an offset; they are UTC.
    let day = |name| {
        let json = tls.get(name);
        time(json)
            .or_else(|| Timestamp::parse(&format!("{}Z", json.text())))
            .unwrap_or_default()
    };
    let certificate = (!subject.is_empty() || !issuer.is_empty()).then(|| {
        Box::new(Certificate {
            self_signed: !subject.is_empty() && subject == issuer,
            not_before: day("notbefore"),
            not_after: day("notafter"),
            names: tls
                .get("subjectaltname")
                .list()
                .iter()
                .take(32)
                .map(text)
                .collect(),
            chain_len: tls.get("chain").list().len().min(255) as u8,
            subject,
            issuer,
            ..Certificate::default()
        })
    });
    let version = tls_version(
        tls.get("version")
            .text()
            .replace("TLS ", "TLSv")
            .replace('.', "")
            .as_str(),
    );
    let body = TlsHandshake {
        version: if version == 0 {
            tls_version(tls.get("version").text())
        } else {
            version
        },
        sni: tls.get("sni").text().to_ascii_lowercase().into(),
        alpn: text(
            tls.get("client_alpns")
                .list()
                .first()
                .unwrap_or(&Json::Null),
        ),
        ja3: text(tls.at(&["ja3", "hash"])),
        ja4: text(tls.get("ja4")),
        established: version != 0,
        resumed: tls.get("session_resumed").bool().unwrap_or(false),
        certificate,
        ..TlsHandshake::default()
    };
    record.emit(records, EventBody::Tls(Box::new(body)))
}

pub(super) fn ssh(ssh: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let body = SshHello {
        client: text(ssh.at(&["client", "software_version"])),
        server: text(ssh.at(&["server", "software_version"])),
        hassh: text(ssh.at(&["client", "hassh", "hash"])),
        hassh_server: text(ssh.at(&["server", "hassh", "hash"])),
    };
    record.emit(records, EventBody::Ssh(Box::new(body)))
}

/// RDP is told in steps; only the first names the user, only the third the client.
pub(super) fn rdp(rdp: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let body = RdpHello {
        cookie: text(rdp.get("cookie")),
        client_name: text(rdp.at(&["client", "client_name"])),
        security: text(rdp.get("protocol")),
        outcome: Outcome::Unknown,
    };
    let first = rdp.get("event_type").text() == "initial_request";
    if !first {
        return Decoded::Unused("later_step_of_a_session");
    }
    let login = Login {
        service: Some(Service::Rdp),
        user: body.cookie.clone(),
        attempts: 1,
        ..Login::default()
    };
    record.emit(records, EventBody::Rdp(Box::new(body)));
    record.emit(records, EventBody::Login(Box::new(login)))
}

pub(super) fn dhcp(dhcp: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let addr = |json: &Json<'_>| json.text().parse().ok();
    let list = |name| {
        dhcp.get(name)
            .list()
            .iter()
            .take(8)
            .filter_map(addr)
            .collect()
    };
    let body = DhcpMessage {
        message: dhcp.get("dhcp_type").text().to_ascii_lowercase().into(),
        mac: dhcp.get("client_mac").text().parse().unwrap_or_default(),
        client_id: text(dhcp.get("client_id")),
        hostname: text(dhcp.get("hostname")),
        vendor: text(dhcp.get("vendor_class_identifier")),
        requested: addr(dhcp.get("requested_ip")),
        assigned: addr(dhcp.get("assigned_ip"))
            .filter(|addr: &std::net::IpAddr| !addr.is_unspecified()),
        server: addr(dhcp.get("server_identifier")),
        routers: list("routers"),
        name_servers: list("dns_servers"),
        lease_secs: dhcp.get("lease_time").u64().unwrap_or(0) as u32,
    };
    record.emit(records, EventBody::Dhcp(Box::new(body)))
}

pub(super) fn mqtt(mqtt: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let Some((verb, message)) = mqtt
        .members()
        .iter()
        .find(|(_, value)| !value.members().is_empty())
    else {
        return Decoded::Unused("log_not_used");
    };
    let object = ["topic", "client_id"]
        .into_iter()
        .map(|name| text(message.get(name)));
    let topics = message.get("topics").list().first();
    let topic = topics.map(|topic| match topic {
        Json::Text(_) => text(topic),
        other => text(other.get("topic")),
    });
    let outcome = match message.get("return_code").u64() {
        Some(0) => Outcome::Success,
        Some(_) => Outcome::Failure,
        None => Outcome::Unknown,
    };
    let body = Operation {
        service: Some(Service::Mqtt),
        verb: verb.to_ascii_lowercase().into(),
        object: object
            .chain(topic)
            .find(|object| !object.is_empty())
            .unwrap_or_default(),
        detail: text(message.get("username")),
        outcome,
        ..Operation::default()
    };
    record.emit(records, EventBody::Operation(Box::new(body)))
}

pub(super) fn snmp(snmp: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let verb = match snmp.get("pdu_type").text() {
        "get_request" => "get",
        "get_next_request" => "getnext",
        "get_bulk_request" => "getbulk",
        "set_request" => "set",
        "response" => return Decoded::Unused("snmp_response"),
        other => other,
    };
    let body = Operation {
        service: Some(Service::Snmp),
        verb: verb.into(),
        object: text(snmp.get("vars").list().first().unwrap_or(&Json::Null)),
        detail: text(snmp.get("community")),
        ..Operation::default()
    };
    record.emit(records, EventBody::Operation(Box::new(body)))
}

pub(super) fn modbus(modbus: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    let request = modbus.get("request");
    let access = request.get("access_type").text().to_ascii_lowercase();
    let raw = request.get("function_raw").u64();
    let name: String = snake(request.get("function_code").text());
    let (number, write) = modbus_function(&long_name(&name));
    let span = [request.get("write"), request.get("read")]
        .into_iter()
        .find(|s| !s.is_null());
    let span = span.unwrap_or(&Json::Null);
    let count = |name| span.get(name).u64().unwrap_or(0) as u32;
    let exception = modbus.at(&["response", "exception", "raw"]).u64();
    let body = IcsCall {
        protocol: Some(Service::Modbus),
        unit: request.get("unit_id").u64().unwrap_or(0) as u16,
        function: raw.map_or(number, |raw| raw as u16),
        name: long_name(&name).to_ascii_lowercase().into(),
        write: write || access.contains("write"),
        address: count("address"),
        quantity: count("quantity"),
        exception: exception.and_then(|code| u8::try_from(code).ok()),
    };
    record.emit(records, EventBody::Ics(Box::new(body)))
}

/// `RdHoldRegs` as `rd_hold_regs`.
fn snake(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    for (index, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && index > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

/// Suricata's short Modbus names in the specification's words.
fn long_name(name: &str) -> String {
    let long = match name {
        "rd_coils" => "READ_COILS",
        "rd_discrete_inputs" => "READ_DISCRETE_INPUTS",
        "rd_hold_regs" => "READ_HOLDING_REGISTERS",
        "rd_input_regs" => "READ_INPUT_REGISTERS",
        "wr_single_coil" => "WRITE_SINGLE_COIL",
        "wr_single_reg" => "WRITE_SINGLE_REGISTER",
        "wr_mult_coils" => "WRITE_MULTIPLE_COILS",
        "wr_mult_regs" => "WRITE_MULTIPLE_REGISTERS",
        "mask_wr_reg" => "MASK_WRITE_REGISTER",
        "rd_wr_mult_regs" => "READ_WRITE_MULTIPLE_REGISTERS",
        "wr_file_record" => "WRITE_FILE_RECORD",
        "rd_file_record" => "READ_FILE_RECORD",
        "diagnostic" => "DIAGNOSTICS",
        other => other,
    };
    long.to_owned()
}

pub(super) fn dnp3(dnp3: &Json<'_>, record: &EveRecord<'_>, records: &mut Records) -> Decoded {
    if dnp3.get("type").text() == "response" || dnp3.get("type").text() == "unsolicited_response" {
        return Decoded::Unused("dnp3_response_alone");
    }
    let request = [dnp3.get("request"), dnp3]
        .into_iter()
        .find(|part| !part.is_null());
    let request = request.unwrap_or(dnp3);
    let code = request.at(&["application", "function_code"]);
    let (known, _) = dnp3_function(code.text());
    let function = code.u64().map_or(known, |code| code as u16);
    let write = matches!(function, 2..=6 | 9 | 10 | 13..=22 | 27 | 31);
    let body = IcsCall {
        protocol: Some(Service::Dnp3),
        unit: request.get("dst").u64().unwrap_or(0) as u16,
        function,
        name: format!("function_{function}").into(),
        write,
        ..IcsCall::default()
    };
    record.emit(records, EventBody::Ics(Box::new(body)))
}
