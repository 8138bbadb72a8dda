//! One file per detector, one line per detector here, in alphabetical order of id.

mod beacon;
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

use crate::detector::DetectorSpec;

/// All detectors.
pub const DETECTORS: &[DetectorSpec] = &[
    beacon::SPEC,
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
];
