use std::borrow::Cow;
use std::collections::BTreeSet;

use proptest::prelude::*;
use thymus_schema::{
    Alert, AlertId, EntityId, EventId, Fact, InputId, PValue, Peer, PeerRole, Phase,
    SnapshotWriter, Statement, Timestamp, Value,
};

use crate::{Analyst, AnalystConfig, IncidentBudget, Report, Site, combined, narrative};

const HOUR: i64 = 3_600;

/// An alert of `detector` about `entity` from hour `at` on, one hour long, at p = 1e-5.
fn alert(
    at: i64,
    detector: &'static str,
    phase: Phase,
    entity: &str,
    peers: &[(PeerRole, &str)],
) -> Alert {
    let entity: EntityId = entity.parse().unwrap();
    let event = EventId {
        input: InputId(1),
        index: at as u64,
    };
    let first_seen = Timestamp::from_secs(1_700_000_000 + at * HOUR);
    let fact = Fact::new("count", Value::Count(12), &[event]);
    let normal = Fact::new("usual", Value::Count(2), &[event]);
    Alert {
        id: AlertId::digest(&[
            detector.as_bytes(),
            entity.to_string().as_bytes(),
            &event.index.to_le_bytes(),
        ]),
        detector: Cow::Borrowed(detector),
        aliases: vec![entity.key.clone()],
        entity,
        peers: peers
            .iter()
            .map(|(role, who)| Peer {
                role: *role,
                entity: who.parse().unwrap(),
            })
            .collect(),
        phase,
        techniques: vec![],
        first_seen,
        last_seen: first_seen.plus(std::time::Duration::from_hours(1)),
        score: 5.0,
        p_value: PValue::from_neg_log10(5.0),
        calibrated_by: Cow::Borrowed("site"),
        discovered: true,
        statement: Statement::new("did it {count} times", vec![fact]),
        counterfactual: Statement::new("{usual} times or fewer would be normal", vec![normal]),
        first_event: event,
    }
}

fn report(alerts: &[Alert]) -> Report {
    report_at(
        alerts,
        &Site {
            devices: 40,
            popular: BTreeSet::new(),
        },
    )
}

fn report_at(alerts: &[Alert], site: &Site) -> Report {
    let mut analyst = Analyst::new(AnalystConfig::default());
    for alert in alerts {
        analyst.observe(alert.clone());
    }
    analyst.finish(site)
}

/// The entities that act, story by story, oldest story first.
fn stories(report: &Report) -> Vec<Vec<String>> {
    let mut incidents = report.at_budget(IncidentBudget::PerDay(100));
    incidents.sort_by_key(|incident| (incident.first_seen, incident.id));
    let actors = |incident: &thymus_schema::Incident| {
        let who: BTreeSet<String> = incident
            .steps
            .iter()
            .map(|step| step.entity.key.to_string())
            .collect();
        who.into_iter().collect()
    };
    incidents.iter().map(actors).collect()
}

fn check(alerts: &[Alert], expected: &[&[&str]]) {
    assert_eq!(stories(&report(alerts)), expected);
    let mut backwards = alerts.to_vec();
    backwards.reverse();
    assert_eq!(
        stories(&report(&backwards)),
        expected,
        "whatever the order of arrival"
    );
}

use PeerRole::{Account, Controller, Relay, Target};
use Phase::{Control, Credentials, Exfiltration, Lateral, Reconnaissance, Unusual};

#[test]
fn beacon_lateral_movement_and_theft_over_three_devices_are_one_story() {
    check(
        &[
            alert(
                0,
                "beacon",
                Control,
                "device:10.0.0.7",
                &[(Controller, "external:evil.example")],
            ),
            alert(
                2,
                "lateral",
                Lateral,
                "device:10.0.0.7",
                &[(Target, "device:10.0.0.9")],
            ),
            alert(
                4,
                "lateral",
                Lateral,
                "device:10.0.0.9",
                &[(Target, "device:10.0.0.20")],
            ),
            alert(
                6,
                "upload",
                Exfiltration,
                "device:10.0.0.20",
                &[(Controller, "external:x.example")],
            ),
        ],
        &[&["10.0.0.20", "10.0.0.7", "10.0.0.9"]],
    );
}

