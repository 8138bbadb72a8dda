#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use thymus_schema::{Affected, AlertId, EventId, IncidentId, PValue, Peer, Statement, Step};

use super::*;
use crate::cut::Talk;
use thymus_schema::Transport;

const DEVICE: &str = "10.0.0.5";

fn at(hours: i64) -> Timestamp {
    Timestamp::from_secs(1_767_571_200 + hours * 3_600)
}

fn talk(client: &str, server: &str, port: u16) -> Talk {
    Talk {
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
        transport: Transport::Tcp,
        port,
    }
}

/// Three days in which the device uses a server.
fn book() -> FlowBook {
    let mut book = FlowBook::default();
    for hour in 0..72 {
        book.seen(talk(DEVICE, "10.0.0.9", 443), at(hour));
    }
    book
}

fn alert(entity: EntityId, phase: Phase, peers: &[(PeerRole, &str)]) -> Alert {
    Alert {
        id: AlertId(1),
        detector: "test".into(),
        aliases: vec![entity.key.clone()],
        entity,
        peers: peers
            .iter()
            .map(|(role, entity)| Peer {
                role: *role,
                entity: entity.parse().unwrap(),
            })
            .collect(),
        phase,
        techniques: Vec::new(),
        first_seen: at(72),
        last_seen: at(73),
        score: 9.0,
        p_value: PValue::from_neg_log10(9.0),
        calibrated_by: "site".into(),
        discovered: true,
        statement: Statement::new("It did.", Vec::new()),
        counterfactual: Statement::new("It does not.", Vec::new()),
        first_event: EventId::default(),
    }
}

fn planned(alert: &Alert, book: &FlowBook) -> Vec<Proposal> {
    planned_among(alert, book, &[])
}

fn planned_among(alert: &Alert, book: &FlowBook, outsiders: &[IpAddr]) -> Vec<Proposal> {
    planned_at(alert, book, outsiders, &[])
}

/// The same on a machine with these addresses.
fn planned_at(
    alert: &Alert,
    book: &FlowBook,
    outsiders: &[IpAddr],
    own: &[IpAddr],
) -> Vec<Proposal> {
    let incident = Incident {
        id: IncidentId(1),
        merged_from: Vec::new(),
        title: "10.0.0.5: something".to_owned(),
        hypothesis: String::new(),
        confidence: Confidence::High,
        p_value: alert.p_value,
        rank: 1,
        shown: true,
        affected: vec![Affected {
            entity: alert.entity.clone(),
            aliases: Vec::new(),
            suspected: true,
        }],
        techniques: Vec::new(),
        first_seen: at(72),
        last_seen: at(73),
        steps: Vec::<Step>::new(),
        next_steps: Vec::new(),
    };
    let addresses = |entity: &EntityId| entity.key.parse().into_iter().collect();
    let group = |_: &EntityId| vec!["10.0.0.6".parse().unwrap()];
    plan(&Scene {
        incident: &incident,
        alerts: std::slice::from_ref(alert),
        addresses: &addresses,
        group: &group,
        book,
        local: &LocalNetworks::default(),
        outsiders,
        own,
    })
}

