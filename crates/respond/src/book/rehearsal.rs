//! What a rehearsal says.

use serde::{Deserialize, Serialize};

use super::LifeTest;
use crate::cut::Talk;

/// What a cut would have done to the last days.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// Days that were looked at, as far as there is anything.
    pub days: u32,
    /// Usual conversations of the devices it is about.
    pub flows: u64,
    /// Of them, those it would have cut.
    pub cut: u64,
    /// Usual conversations of the whole network.
    pub flows_all: u64,
    /// Devices that would have missed something.
    pub devices: u64,
    /// Devices of the network.
    pub devices_all: u64,
    /// The patterns that would have been cut, the most frequent first.
    pub named: Vec<(Talk, u64)>,
    /// Conversations that were not kept apart, so that nobody can say.
    pub unknown: u64,
    /// How the pattern of life that stays open would have held on days that it had not seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life: Option<LifeTest>,
    /// Processes and files of this machine that it would take hold of now, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<String>,
}

impl Rehearsal {
    /// Share of the conversations of those it is about that it would have cut: usual ones, or those of a day that
    /// the pattern of life had not seen.
    pub fn share(&self) -> f64 {
        let usual = self.cut as f64 / self.flows.max(1) as f64;
        usual.max(self.life.as_ref().map_or(0.0, LifeTest::share))
    }

    /// As a sentence or two.
    pub fn sentence(&self) -> String {
        let traffic = self.of_traffic();
        if self.held.is_empty() {
            return traffic;
        }
        format!("{traffic} Takes hold of {}.", self.held.join(", "))
    }

    fn of_traffic(&self) -> String {
        let last = match self.days {
            0 | 1 => "day".to_owned(),
            days => format!("{days} days"),
        };
        if self.flows == 0 {
            return format!(
                "Nothing usual is known of it from the last {last}, so nothing usual would have been cut."
            );
        }
        let of = match self.devices {
            0 => String::new(),
            1 => ", of 1 device".to_owned(),
            more => format!(", of {more} devices"),
        };
        let (cut, flows) = (self.cut, self.flows);
        let life = self.life.as_ref().and_then(LifeTest::sentence);
        let life = life.map_or_else(String::new, |life| format!(" {life}"));
        format!("Would have cut {cut} of {flows} usual conversations of the last {last}{of}.{life}")
    }
}