#[test]
fn what_the_target_did_before_is_another_story() {
    check(
        &[
            alert(0, "upload", Exfiltration, "device:10.0.0.9", &[]),
            alert(
                5,
                "lateral",
                Lateral,
                "device:10.0.0.7",
                &[(Target, "device:10.0.0.9")],
            ),
        ],
        &[&["10.0.0.9"], &["10.0.0.7"]],
    );
}

#[test]
fn a_day_of_silence_ends_a_story() {
    check(
        &[
            alert(0, "beacon", Control, "device:10.0.0.7", &[]),
            alert(24, "beacon", Control, "device:10.0.0.7", &[]),
            alert(60, "beacon", Control, "device:10.0.0.7", &[]),
        ],
        &[&["10.0.0.7"], &["10.0.0.7"]],
    );
}

#[test]
fn relays_and_accounts_tie_nothing() {
    check(
        &[
            alert(
                0,
                "beacon",
                Control,
                "device:10.0.0.7",
                &[(Relay, "device:10.0.0.1")],
            ),
            alert(
                1,
                "guess",
                Credentials,
                "device:10.0.0.8",
                &[(Account, "user:ann")],
            ),
            alert(
                2,
                "guess",
                Credentials,
                "device:10.0.0.6",
                &[(Account, "user:ann")],
            ),
            alert(3, "odd", Control, "device:10.0.0.1", &[]),
        ],
        &[&["10.0.0.7"], &["10.0.0.8"], &["10.0.0.6"], &["10.0.0.1"]],
    );
}

