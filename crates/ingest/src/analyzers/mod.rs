//! One file per protocol, one line per protocol in [`ANALYZERS`], in alphabetical order.

mod bacnet;
mod bittorrent;
mod calls;
mod database_login;
mod dce_rpc;
mod dhcp;
mod dnp3;
mod dns;
mod enip;
mod fins;
mod ftp;
mod http;
mod http2;
mod iec104;
mod imap;
mod irc;
mod kerberos;
mod ldap;
mod llmnr;
mod mail_login;
mod mdns;
mod modbus;
mod mongo;
mod mqtt;
mod mssql;
mod mysql;
mod nbns;
mod ntp;
mod pop3;
mod postgres;
mod quic;
mod rdp;
mod redis;
mod rtp;
mod s7;
mod sip;
mod smb;
mod smtp;
mod snmp;
mod socks;
mod ssdp;
mod ssh;
mod stratum;
mod stun;
mod syslog;
mod telnet;
#[cfg(test)]
mod testing;
mod tftp;
mod tls;
mod unanswered;
mod vnc;
mod wireguard;

use crate::analyzer::AnalyzerSpec;

/// All protocols that are read.
pub const ANALYZERS: &[AnalyzerSpec] = &[
    bacnet::SPEC,
    bittorrent::SPEC,
    dce_rpc::SPEC,
    dhcp::SPEC,
    dnp3::SPEC,
    dns::SPEC,
    enip::SPEC,
    fins::SPEC,
    ftp::SPEC,
    http::SPEC,
    http2::SPEC,
    iec104::SPEC,
    imap::SPEC,
    irc::SPEC,
    kerberos::SPEC,
    ldap::SPEC,
    llmnr::SPEC,
    mdns::SPEC,
    modbus::SPEC,
    mongo::SPEC,
    mqtt::SPEC,
    mssql::SPEC,
    mysql::SPEC,
    nbns::SPEC,
    ntp::SPEC,
    pop3::SPEC,
    postgres::SPEC,
    quic::SPEC,
    rdp::SPEC,
    redis::SPEC,
    rtp::SPEC,
    s7::SPEC,
    sip::SPEC,
    smb::SPEC,
    smtp::SPEC,
    snmp::SPEC,
    socks::SPEC,
    ssdp::SPEC,
    ssh::SPEC,
    stratum::SPEC,
    stun::SPEC,
    syslog::SPEC,
    telnet::SPEC,
    tftp::SPEC,
    tls::SPEC,
    vnc::SPEC,
    wireguard::SPEC,
];
