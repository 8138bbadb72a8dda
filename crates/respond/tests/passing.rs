//! Traffic that passes by: a bridge that cuts it, and a sensor that ends it with resets; in network namespaces that each
//! test makes for itself, with real connections.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[allow(dead_code, reason = "each file of tests needs a part of it")]
mod net;

use net::{Far, NOW, PORTS, inside, nft, table, talk};
use thymus_respond::{Cut, Habit, NeverAct, Nftables, Port, Reset, Responder, Side, host};
use thymus_schema::Transport;

/// Not a test: the process in another namespace.
#[test]
fn the_far_end() {
    net::far_end();
}

fn tcp(port: u16) -> Port {
    Port {
        transport: Transport::Tcp,
        port,
    }
}

/// The same cuts for whoever carries them out: a service of a pair, and a device held to its pattern of life.
fn ends(responder: &mut dyn Responder) {
    let [mut near, mut far] = Far::both_ends();
    let pattern = Cut::Pattern {
        client: host("10.9.0.1".parse().unwrap()),
        server: host("10.9.0.11".parse().unwrap()),
        port: Some(tcp(PORTS[0])),
    };
    let life = Cut::AllBut {
        of: host("fd00:9::1".parse().unwrap()),
        habits: vec![Habit {
            is_client: true,
            peer: "fd00:9::11".parse().ok(),
            port: tcp(PORTS[1]),
        }],
    };
    let begun = Cut::Address {
        of: host("10.9.0.12".parse().unwrap()),
        side: Side::Begun,
    };
    let wanted = table(vec![pattern, life, begun], &NeverAct::default());
    responder.apply(&wanted, NOW).unwrap();
    // A thread may take a moment to heed it.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let is_cut = [
        talk("10.9.0.1", "10.9.0.11", PORTS[0]),
        talk("fd00:9::1", "fd00:9::11", PORTS[0]),
    ];
    let passes = [
        talk("10.9.0.1", "10.9.0.11", PORTS[1]),
        talk("10.9.0.2", "10.9.0.11", PORTS[0]),
        talk("10.9.0.2", "10.9.0.12", PORTS[0]),
        talk("fd00:9::1", "fd00:9::11", PORTS[1]),
    ];
    for talk in &is_cut {
        assert!(!near.lasts(talk), "{talk:?}");
    }
    for talk in &passes {
        assert!(near.lasts(talk), "{talk:?}");
    }
    assert!(!far.lasts(&talk("10.9.0.12", "10.9.0.1", PORTS[0])));
    assert!(!far.lasts(&talk("fd00:9::11", "fd00:9::1", PORTS[1])));
    assert!(far.lasts(&talk("10.9.0.11", "10.9.0.1", PORTS[0])));
    let receipt = responder.reconcile(&wanted, NOW).unwrap();
    assert!(
        receipt.trouble.is_none() && !receipt.cut.is_empty(),
        "{receipt:?}"
    );
    responder.remove().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    for talk in &is_cut {
        assert!(near.lasts(talk), "{talk:?} after all was taken back");
    }
}

#[test]
fn a_bridge_cuts_what_goes_between_its_ports() {
    inside("a_bridge_cuts_what_goes_between_its_ports", || {
        ends(&mut Nftables::bridge());
        assert_eq!(nft(&["list", "tables"]), "");
    });
}

#[test]
fn who_only_listens_ends_conversations_with_resets() {
    inside("who_only_listens_ends_conversations_with_resets", || {
        ends(&mut Reset::new("br0"));
    });
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    inside("an_interface_that_is_not_there_is_named", || {
        let wanted = table(Vec::new(), &NeverAct::default());
        let error = Reset::new("nowhere7").apply(&wanted, NOW).unwrap_err();
        assert!(error.to_string().contains("nowhere7"), "{error}");
    });
}

#[test]
fn an_interface_that_is_renamed_is_told_and_taken_up_again() {
    inside(
        "an_interface_that_is_renamed_is_told_and_taken_up_again",
        || {
            let [mut near, _far] = Far::both_ends();
            let cut = Cut::Address {
                of: host("10.9.0.1".parse().unwrap()),
                side: Side::Both,
            };
            let wanted = table(vec![cut], &NeverAct::default());
            let mut responder = Reset::new("br0");
            let mut trouble = move || responder.reconcile(&wanted, NOW).unwrap().trouble;
            let talk = talk("10.9.0.1", "10.9.0.11", PORTS[0]);
            let mut eventually =
                |what: &str, is: &mut dyn FnMut(&mut Far, Option<String>) -> bool| {
                    for _ in 0..300 {
                        if is(&mut near, trouble()) {
                            return;
                        }
                        std::thread::sleep(std::time::Duration::from_millis(100));
                    }
                    panic!("not within half a minute: {what}");
                };
            eventually("it is cut", &mut |near, _| !near.lasts(&talk));
            let rename = |from: &str, to: &str| {
                net::run(&format!("ip link set {from} down"));
                net::run(&format!("ip link set {from} name {to}"));
                net::run(&format!("ip link set {to} up"));
            };
            rename("br0", "other0");
            eventually("it is told", &mut |_, trouble| {
                trouble.is_some_and(|told| told.contains("br0"))
            });
            rename("other0", "br0");
            eventually("it is cut again", &mut |near, trouble| {
                trouble.is_none() && !near.lasts(&talk)
            });
        },
    );
}