#[test]
fn devices_steered_from_one_place_are_one_story_unless_everybody_goes_there() {
    let steered = |n: i64| {
        (0..n)
            .map(|i| {
                let device = format!("device:10.0.0.{}", 10 + i);
                alert(
                    i,
                    "beacon",
                    Control,
                    &device,
                    &[(Controller, "external:c.example")],
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(stories(&report(&steered(3))).len(), 1);
    assert_eq!(stories(&report(&steered(9))).len(), 9);
    let popular = [EntityId::external("c.example")].into();
    assert_eq!(
        stories(&report_at(
            &steered(3),
            &Site {
                devices: 40,
                popular
            }
        ))
        .len(),
        3
    );
}

#[test]
fn a_scan_of_everything_explains_nothing() {
    let targets: Vec<String> = (10..20).map(|i| format!("device:10.0.0.{i}")).collect();
    let peers: Vec<(PeerRole, &str)> = targets.iter().map(|t| (Target, t.as_str())).collect();
    let beacon = alert(3, "beacon", Control, "device:10.0.0.12", &[]);
    check(
        &[
            alert(0, "scan", Reconnaissance, "device:10.0.0.7", &peers),
            beacon.clone(),
        ],
        &[&["10.0.0.7"], &["10.0.0.12"]],
    );
    check(
        &[
            alert(0, "scan", Reconnaissance, "device:10.0.0.7", &peers[2..4]),
            beacon,
        ],
        &[&["10.0.0.12", "10.0.0.7"]],
    );
}

#[test]
fn being_scanned_makes_nobody_a_suspect() {
    let targets: Vec<String> = (10..20).map(|i| format!("device:10.0.0.{i}")).collect();
    let peers: Vec<(PeerRole, &str)> = targets.iter().map(|t| (Target, t.as_str())).collect();
    let first_use = [(Target, "device:10.0.0.10")];
    let visit = alert(3, "service", Lateral, "device:10.0.0.12", &first_use);
    let got_in = alert(1, "guess", Credentials, "device:10.0.0.7", &peers[..1]);
    for looked_at in [&peers[..], &peers[2..3]] {
        let scan = alert(0, "scan", Reconnaissance, "device:10.0.0.7", looked_at);
        check(
            &[scan, got_in.clone(), visit.clone()],
            &[&["10.0.0.7"], &["10.0.0.12"]],
        );
    }
}

#[test]
fn nine_of_a_kind_are_told_as_one_and_a_number() {
    let alerts: Vec<Alert> = (0..9)
        .map(|i| {
            let target = format!("device:10.0.1.{i}");
            let mut one = alert(
                0,
                "scan",
                Reconnaissance,
                "device:10.0.0.7",
                &[(Target, &target)],
            );
            one.id = AlertId(i);
            one
        })
        .collect();
    let report = report(&alerts);
    let incident = &report.at_budget(IncidentBudget::default())[0];
    assert_eq!(incident.steps.len(), 9);
    let text = narrative(incident, &report);
    assert_eq!(text.matches("did it 12 times").count(), 1, "{text}");
    assert!(text.contains("And 8 more of the same kind."), "{text}");
}

#[test]
fn advice_names_whom_it_is_about() {
    let mut scan = alert(
        0,
        "scan",
        Reconnaissance,
        "device:10.0.0.7",
        &[(Target, "device:10.0.0.1")],
    );
    scan.p_value = PValue::from_neg_log10(12.0);
    let lateral = alert(
        2,
        "lateral",
        Lateral,
        "device:10.0.0.7",
        &[(Target, "device:10.0.0.8")],
    );
    let incident = report(&[scan, lateral])
        .at_budget(IncidentBudget::default())
        .remove(0);
    assert!(
        incident.hypothesis.contains("moving to 10.0.0.8"),
        "{}",
        incident.hypothesis
    );
    assert!(
        incident
            .next_steps
            .iter()
            .any(|step| step.starts_with("Look on 10.0.0.8"))
    );
    assert_eq!(
        &*incident.affected[1].entity.key, "10.0.0.8",
        "moved to outranks looked at"
    );
}

#[test]
fn the_controller_named_is_that_of_the_device_named() {
    let mut other = alert(
        1,
        "beacon",
        Control,
        "device:10.0.0.9",
        &[(Controller, "external:b.example")],
    );
    other.p_value = PValue::from_neg_log10(12.0);
    let alerts = [
        alert(
            0,
            "beacon",
            Control,
            "device:10.0.0.7",
            &[(Controller, "external:a.example")],
        ),
        alert(
            0,
            "lateral",
            Lateral,
            "device:10.0.0.7",
            &[(Target, "device:10.0.0.9")],
        ),
        other,
    ];
    let incident = report(&alerts)
        .at_budget(IncidentBudget::default())
        .remove(0);
    assert_eq!(
        incident.hypothesis,
        "An intruder steers 10.0.0.7 from a.example and moves on from there to 10.0.0.9."
    );
}

#[test]
fn a_much_used_server_does_not_glue_its_visitors() {
    let mut alerts: Vec<Alert> = (0..8)
        .map(|i| {
            let device = format!("device:10.0.0.{}", 10 + i);
            alert(
                i,
                "odd_share_use",
                Credentials,
                &device,
                &[(Target, "device:10.0.0.2")],
            )
        })
        .collect();
    alerts.push(alert(9, "upload", Exfiltration, "device:10.0.0.2", &[]));
    assert_eq!(stories(&report(&alerts)).len(), 9);
}

#[test]
fn outsiders_that_guess_at_one_server_are_one_attack() {
    check(
        &[
            alert(
                0,
                "guess",
                Credentials,
                "external:192.0.2.1",
                &[(Target, "device:10.0.0.2")],
            ),
            alert(
                1,
                "guess",
                Credentials,
                "external:192.0.2.2",
                &[(Target, "device:10.0.0.2")],
            ),
            alert(
                2,
                "scan",
                Reconnaissance,
                "external:192.0.2.3",
                &[(Target, "device:10.0.0.2")],
            ),
        ],
        &[&["192.0.2.1", "192.0.2.2"], &["192.0.2.3"]],
    );
}

/// An alert too weak to be shown or to tie.
fn weak(mut alert: Alert) -> Alert {
    alert.p_value = PValue::from_neg_log10(1.5);
    alert.discovered = false;
    alert
}

#[test]
fn a_quiet_log_in_ties_when_its_actor_is_found_out_otherwise() {
    let beacon = alert(
        0,
        "beacon",
        Control,
        "device:10.0.0.7",
        &[(Controller, "external:evil.example")],
    );
    let shell = weak(alert(
        2,
        "shell",
        Lateral,
        "device:10.0.0.7",
        &[(Target, "device:10.0.0.8")],
    ));
    let second = alert(
        3,
        "beacon",
        Control,
        "device:10.0.0.8",
        &[(Controller, "external:other.example")],
    );
    check(
        &[beacon.clone(), shell.clone(), second.clone()],
        &[&["10.0.0.7", "10.0.0.8"]],
    );
    let innocent = weak(beacon);
    check(&[innocent, shell, second], &[&["10.0.0.7"], &["10.0.0.8"]]);
}

#[test]
fn the_small_oddities_of_the_day_before_are_another_story() {
    let oddity = weak(alert(0, "rare", Unusual, "device:10.0.0.7", &[]));
    let beacon = alert(
        12,
        "beacon",
        Control,
        "device:10.0.0.7",
        &[(Controller, "external:evil.example")],
    );
    let report = report(&[oddity, beacon]);
    let incidents = report.at_budget(IncidentBudget::PerDay(100));
    assert_eq!(incidents.len(), 2, "{incidents:?}");
    assert!(incidents.iter().all(|incident| incident.steps.len() == 1));
}

#[test]
fn unusual_behaviour_alone_ties_no_devices() {
    check(
        &[
            alert(
                0,
                "rare",
                Unusual,
                "device:10.0.0.7",
                &[(Target, "device:10.0.0.9")],
            ),
            alert(
                1,
                "rare",
                Unusual,
                "device:10.0.0.9",
                &[(Controller, "external:a.example")],
            ),
            alert(
                2,
                "rare",
                Unusual,
                "device:10.0.0.8",
                &[(Controller, "external:a.example")],
            ),
        ],
        &[&["10.0.0.7"], &["10.0.0.9"], &["10.0.0.8"]],
    );
}

#[test]
fn stories_do_not_grow_without_bound() {
    let config = AnalystConfig {
        entities_max: 3,
        ..AnalystConfig::default()
    };
    let mut analyst = Analyst::new(config);
    for i in 0..10 {
        let (own, next) = (
            format!("device:10.0.0.{i}"),
            format!("device:10.0.0.{}", i + 1),
        );
        analyst.observe(alert(i, "lateral", Lateral, &own, &[(Target, &next)]));
    }
    let report = analyst.finish(&Site::default());
    assert!(stories(&report).iter().all(|story| story.len() <= 3));
    assert!(report.ties_refused() > 0);
}

#[test]
fn too_many_alerts_cost_the_weakest() {
    let mut analyst = Analyst::new(AnalystConfig {
        alerts_max: 40,
        ..AnalystConfig::default()
    });
    for i in 0..200 {
        let mut one = alert(i, "beacon", Control, &format!("device:10.0.{i}.1"), &[]);
        one.p_value = PValue::from_neg_log10(i as f64 / 10.0);
        one.discovered = false;
        analyst.observe(one);
        assert!(analyst.alerts() <= 50);
    }
    let report = analyst.finish(&Site::default());
    assert_eq!(report.alerts().count(), 40);
    assert_eq!(report.alerts_dropped(), 160);
    assert!(
        report
            .alerts()
            .all(|alert| alert.p_value.neg_log10() >= 16.0)
    );
}

#[test]
fn the_budget_shows_the_strongest_of_a_day_and_keeps_the_rest_in_order() {
    let alerts: Vec<Alert> = (0..6)
        .map(|i| {
            let mut one = alert(0, "beacon", Control, &format!("device:10.0.0.{i}"), &[]);
            one.p_value = PValue::from_neg_log10(4.0 + f64::from(i));
            one.discovered = i != 5;
            one
        })
        .collect();
    let incidents = report(&alerts).at_budget(IncidentBudget::PerDay(2));
    let shown: Vec<bool> = incidents.iter().map(|incident| incident.shown).collect();
    assert_eq!(shown, [true, true, false, false, false, false]);
    let ranks: Vec<u32> = incidents.iter().map(|incident| incident.rank).collect();
    assert_eq!(ranks, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        &*incidents[0].affected[0].entity.key, "10.0.0.4",
        "5 was no discovery"
    );
    assert_eq!(&*incidents[5].affected[0].entity.key, "10.0.0.5");
}

#[test]
fn a_merge_keeps_the_oldest_id_and_names_the_others() {
    let first = alert(
        0,
        "beacon",
        Control,
        "device:10.0.0.7",
        &[(Target, "device:10.0.0.9")],
    );
    let second = alert(2, "upload", Exfiltration, "device:10.0.0.9", &[]);
    let alone =
        |one: &Alert| report(std::slice::from_ref(one)).at_budget(IncidentBudget::PerDay(9));
    let both = report(&[first.clone(), second.clone()]).at_budget(IncidentBudget::PerDay(9));
    assert_eq!(both.len(), 1);
    assert_eq!(both[0].id, alone(&first)[0].id);
    assert_eq!(both[0].merged_from, [alone(&second)[0].id]);
}

/// What a run over `alerts` tells and keeps, after one that kept `memory`.
fn go_on(memory: Option<&[u8]>, alerts: &[Alert], config: AnalystConfig) -> (Report, Vec<u8>) {
    let mut analyst = Analyst::new(config);
    if let Some(memory) = memory {
        analyst.restore(memory).unwrap();
    }
    for alert in alerts {
        analyst.observe(alert.clone());
    }
    let report = analyst.finish(&Site::default());
    let mut writer = SnapshotWriter::new();
    report.snapshot(&mut writer);
    let memory = writer.finish().remove(Report::SECTION).unwrap();
    (report, memory)
}

#[test]
fn a_story_goes_on_from_run_to_run_and_what_was_told_is_not_told_again() {
    let lateral = [(Target, "device:10.0.0.8")];
    let all = [
        alert(0, "beacon", Control, "device:10.0.0.3", &[]),
        alert(30, "beacon", Control, "device:10.0.0.7", &[]),
        alert(40, "smb", Lateral, "device:10.0.0.7", &lateral),
        alert(42, "login", Credentials, "device:10.0.0.9", &[]),
        alert(55, "upload", Exfiltration, "device:10.0.0.8", &[]),
    ];
    let config = AnalystConfig::default;
    let (yesterday, memory) = go_on(None, &all[..4], config());
    let first = stories(&yesterday);
    assert_eq!(
        first,
        [vec!["10.0.0.3"], vec!["10.0.0.7"], vec!["10.0.0.9"]]
    );
    let (nothing, memory) = go_on(Some(&memory), &[], config());
    assert!(stories(&nothing).is_empty(), "nothing new, nothing told");
    let oddity = weak(alert(44, "odd", Unusual, "device:10.0.0.7", &[]));
    let shown = |report: &Report| {
        let incidents = report.at_budget(IncidentBudget::PerDay(100));
        incidents.iter().filter(|one| one.shown).count()
    };
    let (odd, _) = go_on(Some(&memory), &[oddity], config());
    assert_eq!((stories(&odd).len(), shown(&odd)), (1, 0));
    let (today, _) = go_on(Some(&memory), &all[4..], config());
    assert_eq!(shown(&today), 1);
    assert_eq!(stories(&today), [["10.0.0.7", "10.0.0.8"]]);
    let at_once = go_on(None, &all, config()).0;
    let whole = |report: &Report| {
        let incidents = report.at_budget(IncidentBudget::PerDay(100));
        let mut incidents = incidents.into_iter();
        let mut incident = incidents.find(|one| one.steps.len() == 3).unwrap();
        (incident.rank, incident.shown) = (0, false);
        (narrative(&incident, report), incident)
    };
    assert_eq!(whole(&today), whole(&at_once));
}

#[test]
fn what_is_kept_for_the_next_run_has_bounds() {
    let day = |at: i64| alert(24 * at, "beacon", Control, "device:10.0.0.7", &[]);
    let long: Vec<Alert> = (0..20).map(day).collect();
    let kept = |alerts: &[Alert], kept_max| {
        let config = AnalystConfig {
            kept_max,
            ..AnalystConfig::default()
        };
        let memory = go_on(None, alerts, config).1;
        let (report, _) = go_on(Some(&memory), &[], AnalystConfig::default());
        report
            .alerts()
            .map(|alert| alert.first_seen)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        kept(&long, 100).len(),
        4,
        "the part of the story that is open"
    );
    assert_eq!(kept(&long, 3).len(), 3);
    let closed = [day(0), alert(48, "beacon", Control, "device:10.0.0.9", &[])];
    assert_eq!(kept(&closed, 100), [closed[1].first_seen]);
    assert!(Analyst::default().restore(b"no memory at all").is_err());
}

#[test]
fn several_phases_in_order_outweigh_one_and_the_wrong_order_earns_nothing() {
    let one = |at, phase| alert(at, "x", phase, "device:10.0.0.7", &[]);
    let p = |alerts: &[Alert]| combined(alerts).neg_log10();
    let single = p(&[one(0, Control)]);
    assert_eq!(single, 5.0);
    assert_eq!(
        p(&[one(0, Control), one(5, Control)]),
        single,
        "repeating adds nothing"
    );
    assert!(p(&[one(0, Control), one(5, Exfiltration)]) > single);
    assert_eq!(p(&[one(0, Exfiltration), one(5, Control)]), single);
    assert_eq!(p(&[one(0, Control), one(5, Unusual)]), single);
}

fn arbitrary_alert() -> impl Strategy<Value = Alert> {
    let phases = [
        Unusual,
        Reconnaissance,
        Phase::Access,
        Control,
        Lateral,
        Exfiltration,
    ];
    let roles = [Target, Controller, Relay, Account];
    (
        0..80_i64,
        0..phases.len(),
        0..6_u8,
        0..6_u8,
        0..roles.len(),
        0.0..12.0_f64,
        any::<bool>(),
    )
        .prop_map(move |(at, phase, who, whom, role, p, discovered)| {
            let (who, whom) = (
                format!("device:10.0.0.{who}"),
                format!("device:10.0.0.{whom}"),
            );
            let mut one = alert(at, "any", phases[phase], &who, &[(roles[role], &whom)]);
            one.p_value = PValue::from_neg_log10(p);
            one.discovered = discovered;
            one
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Taking a fact away takes its sentence away, and nothing else.
    #[test]
    fn every_sentence_hangs_on_its_facts(alerts in prop::collection::vec(arbitrary_alert(), 1..12), gone in 0..12_usize) {
        let whole = report(&alerts);
        for incident in whole.at_budget(IncidentBudget::PerDay(100)) {
            let mut incident = incident;
            // Each step says something else, so that none is folded into another.
            for (number, step) in incident.steps.iter_mut().enumerate() {
                step.statement.template = format!("in way {number} did it {{count}} times").into();
            }
            let before = narrative(&incident, &whole);
            let mut cut = incident.clone();
            let at = gone % cut.steps.len();
            cut.steps[at].statement.facts.clear();
            let after = narrative(&cut, &whole);
            let sentences = |text: &str| text.matches("did it 12 times").count();
            prop_assert_eq!(sentences(&after) + 1, sentences(&before));
            let mut cut = incident.clone();
            cut.steps[at].counterfactual.facts.clear();
            let after = narrative(&cut, &whole);
            let normals = |text: &str| text.matches("times or fewer would be normal").count();
            prop_assert_eq!(normals(&after) + 1, normals(&before));
        }
    }

    /// The same alerts give the same report in whatever order they came, and every alert is told
    /// exactly once.
    #[test]
    fn order_of_arrival_does_not_matter(alerts in prop::collection::vec(arbitrary_alert(), 1..20)) {
        let forward = report(&alerts).at_budget(IncidentBudget::PerDay(2));
        let ids: BTreeSet<AlertId> = alerts.iter().map(|alert| alert.id).collect();
        // Alerts with the same id replace each other, so only distinct ones can be reversed.
        let mut distinct: Vec<Alert> = Vec::new();
        for alert in alerts.iter().rev() {
            if distinct.iter().all(|known| known.id != alert.id) {
                distinct.push(alert.clone());
            }
        }
        prop_assert_eq!(&report(&distinct).at_budget(IncidentBudget::PerDay(2)), &forward);
        let told: Vec<AlertId> =
            forward.iter().flat_map(|i| i.steps.iter().map(|step| step.alert)).collect();
        prop_assert_eq!(told.len(), ids.len());
        prop_assert_eq!(told.into_iter().collect::<BTreeSet<_>>(), ids);
    }

    /// A story never gets less suspicious when an alert joins or grows.
    #[test]
    fn the_combination_is_monotone(alerts in prop::collection::vec(arbitrary_alert(), 1..8), more in arbitrary_alert(), grows in 0.0..5.0_f64) {
        let before = combined(&alerts);
        let mut joined = alerts.clone();
        joined.push(more);
        prop_assert!(combined(&joined) >= before);
        let mut grown = alerts.clone();
        grown[0].p_value = PValue::from_neg_log10(grown[0].p_value.neg_log10() + grows);
        prop_assert!(combined(&grown) >= before);
    }
}
