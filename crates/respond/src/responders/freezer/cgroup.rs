//! Stopping by the kernel's freezer (cgroups(7), version 2, Linux 5.2 and later).
//!
//! A process gets a group of its own *inside* the group it is in, not below one of ours: its service goes on being its
//! service, with its limits and its place in the service manager's book, and the group it goes back to cannot vanish
//! while its own is there.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The kernel says within a moment that a group is frozen, unless one of its threads waits for a device.
const WAIT: Duration = Duration::from_millis(10);
const WAITS: usize = 30;

/// Where groups of version 2 are, by `/proc/self/mountinfo`: the whole of them, not a part.
pub(super) fn mounted(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        (kind.split(' ').next()? == "cgroup2" && root == "/").then(|| PathBuf::from(at))
    })
}

/// The group of version 2 in `/proc/PID/cgroup`; none when it lies outside of what is seen here.
pub(super) fn path_of(cgroup: &str) -> Option<&str> {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/"))?;
    (!path.split('/').any(|part| part == "..")).then_some(path)
}

/// Where the process is, below `root`.
pub(super) fn group_of(root: &Path, pid: i32) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    Some(root.join(path_of(&text)?))
}

fn write(group: &Path, name: &str, value: &str) -> io::Result<()> {
    fs::write(group.join(name), value)
}

/// The processes of a group.
fn members(group: &Path) -> io::Result<Vec<i32>> {
    let text = fs::read_to_string(group.join("cgroup.procs"))?;
    Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
}

/// Puts a process into the group `own`, where nothing runs.
pub(super) fn freeze(own: &Path, pid: i32) -> io::Result<()> {
    match fs::create_dir(own) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    write(own, "cgroup.freeze", "1")?;
    if !members(own)?.contains(&pid) {
        write(own, "cgroup.procs", &pid.to_string())?;
    }
    for _ in 0..WAITS {
        if is_frozen(own) {
            break;
        }
        thread::sleep(WAIT);
    }
    Ok(())
}

/// Whether the kernel says that nothing of it runs.
pub(super) fn is_frozen(own: &Path) -> bool {
    let events = fs::read_to_string(own.join("cgroup.events")).unwrap_or_default();
    events.lines().any(|line| line == "frozen 1")
}

/// Whether the process is where nothing is to run.
pub(super) fn holds(own: &Path, pid: i32) -> bool {
    let wanted = fs::read_to_string(own.join("cgroup.freeze")).unwrap_or_default();
    wanted.trim() == "1" && members(own).is_ok_and(|members| members.contains(&pid))
}

/// Puts whatever is in `own` back into `from`, where it goes on, and removes `own`.
pub(super) fn thaw(own: &Path, from: &Path) -> io::Result<()> {
    let mut last = Ok(());
    for _ in 0..WAITS {
        let inside = match members(own) {
            Ok(inside) => inside,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for pid in inside {
            match write(from, "cgroup.procs", &pid.to_string()) {
                // One that has ended is nowhere.
                Err(error) if error.raw_os_error() != Some(GONE) => {
                    // It cannot go back, but it goes on.
                    write(own, "cgroup.freeze", "0")?;
                    last = Err(error);
                }
                _ => {}
            }
        }
        match fs::remove_dir(own) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => last = last.and(Err(error)),
        }
        thread::sleep(WAIT);
        if last
            .as_ref()
            .is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
        {
            break;
        }
    }
    last
}

/// What the kernel says of a process that is gone.
const GONE: i32 = rustix::io::Errno::SRCH.raw_os_error();

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_about_groups_are_read() {
        let mountinfo = "24 30 0:22 / /proc rw - proc proc rw\n\
            31 23 0:27 /sub /mnt/part rw shared:9 - cgroup2 cgroup2 rw\n\
            30 23 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:8 - cgroup2 cgroup2 rw\n";
        assert_eq!(
            mounted(mountinfo),
            Some(PathBuf::from("/sys/fs/cgroup/unified"))
        );
        assert_eq!(
            mounted("24 30 0:22 / /sys/fs/cgroup rw - cgroup cgroup rw\n"),
            None
        );
        let cgroup = "9:name=systemd:/\n4:memory:/x\n0::/system.slice/ssh.service\n";
        assert_eq!(path_of(cgroup), Some("system.slice/ssh.service"));
        assert_eq!(path_of("0::/\n"), Some(""));
        assert_eq!(path_of("0::/../../other\n"), None);
        assert_eq!(path_of("1:name=systemd:/\n"), None);
    }
}
