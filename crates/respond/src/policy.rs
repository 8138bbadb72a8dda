//! What may be done, by itself or when a person agrees, to whom and at which hours. The default does nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use thymus_schema::{Confidence, EntityId, Timestamp};

use crate::cut::Port;
use crate::decision::{Mode, Realm, Verb};
use crate::responder::{Place, RESPONDERS, Responders};

/// The settings of a response, as a policy file has them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// Who decides where no rule fits.
    pub mode: Mode,
    /// Who decides: the first rule that fits.
    pub rules: Vec<ModeRule>,
    /// How sure an incident has to be before anything is done about it.
    pub confidence: Confidence,
    /// What may be done at all; everything without.
    pub verbs: Option<BTreeSet<Verb>>,
    /// For how long an action holds, in minutes.
    pub minutes: u32,
    /// For how long a question waits for its answer, in minutes.
    pub answer_minutes: u32,
    /// An action that is not confirmed within so many seconds is taken back; 0 asks for no confirmation.
    pub confirm_seconds: u32,
    /// What carries it out; several at a time.
    pub responders: Vec<String>,
    /// For the responder `reset`.
    pub reset: ResetPolicy,
    /// Programs, by the path of their file, that the responder `freezer` never stops.
    pub never_processes: BTreeSet<PathBuf>,
    /// Folders below which the responder `quarantine` may take files away.
    pub file_roots: Vec<PathBuf>,
    /// Limits that nobody's approval lifts.
    pub caps: Caps,
    /// Networks that are never acted upon.
    pub never: Vec<IpNet>,
    /// Devices that are never acted upon.
    pub never_devices: Vec<EntityId>,
    /// Services that are never cut.
    pub never_services: Vec<Port>,
    /// What has to go on working, as `tcp://host:port`: an action after which one fails is taken back.
    pub probes: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            mode: Mode::Simulate,
            rules: Vec::new(),
            confidence: Confidence::High,
            verbs: None,
            minutes: 60,
            answer_minutes: 60,
            confirm_seconds: 0,
            responders: vec!["nftables".to_owned()],
            reset: ResetPolicy::default(),
            never_processes: BTreeSet::new(),
            file_roots: Vec::new(),
            caps: Caps::default(),
            never: Vec::new(),
            never_devices: Vec::new(),
            never_services: Vec::new(),
            probes: Vec::new(),
        }
    }
}

/// Settings of the responder `reset`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResetPolicy {
    /// The interface where packets are seen, and resets sent.
    pub interface: String,
}

/// Limits for all actions together.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Caps {
    /// Devices acted upon at a time, as a share of those known; at least `devices_min` are allowed.
    pub devices_share: f64,
    /// Devices that may be acted upon in the smallest network.
    pub devices_min: u64,
    /// Share of the usual conversations of the whole network that all actions together may cut; at least what
    /// `devices_min` devices would have if all had the same.
    pub flows_share: f64,
    /// Share of the usual conversations of one device that an action may cut by itself; more needs a person.
    pub flows_of_device_share: f64,
    /// The same while data are being destroyed or taken, when waiting for a person costs more than the cut.
    pub flows_of_device_share_harmed: f64,
    /// Actions at a time.
    pub actions: u64,
}

impl Default for Caps {
    fn default() -> Self {
        Self {
            devices_share: 0.05,
            devices_min: 3,
            flows_share: 0.02,
            flows_of_device_share: 0.05,
            flows_of_device_share_harmed: 1.0,
            actions: 10_000,
        }
    }
}

/// A rule about who decides.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModeRule {
    /// Who decides.
    pub mode: Mode,
    /// About devices in these networks; all without.
    pub networks: Vec<IpNet>,
    /// About these devices; all without.
    pub devices: Vec<EntityId>,
    /// About these verbs; all without.
    pub verbs: Vec<Verb>,
    /// At these hours; always without.
    pub hours: Option<Hours>,
    /// When the incident is at least so sure.
    pub confidence: Option<Confidence>,
}

