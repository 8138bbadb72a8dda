//! What is never done, whoever asks. Looked at when a decision is made and again, in the process that acts,
//! before its rules go to the kernel; where there is a kernel's table, its first rules say the same once more.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use crate::book::Rehearsal;
use crate::cut::{Cut, Port, host, net};
use crate::decision::Verb;
use crate::policy::{Caps, Policy};

/// What is never acted upon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeverAct {
    /// Networks, and why.
    nets: BTreeMap<IpNet, Box<str>>,
    /// Services, anywhere.
    services: Vec<Port>,
    /// Services of one server, and why.
    #[serde(with = "pairs")]
    relied_on: BTreeMap<(IpAddr, Port), Box<str>>,
}

/// A map whose keys are no strings, as JSON: a list of pairs.
mod pairs {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<K: Serialize, V: Serialize, S: Serializer>(
        map: &BTreeMap<K, V>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(map)
    }

    pub(super) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<BTreeMap<K, V>, D::Error>
    where
        K: Deserialize<'de> + Ord,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

/// Entries of each list.
const ENTRIES_MAX: usize = 4_096;

impl NeverAct {
    /// What the policy names.
    pub fn of(policy: &Policy) -> Self {
        let mut never = Self {
            services: policy.never_services.clone(),
            ..Self::default()
        };
        for named in &policy.never {
            never.network(*named, "the policy names it");
        }
        never
    }

    /// Adds a network; whether there was room.
    pub fn network(&mut self, of: IpNet, why: &str) -> bool {
        let has_room = self.nets.len() < ENTRIES_MAX;
        if has_room {
            self.nets.entry(net(of)).or_insert_with(|| why.into());
        }
        has_room
    }

    /// Adds one address.
    pub fn address(&mut self, addr: IpAddr, why: &str) -> bool {
        self.network(host(addr), why)
    }

    /// Adds a service that the network depends on.
    pub fn service(&mut self, server: IpAddr, port: Port, why: &str) -> bool {
        let has_room = self.relied_on.len() < ENTRIES_MAX;
        if has_room {
            let key = (server.to_canonical(), port);
            self.relied_on.entry(key).or_insert_with(|| why.into());
        }
        has_room
    }

    /// The networks.
    pub fn nets(&self) -> impl Iterator<Item = (&IpNet, &str)> {
        self.nets.iter().map(|(of, why)| (of, why.as_ref()))
    }

    /// The services that are left alone everywhere.
    pub fn services(&self) -> &[Port] {
        &self.services
    }

    /// The services of servers.
    pub fn relied_on(&self) -> impl Iterator<Item = (&(IpAddr, Port), &str)> {
        self.relied_on.iter().map(|(of, why)| (of, why.as_ref()))
    }

