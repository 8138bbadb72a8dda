use std::net::IpAddr;

use thymus_schema::{
    Conn, Endpoint, Event, EventBody, EventId, FlowRecord, LocalNetworks, Timestamp, Transport,
};

use super::{Baseline, FirstSeen, Volume, within_budget};

fn flow(secs: i64, client: &str, server: &str, bytes: u64) -> Event {
    let end = |addr: &str, port| Endpoint::new(addr.parse().unwrap(), port);
    Event {
        id: EventId::default(),
        ts: Timestamp::from_secs(secs),
        conn: Some(Conn {
            flow: thymus_schema::FlowId(0),
            client: end(client, 40_000),
            server: end(server, 443),
            transport: Transport::Tcp,
            scope: thymus_schema::Scope::NONE,
        }),
        body: EventBody::Flow(Box::new(FlowRecord {
            client_bytes: bytes,
            ..FlowRecord::default()
        })),
    }
}

#[test]
fn the_box_plot_flags_the_hour_of_the_upload_and_no_other() {
    let (mut volume, local) = (Volume::default(), LocalNetworks::default());
    for hour in 0..20 {
        let bytes = if hour == 15 {
            1_000_000
        } else {
            1_000 + hour as u64
        };
        volume.observe(
            &flow(hour * 3_600, "10.0.0.7", "192.0.2.1", bytes),
            &local,
            false,
        );
    }
    let alarms = volume.alarms();
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0].device, "10.0.0.7".parse::<IpAddr>().unwrap());
    assert_eq!(alarms[0].first, Timestamp::from_secs(15 * 3_600));
}

#[test]
fn first_seen_learns_before_it_flags() {
    let (mut seen, local) = (FirstSeen::default(), LocalNetworks::default());
    seen.observe(&flow(0, "10.0.0.7", "192.0.2.1", 1), &local, true);
    seen.observe(&flow(100, "10.0.0.7", "192.0.2.1", 1), &local, false);
    assert_eq!(seen.alarms(), []);
    seen.observe(&flow(200, "10.0.0.7", "192.0.2.9", 1), &local, false);
    assert_eq!(seen.alarms().len(), 1);
}

#[test]
fn without_a_normal_period_the_first_tenth_is_learned() {
    let (mut seen, local) = (FirstSeen::default(), LocalNetworks::default());
    for at in [0, 50, 500, 1_000] {
        seen.observe(
            &flow(at, "10.0.0.7", &format!("192.0.2.{}", at / 50), 1),
            &local,
            false,
        );
    }
    assert_eq!(seen.alarms()[0].score, 2.0);
}

#[test]
fn the_budget_keeps_the_strongest_of_each_day() {
    let (mut seen, local) = (FirstSeen::default(), LocalNetworks::default());
    seen.observe(&flow(0, "10.0.0.1", "192.0.2.1", 1), &local, true);
    for (device, pairs) in [(1, 1), (2, 3), (3, 2)] {
        for pair in 0..pairs {
            let event = flow(
                100 + pair,
                &format!("10.0.0.{device}"),
                &format!("192.0.2.{}", 10 + pair),
                1,
            );
            seen.observe(&event, &local, false);
        }
    }
    let kept = within_budget(seen.alarms(), 2);
    let devices: Vec<String> = kept.iter().map(|alarm| alarm.device.to_string()).collect();
    assert_eq!(devices, ["10.0.0.2", "10.0.0.3"]);
}
