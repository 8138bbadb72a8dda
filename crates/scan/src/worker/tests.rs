//! What a confined process still can do, tried out: this program's tests start themselves as one.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::thread;

use super::confine::{Landlock, confine, filter_calls};
use super::protocol::Limits;

/// Names what the started process tries.
const TRY: &str = "THYMUS_TEST_TRY";
/// The signal for a forbidden system call (SIGSYS on every architecture but MIPS and Alpha).
const FORBIDDEN: i32 = 31;

/// Starts the test called `name` again, to try `what`, and gives the signal that ended it.
fn tried(name: &str, what: &str) -> Option<i32> {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(TRY, what)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stderr);
    let signal = output.status.signal();
    assert!(
        output.status.success() || signal.is_some(),
        "{what}: {said}"
    );
    signal
}

fn attempt(what: &str) {
    let file = File::open("/etc/passwd").unwrap();
    let limits = Limits {
        memory_bytes_max: 1 << 30,
        cpu_secs_max: 60,
        threads: 1,
    };
    let confinement = confine(limits).unwrap();
    if confinement.landlock != Landlock::Absent {
        assert!(File::open("/etc/passwd").is_err(), "Landlock alone");
        assert!(std::fs::read_dir("/").is_err(), "Landlock alone");
    }
    if let Err(trouble) = filter_calls() {
        panic!("{trouble}");
    }
    match what {
        "quiet" => {
            assert!(File::open("/etc/passwd").is_err());
            assert!(File::create("/dev/shm/thymus-test").is_err());
            assert!(std::fs::metadata("/etc/passwd").is_err());
            assert!(UnixStream::pair().is_err());
            assert!(thread::Builder::new().spawn(|| ()).is_err());
            assert!(Command::new("/bin/true").spawn().is_err());
            let memory = vec![1_u8; 10 << 20];
            assert_eq!(
                memory.iter().map(|byte| u64::from(*byte)).sum::<u64>(),
                10 << 20
            );
            assert!(std::io::read_to_string(&file).unwrap().contains("root"));
        }
        "network" => drop(TcpListener::bind("127.0.0.1:0")),
        "program" => drop(Command::new("/bin/true").exec()),
        other => panic!("nobody tries {other}"),
    }
}

#[test]
fn a_confined_process_reads_what_it_has_and_nothing_else() {
    if let Ok(what) = std::env::var(TRY) {
        return attempt(&what);
    }
    let name = "worker::tests::a_confined_process_reads_what_it_has_and_nothing_else";
    assert_eq!(tried(name, "quiet"), None);
    for what in ["network", "program"] {
        assert_eq!(tried(name, what), Some(FORBIDDEN), "{what}");
    }
}