    /// Why a cut may not be, if so: one of those it is about is on the list, or lies inside a network on it, or
    /// has one on the list inside itself.
    pub fn refuses(&self, cut: &Cut) -> Option<Refusal> {
        for subject in cut.subjects() {
            let touched = self.nets().find(|(of, _)| {
                of.contains(&subject) || (!is_wide(&subject) && subject.contains(*of))
            });
            if let Some((of, why)) = touched {
                return Some(Refusal::Never {
                    what: of.to_string().into(),
                    why: why.into(),
                });
            }
        }
        if let Cut::Pattern {
            server,
            port: Some(port),
            ..
        } = cut
        {
            if self.services.contains(port) {
                return Some(Refusal::Never {
                    what: port.to_string().into(),
                    why: "the policy names it".into(),
                });
            }
            let mut relied_on = self.relied_on();
            if let Some(((addr, _), why)) =
                relied_on.find(|((addr, of), _)| of == port && server.contains(addr))
            {
                return Some(Refusal::Never {
                    what: format!("{addr} {port}").into(),
                    why: why.into(),
                });
            }
        }
        None
    }
}

/// Wider than a device or a customer's network: the kernel's own list keeps what lies inside.
fn is_wide(of: &IpNet) -> bool {
    match of {
        IpNet::V4(of) => of.prefix_len() < 32,
        IpNet::V6(of) => of.prefix_len() < 48,
    }
}

/// Why something is not done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "refused")]
pub enum Refusal {
    /// It is on the list of what is never acted upon.
    Never {
        /// What is.
        what: Box<str>,
        /// Why.
        why: Box<str>,
    },
    /// The policy does not have it.
    Verb {
        /// What.
        verb: Verb,
    },
    /// The policy names nobody who carries it out.
    Means {
        /// What.
        verb: Verb,
    },
    /// Too many devices would be acted upon at a time.
    Devices {
        /// So many.
        would: u64,
        /// Allowed.
        most: u64,
    },
    /// Too many usual conversations would be cut.
    Flows {
        /// This share of all.
        would: f64,
        /// Allowed.
        most: f64,
    },
    /// Too many actions at a time.
    Actions {
        /// Allowed.
        most: u64,
    },
    /// It would cut too much of the device's usual conversations for nobody to be asked.
    AskFirst {
        /// This share.
        would: f64,
        /// Allowed without asking.
        most: f64,
    },
    /// It would reach further than one action may.
    TooWide {
        /// What.
        what: Box<str>,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never { what, why } => write!(f, "{what} is never acted upon: {why}"),
            Self::Verb { verb } => write!(f, "the policy does not allow {}", verb.as_str()),
            Self::Means { verb } => write!(
                f,
                "the policy names no responder that carries out {}; see thymus policy --help",
                verb.as_str()
            ),
            Self::Devices { would, most } => write!(
                f,
                "{would} devices would be acted upon at a time, the policy allows {most}"
            ),
            Self::Flows { would, most } => write!(
                f,
                "{:.2} % of all usual conversations would be cut, the policy allows {:.2} %",
                would * 100.0,
                most * 100.0
            ),
            Self::Actions { most } => write!(
                f,
                "{most} actions hold already, as many as the policy allows"
            ),
            Self::AskFirst { would, most } => write!(
                f,
                "{:.1} % of the device's usual conversations would be cut, more than {:.1} % needs a person",
                would * 100.0,
                most * 100.0
            ),
            Self::TooWide { what } => write!(f, "{what} reaches further than one action may"),
        }
    }
}

/// How things stand before a decision.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    /// What is never acted upon.
    pub never: NeverAct,
    /// Limits.
    pub caps: Caps,
    /// Devices acted upon now.
    pub devices_held: u64,
    /// Devices known.
    pub devices_known: u64,
    /// Actions that hold now.
    pub actions: u64,
    /// Usual conversations that they cut.
    pub flows_held: u64,
}

impl Guard {
    /// Why this may not be done at all; it may without an answer.
    pub fn refuses(
        &self,
        cuts: &[Cut],
        is_new_device: bool,
        rehearsal: &Rehearsal,
    ) -> Option<Refusal> {
        for cut in cuts {
            if let Some(refusal) = self.never.refuses(cut).or_else(|| too_wide(cut)) {
                return Some(refusal);
            }
        }
        if self.actions >= self.caps.actions {
            return Some(Refusal::Actions {
                most: self.caps.actions,
            });
        }
        let known = self.devices_known.max(rehearsal.devices_all);
        let most = self
            .caps
            .devices_min
            .max((known as f64 * self.caps.devices_share) as u64);
        let would = self.devices_held + u64::from(is_new_device);
        if would > most {
            return Some(Refusal::Devices { would, most });
        }
        let would = (self.flows_held + rehearsal.cut) as f64 / rehearsal.flows_all.max(1) as f64;
        // Of a small network, the devices that may be acted upon make a large share.
        let few = self.caps.devices_min as f64 / known.max(1) as f64;
        let most = self.caps.flows_share.max(few);
        if rehearsal.cut > 0 && would > most {
            return Some(Refusal::Flows { would, most });
        }
        None
    }

