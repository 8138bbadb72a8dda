//! Network namespaces that a test makes for itself (`unshare -Urnm`, no root needed), joined by cables, and processes
//! in them that connect for real. Needs nftables and iproute2, and fails without.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use thymus_respond::{
    Change, Cut, Decision, DecisionId, Habit, Ledger, Mode, NeverAct, Port, Rehearsal, Side, State,
    Table, Talk, Verb, host, net,
};
use thymus_schema::{EntityId, Timestamp, Transport};
use thymus_testing::apart;

pub(crate) const FAR: &str = "THYMUS_TEST_FAR";
pub(crate) const PORTS: [u16; 2] = [1001, 2002];
pub(crate) const NEAR_ADDRS: [&str; 3] = ["10.9.0.1", "10.9.0.2", "fd00:9::1"];
pub(crate) const FAR_ADDRS: [&str; 3] = ["10.9.0.11", "10.9.0.12", "fd00:9::11"];
pub(crate) const NOW: Timestamp = Timestamp::from_secs(1_767_571_200);

/// Runs `test` in namespaces of its own.
pub(crate) fn inside(name: &str, test: impl FnOnce()) {
    if std::env::var_os(FAR).is_none() {
        apart("-Urnm", 3000, name, test);
    }
}

pub(crate) fn run(line: &str) {
    let mut words = line.split(' ');
    let done = Command::new(words.next().unwrap()).args(words).output();
    let output = done.expect("iproute2 and nftables are needed");
    assert!(
        output.status.success(),
        "{line}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

pub(crate) fn nft(args: &[&str]) -> String {
    let output = Command::new("nft").args(args).output().unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// A second namespace behind a cable, and who connects from there.
pub(crate) struct Far {
    child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Far {
    pub(crate) fn new() -> Self {
        run("mount -t tmpfs tmpfs /run");
        run("ip netns add far");
        run("ip link set lo up");
        run("ip link add near0 type veth peer name far0 netns far");
        for (addrs, ip) in [(NEAR_ADDRS, "ip"), (FAR_ADDRS, "ip -n far")] {
            let device = if ip == "ip" { "near0" } else { "far0" };
            for addr in addrs {
                let length = if addr.contains(':') { "64 nodad" } else { "24" };
                run(&format!("{ip} addr add {addr}/{length} dev {device}"));
            }
            run(&format!("{ip} link set {device} up"));
        }
        run("ip -n far link set lo up");
        listen();
        let mut far = Self::inside("far");
        far.waits(&talks(), Self::connects);
        far
    }

    /// Two namespaces, and this one between them with a bridge.
    pub(crate) fn both_ends() -> [Self; 2] {
        run("mount -t tmpfs tmpfs /run");
        run("ip link set lo up");
        run("ip link add br0 type bridge");
        run("ip link set br0 up");
        for (name, addrs) in [("near", NEAR_ADDRS), ("far", FAR_ADDRS)] {
            run(&format!("ip netns add {name}"));
            run(&format!(
                "ip link add to_{name} type veth peer name eth0 netns {name}"
            ));
            run(&format!("ip link set to_{name} master br0 up"));
            for addr in addrs {
                let length = if addr.contains(':') { "64 nodad" } else { "24" };
                run(&format!("ip -n {name} addr add {addr}/{length} dev eth0"));
            }
            run(&format!("ip -n {name} link set eth0 up"));
            run(&format!("ip -n {name} link set lo up"));
        }
        let mut ends = [Self::inside("near"), Self::inside("far")];
        let (from_near, from_far): (Vec<_>, Vec<_>) =
            talks().into_iter().partition(|talk| is_near(talk.client));
        ends[0].waits(&from_near, Self::asks);
        ends[1].waits(&from_far, Self::asks);
        ends
    }

    fn inside(name: &str) -> Self {
        let mut child = Command::new("ip")
            .args(["netns", "exec", name])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "the_far_end", "--nocapture"])
            .env(FAR, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let asks = child.stdin.take().unwrap();
        let mut answers = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.contains("ready") {
            line.clear();
            assert!(
                answers.read_line(&mut line).unwrap() > 0,
                "the far end died"
            );
        }
        Self {
            child,
            asks,
            answers,
        }
    }

    /// Until everything works as long as nothing is cut.
    fn waits(&mut self, talks: &[Talk], connects: fn(&mut Self, &Talk) -> bool) {
        for talk in talks {
            for _ in 0..100 {
                if connects(self, talk) {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
            assert!(connects(self, talk), "{talk:?} before anything is cut");
        }
    }

    pub(crate) fn connects(&mut self, talk: &Talk) -> bool {
        if is_near(talk.client) {
            return connects(talk).is_some();
        }
        self.asks(talk)
    }

    /// Whether a connection is made from there.
    pub(crate) fn asks(&mut self, talk: &Talk) -> bool {
        self.says("connects", talk)
    }

    /// Whether a connection made from there is still there after a while.
    pub(crate) fn lasts(&mut self, talk: &Talk) -> bool {
        self.says("lasts", talk)
    }

    fn says(&mut self, what: &str, talk: &Talk) -> bool {
        writeln!(
            self.asks,
            "{what} {} {} {}",
            talk.client, talk.server, talk.port
        )
        .unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim() == "yes"
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        let _is_ended = self.child.kill().and_then(|()| self.child.wait()).is_ok();
    }
}

/// The process in another namespace.
pub(crate) fn far_end() {
    if std::env::var_os(FAR).is_none() {
        return;
    }
    listen();
    println!("ready");
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let [what, client, server, port] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let talk = talk(client, server, port.parse().unwrap());
        let stream = connects(&talk);
        let is_so = match what {
            "lasts" => stream.is_some_and(lasts),
            _ => stream.is_some(),
        };
        println!("{}", if is_so { "yes" } else { "no" });
    }
}

fn is_near(addr: IpAddr) -> bool {
    NEAR_ADDRS.iter().any(|near| near.parse() == Ok(addr))
}

/// Whether a connection on which nobody says more is still there after a while.
fn lasts(mut stream: TcpStream) -> bool {
    let wait = Some(Duration::from_millis(700));
    stream.set_read_timeout(wait).unwrap();
    let ends = stream.read(&mut [0]);
    ends.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Says a word to whoever connects, and waits until they go.
fn listen() {
    for port in PORTS {
        let listener = TcpListener::bind(("::", port)).unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                thread::spawn(move || {
                    let said = stream.write_all(b"here");
                    let _is_gone = said.and_then(|()| stream.read(&mut [0])).is_ok();
                });
            }
        });
    }
}

fn connects(talk: &Talk) -> Option<TcpStream> {
    use std::os::fd::OwnedFd;
    // std cannot choose the address that it connects from.
    let domain = if talk.client.is_ipv4() {
        rustix::net::AddressFamily::INET
    } else {
        rustix::net::AddressFamily::INET6
    };
    let socket: OwnedFd =
        rustix::net::socket(domain, rustix::net::SocketType::STREAM, None).unwrap();
    let from = std::net::SocketAddr::new(talk.client, 0);
    rustix::net::bind(&socket, &from).unwrap();
    let wait = Some(Duration::from_millis(400));
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, wait)
        .unwrap();
    let to = std::net::SocketAddr::new(talk.server, talk.port);
    if rustix::net::connect(&socket, &to).is_err() {
        return None;
    }
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(wait).unwrap();
    let mut word = [0; 4];
    stream.read_exact(&mut word).ok()?;
    Some(stream)
}

pub(crate) fn talk(client: &str, server: &str, port: u16) -> Talk {
    Talk {
        client: client.parse().unwrap(),
        server: server.parse().unwrap(),
        transport: Transport::Tcp,
        port,
    }
}

/// All that can be tried.
pub(crate) fn talks() -> Vec<Talk> {
    let mut talks = Vec::new();
    for near in NEAR_ADDRS {
        for far in FAR_ADDRS {
            if near.contains(':') == far.contains(':') {
                for port in PORTS {
                    talks.push(talk(near, far, port));
                    talks.push(talk(far, near, port));
                }
            }
        }
    }
    talks
}

/// Numbers that look random and are the same each time (xorshift; Marsaglia 2003).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % below as u64) as usize
    }

    pub(crate) fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.next(all.len())]
    }

    pub(crate) fn cut(&mut self) -> Cut {
        let all = talks();
        let some = *self.of(&all);
        let port = Port {
            transport: Transport::Tcp,
            port: some.port,
        };
        let wide = |dice: &mut Self, addr: IpAddr| match (addr, dice.next(3)) {
            (IpAddr::V4(_), 0) => net(format!("{addr}/28").parse().unwrap()),
            (IpAddr::V6(_), 0) => net(format!("{addr}/124").parse().unwrap()),
            _ => host(addr),
        };
        match self.next(4) {
            0 => Cut::Pattern {
                client: host(some.client),
                server: wide(self, some.server),
                port: Some(port),
            },
            1 => Cut::Pattern {
                client: host(some.client),
                server: host(some.server),
                port: None,
            },
            2 => Cut::Address {
                of: wide(self, some.client),
                side: *self.of(&[Side::Both, Side::Begun, Side::Taken]),
            },
            _ => {
                let habits = (0..self.next(5)).map(|_| {
                    let other = *self.of(&all);
                    let is_client = self.next(2) == 0;
                    let peer = if is_client {
                        other.server
                    } else {
                        other.client
                    };
                    let named = Port {
                        port: other.port,
                        ..port
                    };
                    let (peer, port) = match self.next(4) {
                        0 => (None, named),
                        1 => (Some(peer), Port::agreed(Transport::Tcp)),
                        _ => (Some(peer), named),
                    };
                    Habit {
                        is_client,
                        peer,
                        port,
                    }
                });
                let habits = habits.collect();
                Cut::AllBut {
                    of: wide(self, some.client),
                    habits,
                }
                .canonical()
            }
        }
    }
}

pub(crate) fn decided(id: u64, cuts: Vec<Cut>, until: Timestamp) -> Change {
    Change::Made {
        decision: Box::new(Decision {
            id: DecisionId(id),
            incident: format!("incident{id}").into(),
            device: EntityId::device("10.9.0.1"),
            verb: Verb::BlockPattern,
            cuts,
            reason: String::new(),
            mode: Mode::Act,
            rehearsal: Rehearsal::default(),
            proposed_at: NOW,
            duration: Duration::from_hours(1),
            stage: 0,
            state: State::Active,
            began_at: Some(NOW),
            until: Some(until),
            confirm_by: None,
            history: Vec::new(),
        }),
    }
}

pub(crate) fn table(cuts: Vec<Cut>, never: &NeverAct) -> Table {
    let mut ledger = Ledger::default();
    for (id, cut) in (1..).zip(cuts) {
        let change = decided(id, vec![cut], NOW.plus(Duration::from_hours(1)));
        ledger.apply(&change).unwrap();
    }
    Table::of(&ledger, never)
}
