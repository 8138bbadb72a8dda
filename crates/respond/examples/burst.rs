//! How long many decisions at once take, from the proposal to the kernel and back: journal on the disk, guardrails,
//! transaction of nft. Touches the packet filter, so run it in a network namespace of its own:
//!
//! ```sh
//! cargo build --release -p thymus-respond --example burst && unshare -Urn target/release/examples/burst 10000
//! ```

#![allow(clippy::print_stdout, reason = "its output")]

use std::time::{Duration, Instant};

use thymus_respond::{
    Cut, DecisionId, Enforcer, Mode, Nftables, Policy, Port, Proposal, Rehearsal, Verb, host,
};
use thymus_schema::{Confidence, EntityId, Timestamp, Transport};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: u32 = match std::env::args().nth(1) {
        Some(count) => count.parse()?,
        None => 10_000,
    };
    let dir = tempfile::tempdir_in(".")?;
    let mut policy = Policy {
        mode: Mode::Act,
        ..Policy::default()
    };
    policy.caps.devices_min = u64::from(count) * 2;
    policy.caps.actions = u64::from(count) * 2;
    let now = Timestamp::from_secs(1_767_571_200);
    let responder = Box::new(Nftables::default());
    let (mut enforcer, _) = Enforcer::open(dir.path(), policy, responder, now)?;
    let proposals = (0..count).map(proposal).collect();
    let begin = clock();
    let made = enforcer.propose(proposals, now)?;
    println!(
        "{} decided and applied in {:?}",
        made.len(),
        begin.elapsed()
    );
    let begin = clock();
    enforcer.tick(now.plus(Duration::from_secs(6)));
    println!("read back and compared in {:?}", begin.elapsed());
    let begin = clock();
    let ids: Vec<DecisionId> = made;
    enforcer.undo(&ids, "burst", "measured", now.plus(Duration::from_secs(7)))?;
    println!("{} taken back in {:?}", ids.len(), begin.elapsed());
    enforcer.leave()?;
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a measurement")]
fn clock() -> Instant {
    Instant::now()
}

fn proposal(number: u32) -> Proposal {
    let client = std::net::Ipv4Addr::from(0x0a00_0000 | number);
    let server = std::net::Ipv4Addr::from(0xc633_6400 | (number & 0xff));
    Proposal {
        incident: format!("incident{number}").into(),
        confidence: Confidence::High,
        device: EntityId::device(client.to_string()),
        addrs: vec![client.into()],
        verb: Verb::BlockPattern,
        cuts: vec![Cut::Pattern {
            client: host(client.into()),
            server: host(server.into()),
            port: Some(Port {
                transport: Transport::Tcp,
                port: 443,
            }),
        }],
        reason: "burst".to_owned(),
        harms: false,
        stage: 0,
        evidence_at: Timestamp::from_secs(1_767_571_200),
        rehearsal: Rehearsal::default(),
    }
}
