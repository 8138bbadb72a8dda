//! One file per protocol, one line per protocol in [`ANALYZERS`], in alphabetical order.

mod dce_rpc;
mod dhcp;
mod dns;
mod http;
mod kerberos;
mod llmnr;
mod mdns;
mod nbns;
mod quic;
mod smb;
mod ssh;
#[cfg(test)]
mod testing;
mod tls;

use crate::analyzer::AnalyzerSpec;

/// All protocols that are read.
pub const ANALYZERS: &[AnalyzerSpec] = &[
    dce_rpc::SPEC,
    dhcp::SPEC,
    dns::SPEC,
    http::SPEC,
    kerberos::SPEC,
    llmnr::SPEC,
    mdns::SPEC,
    nbns::SPEC,
    quic::SPEC,
    smb::SPEC,
    ssh::SPEC,
    tls::SPEC,
];
