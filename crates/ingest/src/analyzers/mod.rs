//! One file per protocol, one line per protocol in [`ANALYZERS`], in alphabetical order.

mod dce_rpc;
mod dhcp;
mod dnp3;
mod dns;
mod ftp;
mod http;
mod imap;
mod kerberos;
mod ldap;
mod llmnr;
mod mdns;
mod modbus;
mod mongo;
mod mqtt;
mod mssql;
mod mysql;
mod nbns;
mod pop3;
mod postgres;
mod quic;
mod rdp;
mod redis;
mod s7;
mod smb;
mod smtp;
mod socks;
mod ssh;
mod stratum;
mod telnet;
mod tls;
mod vnc;
#[cfg(test)]
mod testing;

use crate::analyzer::AnalyzerSpec;

/// All protocols that are read.
pub const ANALYZERS: &[AnalyzerSpec] = &[
    dce_rpc::SPEC,
    dhcp::SPEC,
    dnp3::SPEC,
    dns::SPEC,
    ftp::SPEC,
    http::SPEC,
    imap::SPEC,
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
    pop3::SPEC,
    postgres::SPEC,
    quic::SPEC,
    rdp::SPEC,
    redis::SPEC,
    s7::SPEC,
    smb::SPEC,
    smtp::SPEC,
    socks::SPEC,
    ssh::SPEC,
    stratum::SPEC,
    telnet::SPEC,
    tls::SPEC,
    vnc::SPEC,
];