fn texts(proposal: &Proposal) -> Vec<String> {
    proposal.cuts.iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_new_with_a_controller_is_cut_service_by_service() {
    let mut book = book();
    book.seen(talk(DEVICE, "203.0.113.9", 8443), at(72));
    let control = [(PeerRole::Controller, "external:203.0.113.9")];
    let alert = alert(EntityId::device(DEVICE), Phase::Control, &control);
    let plan = planned(&alert, &book);
    assert_eq!(plan[0].verb, Verb::BlockPattern);
    assert_eq!(texts(&plan[0]), ["10.0.0.5 to 203.0.113.9 by tcp/8443"]);
    assert_eq!(plan[0].rehearsal.cut, 0);
    // Nothing told of its services yet: all between the two.
    let plan = planned(&alert, &self::book());
    assert_eq!(plan[0].verb, Verb::BlockDestination);
    assert_eq!(texts(&plan[0]), ["all between 10.0.0.5 and 203.0.113.9"]);
}

#[test]
fn each_further_step_goes_further_and_leaves_what_is_usual_as_long_as_it_can() {
    let control = [(PeerRole::Controller, "external:203.0.113.9")];
    let alert = alert(EntityId::device(DEVICE), Phase::Control, &control);
    let plan = planned(&alert, &book());
    let stages: Vec<_> = plan.iter().map(|one| (one.stage, one.verb)).collect();
    assert_eq!(
        stages,
        [
            (0, Verb::BlockDestination),
            (1, Verb::EnforceLife),
            (2, Verb::Quarantine)
        ]
    );
    assert_eq!(plan[1].rehearsal.cut, 0, "its habits go on");
    assert_eq!(plan[2].rehearsal.cut, 72);
    // Of a device that nobody knows yet, its group says what is usual.
    let mut book = book();
    let other = EntityId::device("10.0.0.77");
    book.seen(talk("10.0.0.6", "10.0.0.9", 443), at(1));
    let plan = planned(&self::alert(other, Phase::Control, &control), &book);
    assert_eq!(plan[1].verb, Verb::EnforcePeerLife);
}

#[test]
fn a_service_that_was_swept_is_cut_towards_all_of_ours() {
    let mut book = book();
    for host in 20..30 {
        let server = format!("10.0.0.{host}");
        book.seen(talk(DEVICE, &server, 445), at(72));
        book.note_tried(&talk(DEVICE, &server, 445), at(72));
    }
    let target = [(PeerRole::Target, "device:10.0.0.21")];
    let alert = alert(EntityId::device(DEVICE), Phase::Lateral, &target);
    let plan = planned(&alert, &book);
    let texts = texts(&plan[0]);
    assert!(
        texts.contains(&"10.0.0.5 to 10.0.0.0/8 by tcp/445".to_owned()),
        "{texts:?}"
    );
    assert!(
        !texts.iter().any(|text| text.contains("10.0.0.21")),
        "{texts:?}"
    );
    assert_eq!(plan[0].rehearsal.cut, 0);
}

#[test]
fn of_a_swept_service_that_it_uses_what_is_usual_goes_on() {
    let mut book = book();
    let server = "10.0.0.9";
    for hour in 0..72 {
        book.seen(talk(DEVICE, server, 445), at(hour));
    }
    for host in 20..30 {
        let tried = talk(DEVICE, &format!("10.0.0.{host}"), 445);
        book.seen(tried, at(72));
        book.note_tried(&tried, at(72));
    }
    let target = [(PeerRole::Target, "device:10.0.0.21")];
    let alert = alert(EntityId::device(DEVICE), Phase::Lateral, &target);
    let plan = planned(&alert, &book);
    let usual = talk(DEVICE, server, 445);
    assert!(!plan[0].cuts.iter().any(|cut| cut.cuts(&usual)));
    assert_eq!(texts(&plan[0]), ["10.0.0.5 to 10.0.0.21 by tcp/445"]);
    assert_eq!(plan[0].rehearsal.cut, 0);
}

#[test]
fn who_destroys_or_takes_data_is_told_apart() {
    let target = [(PeerRole::Target, "device:10.0.0.9")];
    let harms = |phase| {
        let alert = alert(EntityId::device(DEVICE), phase, &target);
        planned(&alert, &book()).iter().all(|one| one.harms)
    };
    assert!(harms(Phase::Impact) && harms(Phase::Exfiltration));
    assert!(!harms(Phase::Credentials) && !harms(Phase::Lateral));
}

#[test]
fn an_outsider_is_kept_from_all_and_a_whole_prefix_of_ipv6_with_it() {
    let book = book();
    let target = [(PeerRole::Target, "device:10.0.0.9")];
    let v4 = alert(EntityId::external("203.0.113.9"), Phase::Access, &target);
    assert_eq!(texts(&planned(&v4, &book)[0]), ["all of 203.0.113.9"]);
    let v6 = alert(EntityId::external("2001:db8::7"), Phase::Access, &target);
    assert_eq!(texts(&planned(&v6, &book)[0]), ["all of 2001:db8::/64"]);
    // Others of the same site attack too: it is the site.
    let with = |others: &[&str]| {
        let others: Vec<IpAddr> = others.iter().map(|one| one.parse().unwrap()).collect();
        texts(&planned_among(&v6, &book, &others)[0]).remove(0)
    };
    assert_eq!(
        with(&["2001:db8::9", "2001:db8:0:1::1"]),
        "all of 2001:db8::/64"
    );
    let near = ["2001:db8:0:1::1", "2001:db8:0:2::1", "2001:db8:7::1"];
    assert_eq!(with(&near), "all of 2001:db8::/56");
    let far = ["2001:db8:0:100::1", "2001:db8:0:200::1"];
    assert_eq!(with(&far), "all of 2001:db8::/48");
}

#[test]
fn an_outsider_on_ipv6_is_a_network_for_whom_it_steers_too() {
    let device = EntityId::device("fd00::5");
    let mut book = FlowBook::default();
    for number in 1..6 {
        let far = format!("2001:db8:0:7::{number}");
        book.seen(talk("fd00::5", &far, 8443), at(72));
    }
    let control = [(PeerRole::Controller, "external:2001:db8:0:7::")];
    let plan = planned(&alert(device, Phase::Control, &control), &book);
    assert_eq!(
        texts(&plan[0]),
        ["fd00::5 to 2001:db8:0:7::/64 by tcp/8443"]
    );
}

#[test]
fn nothing_is_cut_of_whom_nobody_knows_the_address() {
    let book = book();
    let alert = alert(EntityId::user("CORP\\ann"), Phase::Credentials, &[]);
    let alert = Alert {
        peers: vec![Peer {
            role: PeerRole::Target,
            entity: EntityId::device("10.0.0.9"),
        }],
        ..alert
    };
    let plan = planned(&alert, &book);
    assert_eq!((plan.len(), plan[0].verb), (1, Verb::Notify));
    assert!(plan[0].cuts.is_empty());
}

#[test]
fn on_the_machine_that_acts_its_process_is_named_too() {
    let mut book = book();
    book.seen(talk(DEVICE, "203.0.113.9", 8443), at(72));
    let alert = alert(
        EntityId::device(DEVICE),
        Phase::Control,
        &[(PeerRole::Controller, "external:203.0.113.9")],
    );
    let freezes = |own: &[IpAddr]| -> Vec<Vec<String>> {
        let plan = planned_at(&alert, &book, &[], own);
        let freezes = plan.iter().filter(|one| one.verb == Verb::FreezeProcess);
        freezes.map(texts).collect()
    };
    assert!(
        freezes(&[]).is_empty(),
        "of other machines it knows nothing"
    );
    assert!(freezes(&["10.0.0.9".parse().unwrap()]).is_empty());
    let own = [DEVICE.parse().unwrap()];
    assert_eq!(freezes(&own), [["10.0.0.5 to 203.0.113.9 by tcp/8443"]]);
    let plan = planned_at(&alert, &book, &[], &own);
    let stages: Vec<u8> = plan.iter().take(2).map(|one| one.stage).collect();
    assert_eq!(stages, [0, 0], "beside the cut, not after it");
}

#[test]
fn a_malicious_file_that_this_machine_moved_is_looked_for_by_its_content() {
    let sha256 = "ab".repeat(32);
    let fact = |key, value| thymus_schema::Fact::new(key, value, &[]);
    let mut alert = alert(
        EntityId::device(DEVICE),
        Phase::Access,
        &[(PeerRole::Relay, "device:10.0.0.9")],
    );
    let facts = |verdict: &str| {
        Statement::new(
            "It fetched {file}.",
            vec![
                fact("sha256", Value::Name(sha256.clone().into())),
                fact("size", Value::Bytes(4_711)),
                fact("verdict", Value::Name(verdict.into())),
            ],
        )
    };
    let files = |alert: &Alert, own: &[IpAddr]| -> Vec<Vec<String>> {
        let plan = planned_at(alert, &book(), &[], own);
        let files = plan.iter().filter(|one| one.verb == Verb::QuarantineFile);
        files.map(texts).collect()
    };
    alert.statement = facts("malicious");
    let server = ["10.0.0.9".parse().unwrap()];
    let named = format!("files of 4711 bytes with the SHA-256 {sha256}");
    assert_eq!(files(&alert, &server), [[named]]);
    assert!(files(&alert, &["10.0.0.77".parse().unwrap()]).is_empty());
    alert.statement = facts("suspicious");
    assert!(files(&alert, &server).is_empty());
}
