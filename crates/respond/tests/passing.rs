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
