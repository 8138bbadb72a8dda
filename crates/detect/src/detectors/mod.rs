//! One file per detector, one line per detector here, in alphabetical order of id.

mod beacon;
mod rare_destination;
mod rare_ja4;
mod rare_service;
mod rare_user_agent;

use crate::detector::DetectorSpec;

/// All detectors.
pub const DETECTORS: &[DetectorSpec] = &[
    beacon::SPEC,
    rare_destination::SPEC,
    rare_ja4::SPEC,
    rare_service::SPEC,
    rare_user_agent::SPEC,
];
