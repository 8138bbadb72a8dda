//! One file per detector, one line per detector here, in alphabetical order of id.

mod amplification;
mod asrep_roasting;
mod beacon;
mod dcsync;
mod dns_tunnel;
mod exfiltration;
mod flood;
mod http_oddity;
mod joint_anomaly;
mod kerberoasting;
mod lateral_movement;
mod password_guessing;
mod password_spraying;
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
mod wrong_port;
mod zerologon;

use crate::detector::DetectorSpec;

/// All detectors.
pub const DETECTORS: &[DetectorSpec] = &[
    amplification::SPEC,
    asrep_roasting::SPEC,
    beacon::SPEC,
    dcsync::SPEC,
    dns_tunnel::SPEC,
    exfiltration::SPEC,
    flood::SPEC,
    http_oddity::SPEC,
    joint_anomaly::SPEC,
    kerberoasting::SPEC,
    lateral_movement::SPEC,
    password_guessing::SPEC,
    password_spraying::SPEC,
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
    wrong_port::SPEC,
    zerologon::SPEC,
];
