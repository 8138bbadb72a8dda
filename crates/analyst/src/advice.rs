//! What to do next: a table from what was seen to practical steps, filled with who it was.
//
// tidy: table

use std::collections::BTreeSet;

use thymus_schema::{Phase, Technique};

use crate::cast::Cast;
use crate::hypothesis::named;
use crate::narrative::full;

/// Most steps given; nobody reads a seventh.
const STEPS_MAX: usize = 6;

/// When one of the phases or one of the techniques was seen, the first template that can be filled
/// is a step.
struct Row {
    phases: &'static [Phase],
    techniques: &'static [&'static str],
    says: &'static [&'static str],
}

/// The steps, most useful first.
pub(crate) fn next_steps(
    phases: &BTreeSet<Phase>,
    techniques: &BTreeSet<Technique>,
    cast: &Cast,
) -> Vec<String> {
    let mut steps: Vec<String> = Vec::new();
    for row in TABLE {
        let applies = row.phases.iter().any(|phase| phases.contains(phase))
            || named(row.techniques, techniques);
        if steps.len() == STEPS_MAX || !applies {
            continue;
        }
        if let Some(step) = row
            .says
            .iter()
            .find_map(|template| cast.say(template, row.phases, row.techniques))
        {
            let step = full(&step);
            if !steps.contains(&step) {
                steps.push(step);
            }
        }
    }
    steps
}

use Phase::{Access, Control, Credentials, Exfiltration, Impact, Lateral, Reconnaissance, Unusual};

const TABLE: &[Row] = &[
    Row {
        phases: &[],
        techniques: &["T1486", "T1485"],
        says: &[
            "take {device} off the network now and make the shares of {target} read-only; check that \
             the last backup is from before the first event and is not reachable from {device}",
            "take {device} off the network now; check that the last backup is from before the first \
             event and is not reachable from it",
        ],
    },
    Row {
        phases: &[],
        techniques: &["T0855", "T0836", "T0843", "T0858"],
        says: &[
            "ask the operator of {target} whether the change was ordered; if not, put the controller \
             into local mode and compare its program with the stored one",
        ],
    },
    Row {
        phases: &[],
        techniques: &["T1003.006"],
        says: &[
            "treat every domain password as known to others: reset krbtgt twice, and the \
             administrators' passwords, from a clean machine",
        ],
    },
    Row {
        phases: &[Exfiltration],
        techniques: &["T1041", "T1048", "T1567"],
        says: &[
            "find in the logs of the firewall how much went to {controller}, and which data {device} \
             holds or can reach; find out who must be told if it left",
            "find out which data {device} holds or can reach, and who must be told if it left",
        ],
    },
    Row {
        phases: &[Control],
        techniques: &["T1071", "T1095", "T1571", "T1573", "T1105"],
        says: &[
            "block {controller} at the border and look in the proxy and name-server logs for other \
             devices that talk to it",
            "isolate {device} and look at which program holds the connection",
        ],
    },
    Row {
        phases: &[Control, Access],
        techniques: &[],
        says: &[
            "keep a memory image of {device} before switching it off, then look for the program, \
             service or task that was added shortly before the first event",
        ],
    },
    Row {
        phases: &[Lateral],
        techniques: &[
            "T1021",
            "T1569.002",
            "T1543.003",
            "T1053.005",
            "T1047",
            "T1570",
            "T1210",
        ],
        says: &[
            "look on {target} for services, scheduled tasks and files created at the times of the \
             steps, and change the password of {account}",
            "look on {target} for services, scheduled tasks and files created at the times of the \
             steps, and change the passwords of the accounts that were used",
            "look for services, scheduled tasks and files created at the times of the steps on the \
             devices that {device} reached",
        ],
    },
    Row {
        phases: &[],
        techniques: &["T1558"],
        says: &[
            "give the service accounts whose tickets were asked for long random passwords and \
             switch RC4 off for them",
        ],
    },
    Row {
        phases: &[Credentials],
        techniques: &["T1110"],
        says: &[
            "look in the log of {target} for a success among the failed log-ins and reset the \
             password of {account}",
            "look in the log of {target} for a success among the failed log-ins; lock or reset the \
             accounts that were tried",
            "look for a success among the failed log-ins and reset the accounts that were tried",
        ],
    },
    Row {
        phases: &[],
        techniques: &["T1557"],
        says: &[
            "find the switch port of {device}, and clear the ARP and name caches of the devices it \
             answered; switch LLMNR and NetBIOS name service off where nothing needs them",
        ],
    },
    Row {
        phases: &[],
        techniques: &["T1568.002", "T1572"],
        says: &[
            "ask {device}'s user what was installed, and let the name server answer the names with \
             a sinkhole so that the next try shows the program",
        ],
    },
    Row {
        phases: &[],
        techniques: &["T1496"],
        says: &[
            "find the mining program on {device} and how it came there: mining is rarely the \
                 first thing an intruder does",
        ],
    },
    Row {
        phases: &[Reconnaissance],
        techniques: &["T1046", "T1018"],
        says: &[
            "ask whether {device} is meant to scan (inventory, monitoring, a security test); if \
             not, find the program that does, and see which of its targets answered",
        ],
    },
    Row {
        phases: &[Impact],
        techniques: &["T1498", "T1499"],
        says: &[
            "limit the rate from {device} at the next router; if {target} is yours, ask the \
             provider to filter upstream",
            "limit the rate from {device} at the next router",
        ],
    },
    Row {
        phases: &[Unusual],
        techniques: &[],
        says: &[
            "ask the user or owner of {device} what changed at that time: new software, a new \
                 task, an update",
        ],
    },
    Row {
        phases: &[Unusual, Access, Credentials, Control, Lateral, Exfiltration],
        techniques: &[],
        says: &[
            "keep the capture or the logs: the event ids beside each step find the records \
                 again",
        ],
    },
];
