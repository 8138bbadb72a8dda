//! Every protocol this crate reads, in one visible slice. The mutation test, the fuzz targets and
//! the case folders are checked against it.

/// A protocol's registration.
#[derive(Clone, Copy)]
pub struct Protocol {
    /// Its name: also that of its case folder, its fuzz target and (with few exceptions) its module.
    pub name: &'static str,
    /// Runs the parser over hostile bytes and throws the result away. Must return, whatever comes.
    pub fuzz: fn(&[u8]),
}

const fn protocol(name: &'static str, fuzz: fn(&[u8])) -> Protocol {
    Protocol { name, fuzz }
}

/// All protocols, in alphabetical order: one line each.
pub const PROTOCOLS: &[Protocol] = &[
    protocol("arp", crate::arp::fuzz),
    protocol("bacnet", crate::bacnet::fuzz),
    protocol("bittorrent", crate::bittorrent::fuzz),
    protocol("dce_rpc", crate::dce_rpc::fuzz),
    protocol("dhcp", crate::dhcp::fuzz),
    protocol("dnp3", crate::dnp3::fuzz),
    protocol("dns", crate::dns::fuzz),
    protocol("enip", crate::enip::fuzz),
    protocol("fins", crate::fins::fuzz),
    protocol("ftp", crate::ftp::fuzz),
    protocol("http", crate::http::fuzz),
    protocol("http2", crate::http2::fuzz),
    protocol("iec104", crate::iec104::fuzz),
    protocol("imap", crate::imap::fuzz),
    protocol("irc", crate::irc::fuzz),
    protocol("json", crate::json::fuzz),
    protocol("kerberos", crate::kerberos::fuzz),
    protocol("ldap", crate::ldap::fuzz),
    protocol("magic", crate::magic::fuzz),
    protocol("modbus", crate::modbus::fuzz),
    protocol("mongo", crate::mongo::fuzz),
    protocol("mqtt", crate::mqtt::fuzz),
    protocol("multipart", crate::multipart::fuzz),
    protocol("mysql", crate::mysql::fuzz),
    protocol("nbns", crate::nbns::fuzz),
    protocol("ndp", crate::ndp::fuzz),
    protocol("netflow", crate::netflow::fuzz),
    protocol("ntlm", crate::ntlm::fuzz),
    protocol("ntp", crate::ntp::fuzz),
    protocol("packet", crate::packet::fuzz),
    protocol("pop3", crate::pop3::fuzz),
    protocol("postgres", crate::postgres::fuzz),
    protocol("quic", crate::quic::fuzz),
    protocol("rdp", crate::rdp::fuzz),
    protocol("redis", crate::redis::fuzz),
    protocol("rtp", crate::rtp::fuzz),
    protocol("s7", crate::s7::fuzz),
    protocol("sasl", crate::sasl::fuzz),
    protocol("sflow", crate::sflow::fuzz),
    protocol("sip", crate::sip::fuzz),
    protocol("smb", crate::smb::fuzz),
    protocol("smtp", crate::smtp::fuzz),
    protocol("snmp", crate::snmp::fuzz),
    protocol("socks", crate::socks::fuzz),
    protocol("spnego", crate::spnego::fuzz),
    protocol("ssdp", crate::ssdp::fuzz),
    protocol("ssh", crate::ssh::fuzz),
    protocol("stratum", crate::stratum::fuzz),
    protocol("stun", crate::stun::fuzz),
    protocol("syslog", crate::syslog::fuzz),
    protocol("tds", crate::tds::fuzz),
    protocol("telnet", crate::telnet::fuzz),
    protocol("tftp", crate::tftp::fuzz),
    protocol("tls", crate::tls::fuzz),
    protocol("vnc", crate::vnc::fuzz),
    protocol("wireguard", crate::wireguard::fuzz),
    protocol("x509", crate::x509::fuzz),
    protocol("zeek", crate::zeek::fuzz),
];

/// Runs one protocol's parser over hostile bytes; what the fuzz targets call.
///
/// # Panics
/// When no protocol has this name.
#[expect(
    clippy::panic,
    reason = "a fuzz target that names no parser must not pass"
)]
pub fn fuzz_protocol(name: &str, bytes: &[u8]) {
    let Some(protocol) = PROTOCOLS.iter().find(|protocol| protocol.name == name) else {
        panic!("no protocol is called {name}");
    };
    (protocol.fuzz)(bytes);
}
