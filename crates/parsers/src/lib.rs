//! Hostile bytes to typed values: packets, protocols, log records.
//!
//! Every parser is a pure function of its input: no I/O, no clock, no panic, and bounded in time and
//! memory by the length of what it is given and by a [`ParseBudget`]. Malformed input is data: a
//! parser returns what it understood and a list of [`Quirk`]s, and never an error for the whole when
//! a part could be read.

#![forbid(unsafe_code)]
#![warn(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(
    test,
    allow(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        reason = "tests build their own input"
    )
)]

pub mod arp;
pub mod bacnet;
pub mod base64;
pub mod bittorrent;
mod budget;
pub mod dce_rpc;
mod decompress;
pub mod der;
pub mod dhcp;
pub mod dnp3;
pub mod dns;
pub mod enip;
pub mod fins;
pub mod ftp;
pub mod http;
pub mod http2;
pub mod iec104;
pub mod imap;
pub mod irc;
pub mod json;
pub mod kerberos;
pub mod ldap;
pub mod magic;
pub mod modbus;
pub mod mongo;
pub mod mqtt;
pub mod multipart;
pub mod mysql;
pub mod nbns;
pub mod ndp;
pub mod netflow;
pub mod ntlm;
pub mod ntp;
pub mod packet;
pub mod pop3;
pub mod postgres;
mod protocols;
pub mod quic;
pub mod rdp;
mod reader;
pub mod redis;
pub mod reply;
pub mod rtp;
pub mod s7;
pub mod sasl;
pub mod sflow;
pub mod sip;
pub mod smb;
pub mod smtp;
pub mod snmp;
pub mod socks;
pub mod spnego;
pub mod ssdp;
pub mod ssh;
pub mod stratum;
pub mod stun;
pub mod syslog;
pub mod tds;
pub mod telnet;
mod text;
pub mod tftp;
pub mod tls;
pub mod vnc;
pub mod wireguard;
pub mod words;
pub mod x509;
pub mod zeek;

pub use budget::{ParseBudget, Parsed, Progress, Quirk};
pub use decompress::{Compression, decompress, inflate};
pub use json::Json;
pub use protocols::{PROTOCOLS, Protocol, fuzz_protocol};
pub use reader::Reader;
pub use text::{hex, text};