    /// Why a person has to be asked, though the policy would not.
    pub fn wants_person(&self, rehearsal: &Rehearsal, harms: bool) -> Option<Refusal> {
        let most = if harms {
            self.caps.flows_of_device_share_harmed
        } else {
            self.caps.flows_of_device_share
        };
        let would = rehearsal.share();
        (would > most).then_some(Refusal::AskFirst { would, most })
    }
}

/// A cut is about one device or a small network of one; only the far side of a pattern may be wider.
fn too_wide(cut: &Cut) -> Option<Refusal> {
    let own = match cut {
        Cut::Pattern { client, .. } => client,
        Cut::Address { of, .. } | Cut::AllBut { of, .. } => of,
        Cut::Process { .. } | Cut::File { .. } => return None,
    };
    is_wide(own).then(|| Refusal::TooWide {
        what: own.to_string().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cut::Side;
    use thymus_schema::Transport;

    fn of(text: &str) -> IpNet {
        net(text.parse().unwrap())
    }

    fn quarantine(text: &str) -> Cut {
        Cut::Address {
            of: of(text),
            side: Side::Both,
        }
    }

    fn never() -> NeverAct {
        let mut never = NeverAct::default();
        never.network(of("10.0.0.1/32"), "it is the gateway");
        never.network(of("2001:db8:0:5::7/128"), "it is the console");
        let dns = Port {
            transport: Transport::Udp,
            port: 53,
        };
        never.service("10.0.0.53".parse().unwrap(), dns, "12 devices rely on it");
        never
    }

    #[test]
    fn what_is_on_the_list_is_never_acted_upon_in_any_disguise() {
        let never = never();
        for cut in [
            quarantine("10.0.0.1/32"),
            quarantine("::ffff:10.0.0.1/128"),
            quarantine("2001:db8:0:5::/64"),
            Cut::Pattern {
                client: of("10.0.0.5/32"),
                server: of("10.0.0.1/32"),
                port: None,
            },
        ] {
            let refused = never.refuses(&cut.clone().canonical());
            assert!(refused.is_some(), "{cut:?}");
        }
        assert!(never.refuses(&quarantine("10.0.0.2/32")).is_none());
        let dns = |port| Cut::Pattern {
            client: of("10.0.0.5/32"),
            server: of("10.0.0.53/32"),
            port: Some(Port {
                transport: Transport::Udp,
                port,
            }),
        };
        assert!(never.refuses(&dns(53)).is_some());
        assert!(never.refuses(&dns(54)).is_none());
    }

    #[test]
    fn the_list_goes_through_json() {
        let json = serde_json::to_string(&never()).unwrap();
        assert_eq!(serde_json::from_str::<NeverAct>(&json).unwrap(), never());
    }

    #[test]
    fn caps_hold_for_all_actions_together() {
        let guard = Guard {
            devices_held: 3,
            devices_known: 20,
            ..Guard::default()
        };
        let cuts = [quarantine("10.0.0.5/32")];
        let nothing = Rehearsal::default();
        assert!(matches!(
            guard.refuses(&cuts, true, &nothing),
            Some(Refusal::Devices { would: 4, most: 3 })
        ));
        assert!(guard.refuses(&cuts, false, &nothing).is_none());
        let much = Rehearsal {
            flows: 400,
            cut: 200,
            flows_all: 1_000,
            ..Rehearsal::default()
        };
        assert!(matches!(
            guard.refuses(&cuts, false, &much),
            Some(Refusal::Flows { .. })
        ));
        let a_few = Rehearsal {
            cut: 50,
            ..much.clone()
        };
        assert!(
            guard.refuses(&cuts, false, &a_few).is_none(),
            "3 of 20 devices"
        );
        assert!(guard.wants_person(&much, false).is_some());
        assert!(guard.wants_person(&much, true).is_none(), "harm is done");
        let wide = [quarantine("10.0.0.0/8")];
        assert!(matches!(
            guard.refuses(&wide, false, &nothing),
            Some(Refusal::TooWide { .. })
        ));
    }
}
