//! One file per detector, one line per detector here, in alphabetical order of id.

use crate::detector::DetectorSpec;

/// All detectors.
pub const DETECTORS: &[DetectorSpec] = &[];
