//! One file per detector, one line per detector here, in alphabetical order of id.

mod ad_enumeration;
mod amplification;
mod asrep_roasting;
mod beacon;
mod dcsync;
mod dead_server;
mod dga;
mod dns_tunnel;
mod exfiltration;
mod flood;
mod http_oddity;
mod icmp_tunnel;
mod ics_command;
mod infection_chain;
mod joint_anomaly;
mod kerberoasting;
mod lateral_movement;
mod mail_sender;
mod mining;
mod ntlm_pass_the_hash;
mod password_guessing;
mod password_spraying;
mod program_download;
mod proxy_use;
mod rare_destination;
mod rare_ja4;
mod rare_service;
mod rare_user_agent;
mod scan_arp;
mod scan_horizontal;
mod scan_icmp;
mod scan_slow;
mod scan_vertical;
mod share_encryption;
mod spoof_arp;
mod spoof_dhcp;
mod spoof_name;
mod threat_observation;
mod tls_oddity;
mod web_attack;
mod wrong_port;
mod zerologon;

use crate::detector::DetectorSpec;

/// All detectors.
pub const DETECTORS: &[DetectorSpec] = &[
    ad_enumeration::SPEC,
    amplification::SPEC,
    asrep_roasting::SPEC,
    beacon::SPEC,
    dcsync::SPEC,
    dead_server::SPEC,
    dga::SPEC,
    dns_tunnel::SPEC,
    exfiltration::SPEC,
    flood::SPEC,
    http_oddity::SPEC,
    icmp_tunnel::SPEC,
    ics_command::SPEC,
    infection_chain::SPEC,
    joint_anomaly::SPEC,
    kerberoasting::SPEC,
    lateral_movement::SPEC,
    mail_sender::SPEC,
    mining::SPEC,
    ntlm_pass_the_hash::SPEC,
    password_guessing::SPEC,
    password_spraying::SPEC,
    program_download::SPEC,
    proxy_use::SPEC,
    rare_destination::SPEC,
    rare_ja4::SPEC,
    rare_service::SPEC,
    rare_user_agent::SPEC,
    scan_arp::SPEC,
    scan_horizontal::SPEC,
    scan_icmp::SPEC,
    scan_slow::SPEC,
    scan_vertical::SPEC,
    share_encryption::SPEC,
    spoof_arp::SPEC,
    spoof_dhcp::SPEC,
    spoof_name::SPEC,
    threat_observation::SPEC,
    tls_oddity::SPEC,
    web_attack::SPEC,
    wrong_port::SPEC,
    zerologon::SPEC,
];
