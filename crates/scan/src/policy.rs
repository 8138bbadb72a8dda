//! How much of a file is looked at.

use serde::{Deserialize, Serialize};

use crate::Calibration;

/// How much of a file is looked at. All bounds hold for one file named by the walk, with everything in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScanPolicy {
    /// Bytes of a file; a larger one is not read.
    pub file_bytes_max: u64,
    /// Bytes of one member.
    pub member_bytes_max: u64,
    /// Bytes that may come out of one file altogether.
    pub unpacked_bytes_max: u64,
    /// Bytes of members that are open at one time, one inside the other.
    pub open_bytes_max: u64,
    /// How many times its own size may come out of a file.
    pub ratio_max: u64,
    /// What may come out of a file however small it is, in bytes.
    pub ratio_free_bytes: u64,
    /// Members of one file.
    pub members_max: u32,
    /// Archives and documents inside one another.
    pub depth_max: u32,
    /// Milliseconds one file may take.
    pub millis_max: u64,
    /// Passwords to try on locked archives.
    pub passwords: Vec<String>,
    /// Whether to find out what would turn a finding around, which takes longer than to find it.
    pub explains: bool,
    /// What is rare on the user's own files.
    pub calibrations: Vec<Calibration>,
}

impl ScanPolicy {
    /// Seconds that rules may take for one file or member.
    pub(crate) fn rule_secs_max(&self) -> u64 {
        (self.millis_max / 3000).max(1)
    }
}

impl Default for ScanPolicy {
    fn default() -> Self {
        Self {
            file_bytes_max: 64 << 20,
            member_bytes_max: 32 << 20,
            unpacked_bytes_max: 512 << 20,
            open_bytes_max: 64 << 20,
            ratio_max: 200,
            ratio_free_bytes: 32 << 20,
            members_max: 20_000,
            depth_max: 8,
            millis_max: 30_000,
            passwords: Vec::new(),
            explains: false,
            calibrations: Vec::new(),
        }
    }
}