/// Hours of the week, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// From this hour of the day on, 0 to 23.
    pub from: u8,
    /// Up to this hour, 1 to 24; below `from` it is that of the next day.
    pub to: u8,
    /// Only on Saturdays and Sundays (true), or only on other days (false).
    #[serde(default)]
    pub weekend: Option<bool>,
}

impl Hours {
    /// Whether `at` is inside; the day is that on which the hours began.
    pub fn contains(&self, at: Timestamp) -> bool {
        let hour = at.hour_of_week();
        let (day, of_day) = (hour / 24, hour % 24);
        let (from, to) = (usize::from(self.from), usize::from(self.to));
        let (is_in, began) = if from < to {
            ((from..to).contains(&of_day), day)
        } else if of_day >= from {
            (true, day)
        } else {
            (of_day < to, (day + 6) % 7)
        };
        is_in && self.weekend.is_none_or(|weekend| weekend == (began >= 5))
    }
}

impl Policy {
    /// Who decides about doing `verb` to `device` with these addresses at `at`.
    pub fn mode(
        &self,
        verb: Verb,
        device: &EntityId,
        addrs: &[std::net::IpAddr],
        confidence: Confidence,
        at: Timestamp,
    ) -> Mode {
        let fits = |rule: &&ModeRule| {
            let in_networks = |addr: &std::net::IpAddr| {
                rule.networks
                    .iter()
                    .any(|net| net.contains(&addr.to_canonical()))
            };
            (rule.networks.is_empty() || (!addrs.is_empty() && addrs.iter().all(in_networks)))
                && (rule.devices.is_empty() || rule.devices.contains(device))
                && (rule.verbs.is_empty() || rule.verbs.contains(&verb))
                && rule.hours.is_none_or(|hours| hours.contains(at))
                && rule.confidence.is_none_or(|least| confidence >= least)
        };
        self.rules
            .iter()
            .find(fits)
            .map_or(self.mode, |rule| rule.mode)
    }

    /// Whether another policy is carried out by other means.
    pub fn has_other_means(&self, other: &Self) -> bool {
        self.responders != other.responders
            || self.reset != other.reset
            || self.never_processes != other.never_processes
            || self.file_roots != other.file_roots
    }

    /// Whether one of the responders it names carries this out.
    pub fn carries_out(&self, verb: Verb) -> bool {
        verb.realm().is_none_or(|realm| self.reaches(realm))
    }

    /// Whether one of the responders it names takes hold of this.
    pub fn reaches(&self, realm: Realm) -> bool {
        let mut named = RESPONDERS
            .iter()
            .filter(|spec| self.responders.iter().any(|name| spec.id == name));
        named.any(|spec| spec.realm == realm)
    }

    /// For how long an action holds.
    pub fn duration(&self) -> Duration {
        Duration::from_mins(u64::from(self.minutes))
    }

    /// Whether anything is ever done or asked.
    pub fn acts(&self) -> bool {
        self.mode != Mode::Simulate || self.rules.iter().any(|rule| rule.mode != Mode::Simulate)
    }

