//! What a set of phases and techniques most likely is: a table, most specific row first.
//
// tidy: table

use std::collections::BTreeSet;

use thymus_schema::{Phase, Technique};

use crate::cast::Cast;
use crate::narrative::full;

/// One row: applies when every phase is present and, if any are named, one of the techniques (a
/// technique id also stands for its sub-techniques). The first template that can be filled is said.
struct Row {
    phases: &'static [Phase],
    techniques: &'static [&'static str],
    says: &'static [&'static str],
}

/// The most specific hypothesis that the evidence can fill.
pub(crate) fn hypothesis(
    phases: &BTreeSet<Phase>,
    techniques: &BTreeSet<Technique>,
    cast: &Cast,
) -> Option<String> {
    TABLE
        .iter()
        .filter(|row| row.phases.iter().all(|phase| phases.contains(phase)))
        .filter(|row| row.techniques.is_empty() || named(row.techniques, techniques))
        .flat_map(|row| row.says.iter().map(move |template| (row, template)))
        .find_map(|(row, template)| cast.say(template, row.phases, row.techniques))
        .map(|text| full(&text))
}

/// Whether one of `wanted` or a sub-technique of it is in `techniques`.
pub(crate) fn named(wanted: &[&str], techniques: &BTreeSet<Technique>) -> bool {
    techniques.iter().any(|technique| {
        let id = technique.id();
        wanted.iter().any(|want| {
            id == *want
                || id
                    .strip_prefix(want)
                    .is_some_and(|rest| rest.starts_with('.'))
        })
    })
}

use Phase::{Access, Control, Credentials, Exfiltration, Impact, Lateral, Reconnaissance, Unusual};

const TABLE: &[Row] = &[
    Row {
        phases: &[Control, Lateral, Exfiltration],
        techniques: &[],
        says: &[
            "an intruder steers {origin} from outside, moves from device to device and is taking data \
             out to {controller}",
            "an intruder steers {device} from outside ({controller}), moves to other devices and is \
             taking data out",
            "an intruder inside the network moves between devices and is taking data out; {device} \
             stands out most",
        ],
    },
    Row {
        phases: &[Impact],
        techniques: &["T1486", "T1485"],
        says: &[
            "{device} is encrypting or destroying files on {target}, as ransomware does",
            "{device} is encrypting or destroying files, as ransomware does",
        ],
    },
    Row {
        phases: &[Impact],
        techniques: &["T1496"],
        says: &[
            "{device} is being used to mine cryptocurrency through {controller}",
            "{device} is being used to mine cryptocurrency",
        ],
    },
    Row {
        phases: &[Impact],
        techniques: &["T1498", "T1499"],
        says: &[
            "{device} takes part in an attempt to make {target} unreachable",
            "{device} takes part in a denial of service",
        ],
    },
    Row {
        phases: &[],
        techniques: &["T0855", "T0836", "T0843", "T0858"],
        says: &[
            "{device} sends commands to the controller {target} that change the process or the \
             controller itself",
            "{device} sends commands that change an industrial process",
        ],
    },
    Row {
        phases: &[],
        techniques: &["T1557"],
        says: &[
            "{device} puts itself between {target} and the rest of the network to read or change \
             its traffic",
            "{device} puts itself between other devices to read or change their traffic",
        ],
    },
    Row {
        phases: &[Control, Exfiltration],
        techniques: &[],
        says: &[
            "{device} is steered from outside ({controller}) and is sending data out",
            "{device} is steered from outside and is sending data out",
        ],
    },
    Row {
        phases: &[Control, Lateral],
        techniques: &[],
        says: &[
            "an intruder steers {device} from {controller} and moves on from there to {target}",
            "an intruder steers {device} from outside and moves on from there",
        ],
    },
    Row {
        phases: &[Lateral],
        techniques: &["T1003.006"],
        says: &[
            "{device} copies the password database of the domain from {target}",
            "{device} copies the password database of the domain",
        ],
    },
    Row {
        phases: &[Credentials, Lateral],
        techniques: &[],
        says: &[
            "somebody on {device} obtains accounts and uses them to take over {target}",
            "somebody on {device} obtains accounts and uses them on other devices",
        ],
    },
    Row {
        phases: &[Access, Control],
        techniques: &[],
        says: &[
            "{device} has taken in a foreign program and is now steered from {controller}",
            "{device} has taken in a foreign program and is now steered from outside",
        ],
    },
    Row {
        phases: &[Reconnaissance, Lateral],
        techniques: &[],
        says: &[
            "somebody on {device} is looking around the network and moving to {target}",
            "somebody on {device} is looking around the network and moving to other devices",
        ],
    },
    Row {
        phases: &[Reconnaissance, Credentials],
        techniques: &[],
        says: &[
            "{device} is looking for services on the network and trying accounts on {target}",
            "{device} is looking for services on the network and trying accounts",
        ],
    },
    Row {
        phases: &[Control],
        techniques: &["T1572"],
        says: &[
            "{device} carries other traffic inside its name look-ups to {controller}, to be steered \
             or to take data out unnoticed",
            "{device} carries other traffic inside an ordinary protocol, to be steered or to take \
             data out unnoticed",
        ],
    },
    Row {
        phases: &[Control],
        techniques: &["T1568.002"],
        says: &["a program on {device} is searching for its controller under generated names"],
    },
    Row {
        phases: &[Control],
        techniques: &["T1090"],
        says: &["{device} hides where it talks to, through an anonymising network or a proxy"],
    },
    Row {
        phases: &[Credentials],
        techniques: &["T1003.006"],
        says: &[
            "{device} copies the password database of the domain from {target}",
            "{device} copies the password database of the domain",
        ],
    },
    Row {
        phases: &[Credentials],
        techniques: &["T1558"],
        says: &["{device} collects Kerberos tickets to guess the passwords behind them"],
    },
    Row {
        phases: &[Credentials],
        techniques: &["T1110"],
        says: &[
            "{device} is guessing passwords on {target}",
            "{device} is guessing passwords",
        ],
    },
    Row {
        phases: &[Exfiltration],
        techniques: &[],
        says: &[
            "{device} is sending an unusual amount of data to {controller}",
            "{device} is sending an unusual amount of data to {target}",
            "{device} is sending an unusual amount of data",
        ],
    },
    Row {
        phases: &[Lateral],
        techniques: &[],
        says: &[
            "somebody uses {device} to run something on {target}",
            "somebody uses {device} to reach into other devices",
        ],
    },
    Row {
        phases: &[Impact],
        techniques: &[],
        says: &[
            "{device} is doing damage to {target}",
            "{device} is doing damage",
        ],
    },
    Row {
        phases: &[Control],
        techniques: &[],
        says: &[
            "a program on {device} is steered from {controller}",
            "a program on {device} is steered from outside",
        ],
    },
    Row {
        phases: &[Credentials],
        techniques: &[],
        says: &[
            "{device} is trying to obtain accounts on {target}",
            "{device} is trying to obtain accounts",
        ],
    },
    Row {
        phases: &[Access],
        techniques: &[],
        says: &[
            "{device} has taken in a program or been broken into from {controller}",
            "{device} is breaking into {target} or bringing a program there",
            "{device} has taken in a program from an unusual place",
        ],
    },
    Row {
        phases: &[Reconnaissance],
        techniques: &[],
        says: &[
            "{device} is looking for open doors on {target} and others",
            "{device} is looking for open doors on the network",
        ],
    },
    Row {
        phases: &[Unusual],
        techniques: &[],
        says: &["{device} does something that neither it nor its like has done before"],
    },
];