    /// What is wrong with it, each with its remedy.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let caps = &self.caps;
        for (name, share) in [
            ("caps.devices_share", caps.devices_share),
            ("caps.flows_share", caps.flows_share),
            ("caps.flows_of_device_share", caps.flows_of_device_share),
            (
                "caps.flows_of_device_share_harmed",
                caps.flows_of_device_share_harmed,
            ),
        ] {
            if !(0.0..=1.0).contains(&share) {
                faults.push(format!("{name} is {share}: a share lies between 0 and 1"));
            }
        }
        for hours in self.rules.iter().filter_map(|rule| rule.hours) {
            if hours.from > 23 || hours.to == 0 || hours.to > 24 || hours.from == hours.to {
                let (from, to) = (hours.from, hours.to);
                faults.push(format!(
                    "hours from {from} to {to}: from is 0 to 23, to is 1 to 24 and another one"
                ));
            }
        }
        for (name, minutes) in [
            ("minutes", self.minutes),
            ("answer_minutes", self.answer_minutes),
        ] {
            if !(1..=7 * 24 * 60).contains(&minutes) {
                faults.push(format!("{name} is {minutes}: between 1 and 10080, a week"));
            }
        }
        for probe in &self.probes {
            let target = probe
                .strip_prefix("tcp://")
                .and_then(|rest| rest.rsplit_once(':'));
            let is_good = target.is_some_and(|(host, port)| {
                !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
            });
            if !is_good {
                faults.push(format!("probe {probe:?}: write it as tcp://HOST:PORT"));
            }
        }
        for path in &self.file_roots {
            if !path.is_absolute() || path.parent().is_none() {
                let path = path.display();
                faults.push(format!(
                    "file_roots {path}: name the whole path of a folder, and not all there are"
                ));
            }
        }
        for path in &self.never_processes {
            if !path.is_absolute() {
                let path = path.display();
                faults.push(format!(
                    "never_processes {path}: name the whole path of the program's file"
                ));
            }
        }
        if let Err(fault) = Responders::of(self, &Place::default()) {
            faults.push(fault);
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: i64, hour: i64) -> Timestamp {
        // Monday 5 January 2026.
        Timestamp::from_secs(1_767_571_200 + day * 86_400 + hour * 3_600)
    }

    #[test]
    fn hours_wrap_around_midnight_and_belong_to_the_day_they_began() {
        let night = Hours {
            from: 20,
            to: 6,
            weekend: None,
        };
        assert!(
            night.contains(at(0, 22)) && night.contains(at(1, 3)) && !night.contains(at(1, 12))
        );
        let weekend = Hours {
            weekend: Some(true),
            ..night
        };
        assert!(!weekend.contains(at(4, 23)), "Friday night");
        assert!(!weekend.contains(at(5, 3)), "what began on Friday");
        assert!(weekend.contains(at(6, 23)) && weekend.contains(at(7, 3)));
        let all_day = Hours {
            from: 0,
            to: 24,
            weekend: Some(false),
        };
        assert!(all_day.contains(at(2, 0)) && !all_day.contains(at(5, 12)));
    }

    #[test]
    fn the_first_rule_that_fits_decides_and_the_default_simulates() {
        let device = EntityId::device("10.0.0.5");
        let addrs = ["10.0.0.5".parse().unwrap()];
        let mode =
            |policy: &Policy, verb| policy.mode(verb, &device, &addrs, Confidence::High, at(0, 12));
        assert_eq!(mode(&Policy::default(), Verb::Quarantine), Mode::Simulate);
        let rule = |mode, verbs: &[Verb]| ModeRule {
            mode,
            verbs: verbs.to_vec(),
            networks: vec!["10.0.0.0/24".parse().unwrap()],
            ..ModeRule::default()
        };
        let policy = Policy {
            rules: vec![
                rule(Mode::Approve, &[Verb::Quarantine]),
                rule(Mode::Act, &[]),
            ],
            ..Policy::default()
        };
        assert_eq!(mode(&policy, Verb::Quarantine), Mode::Approve);
        assert_eq!(mode(&policy, Verb::BlockPattern), Mode::Act);
        let elsewhere = ["192.0.2.1".parse().unwrap()];
        assert_eq!(
            policy.mode(
                Verb::BlockPattern,
                &device,
                &elsewhere,
                Confidence::High,
                at(0, 12)
            ),
            Mode::Simulate
        );
    }

    #[test]
    fn faults_are_named_with_their_remedy() {
        let policy = Policy {
            minutes: 0,
            probes: vec!["http://x".into(), "tcp://10.0.0.1:443".into()],
            caps: Caps {
                flows_share: 3.0,
                ..Caps::default()
            },
            ..Policy::default()
        };
        let faults = policy.faults();
        assert_eq!(faults.len(), 3, "{faults:?}");
        assert!(Policy::default().faults().is_empty());
    }
}
