//! Kinds of remote administration, and the traffic by which each is known.

use thymus_schema::{
    DceRpcCall, FlowRecord, HttpTransaction, Outcome, QuirkSeen, Service, SmbAction, SmbOperation,
    Technique,
};

use crate::rpc::{Interface, is_operation};

/// A kind of remote administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Act {
    CreateService,
    StartService,
    StopService,
    Services,
    Refused,
    Fragile,
    Driver,
    ClearLog,
    Task,
    Scheduler,
    WmiRun,
    WmiChange,
    Wmi,
    DcomRun,
    Activate,
    Dcom,
    Winrm,
    SaveRegistry,
    Registry,
    Secrets,
    CopyProgram,
    CopyPackage,
    TouchProgram,
    AdminShare,
    OwnPipe,
}

impl Act {
    /// −log10 of the share of device-hours in which somebody does it without history.
    pub(super) fn weight(self) -> f64 {
        match self {
            Self::Secrets => 3.2,
            Self::CreateService | Self::Task | Self::Fragile | Self::ClearLog => 3.0,
            Self::WmiRun => 2.8,
            Self::CopyProgram
            | Self::SaveRegistry
            | Self::DcomRun
            | Self::WmiChange
            | Self::Driver => 2.6,
            Self::StopService | Self::StartService => 2.3,
            Self::Winrm | Self::Services | Self::Activate => 2.0,
            Self::Scheduler => 1.8,
            Self::Wmi | Self::TouchProgram => 1.6,
            // Packages are what software is rolled out in; intruders bring bare programs.
            Self::CopyPackage => 1.5,
            Self::Refused => 1.4,
            Self::Registry | Self::AdminShare => 1.2,
            Self::Dcom | Self::OwnPipe => 0.8,
        }
    }

    /// Whether it only looks, as inventory and monitoring do on many devices.
    pub(super) fn only_looks(self) -> bool {
        matches!(
            self,
            Self::Services
                | Self::Scheduler
                | Self::Wmi
                | Self::Dcom
                | Self::Activate
                | Self::Registry
        )
    }

    /// Whether `other` cannot be done without it, so that both are one deed.
    pub(super) fn is_part_of(self, other: Self) -> bool {
        match self {
            Self::Services => matches!(
                other,
                Self::CreateService | Self::StartService | Self::StopService
            ),
            Self::AdminShare => matches!(
                other,
                Self::Secrets | Self::CopyProgram | Self::CopyPackage | Self::TouchProgram
            ),
            Self::TouchProgram => other == Self::CopyProgram,
            Self::Scheduler => other == Self::Task,
            Self::Registry => other == Self::SaveRegistry,
            _ => false,
        }
    }

    /// The act in words, after a device.
    pub(super) fn says(self) -> &'static str {
        match self {
            Self::CreateService => "created a service",
            Self::StartService => "started a service",
            Self::StopService => "stopped a service",
            Self::Services => "opened the service manager",
            Self::Refused => "was refused the right to administer",
            Self::Fragile => "called for what is known for breaking in",
            Self::Driver => "installed a printer driver",
            Self::ClearLog => "cleared an event log",
            Self::Task => "registered a scheduled task",
            Self::Scheduler => "reached for the task scheduler",
            Self::WmiRun => "ran a method over WMI",
            Self::WmiChange => "stored or deleted objects over WMI",
            Self::Wmi => "used WMI",
            Self::DcomRun => "ran a method of an object over DCOM",
            Self::Activate => "asked for a maker of objects over DCOM",
            Self::Dcom => "made objects over DCOM",
            Self::Winrm => "used Windows remote management",
            Self::SaveRegistry => "saved registry hives",
            Self::Registry => "opened the remote registry",
            Self::Secrets => "opened a store of password hashes over an administrative share",
            Self::CopyProgram => "wrote a program to an administrative share",
            Self::CopyPackage => "wrote an installation package to an administrative share",
            Self::TouchProgram => "opened a program on an administrative share",
            Self::AdminShare => "entered an administrative share",
            Self::OwnPipe => "opened a pipe of an unknown name",
        }
    }

    /// The technique it is.
    pub(super) fn technique(self) -> Technique {
        Technique::new(match self {
            Self::CreateService => "T1543.003",
            Self::StartService => "T1569.002",
            Self::StopService => "T1489",
            Self::Services => "T1007",
            Self::Refused => "T1078",
            Self::Fragile | Self::Driver => "T1210",
            Self::ClearLog => "T1070.001",
            Self::Task | Self::Scheduler => "T1053.005",
            Self::WmiRun | Self::Wmi => "T1047",
            Self::WmiChange => "T1546.003",
            Self::Dcom | Self::DcomRun | Self::Activate => "T1021.003",
            Self::Winrm => "T1021.006",
            Self::Secrets => "T1003.003",
            Self::CopyProgram | Self::CopyPackage | Self::TouchProgram => "T1570",
            Self::AdminShare | Self::OwnPipe => "T1021.002",
            Self::SaveRegistry | Self::Registry => "T1021",
        })
    }
}

/// What a remote procedure call does, if it administers.
pub(super) fn of_call(call: &DceRpcCall) -> Option<Act> {
    let is = |name, numbers: &[u16]| is_operation(call, name, numbers);
    match Interface::of(call)? {
        Interface::Services if is("CreateService", &[12, 24, 44, 45, 60]) => {
            Some(Act::CreateService)
        }
        Interface::Services
            if is("StartService", &[19, 31]) || is("ChangeServiceConfig", &[11, 23]) =>
        {
            Some(Act::StartService)
        }
        Interface::Services if is("ControlService", &[1]) || is("DeleteService", &[2]) => {
            Some(Act::StopService)
        }
        Interface::Services if is("OpenSCManager", &[15, 27, 64, 65]) => {
            Some(if call.outcome == Outcome::Failure {
                Act::Refused
            } else {
                Act::Services
            })
        }
        // Path names and domain roles are worked out at home; asking another machine to do it is
        // how its oldest holes are reached.
        Interface::Server if is("NetprPathCanonicalize", &[31]) => Some(Act::Fragile),
        Interface::DomainRole if is("DsRolerUpgradeDownlevelServer", &[9]) => Some(Act::Fragile),
        Interface::Printing if is("RpcAddPrinterDriver", &[9, 89]) => Some(Act::Driver),
        Interface::RemotePrinting
            if is("RpcAsyncAddPrinterDriver", &[39])
                || is("RpcAsyncInstallPrinterDriverFromPackage", &[62]) =>
        {
            Some(Act::Driver)
        }
        Interface::EventLog if is("ElfrClearELF", &[0]) => Some(Act::ClearLog),
        Interface::EventLog6 if is("EvtRpcClearLog", &[6]) => Some(Act::ClearLog),
        Interface::Tasks
            if is("SchRpcRegisterTask", &[1])
                || is("SchRpcRun", &[12])
                || is("NetrJobAdd", &[0]) =>
        {
            Some(Act::Task)
        }
        Interface::Wmi if is("ExecMethod", &[24, 25]) || is("ExecMethodAsync", &[]) => {
            Some(Act::WmiRun)
        }
        // PutClass to DeleteInstance: how subscriptions and classes of one's own are stored.
        Interface::Wmi
            if is("PutClass", &[8, 9])
                || is("DeleteClass", &[10, 11])
                || is("PutInstance", &[14, 15])
                || is("PutInstanceAsync", &[])
                || is("DeleteInstance", &[16, 17]) =>
        {
            Some(Act::WmiChange)
        }
        Interface::Wmi => Some(Act::Wmi),
        Interface::Dcom if is("Invoke", &[]) => Some(Act::DcomRun),
        Interface::Dcom if is("RemoteGetClassObject", &[]) => Some(Act::Activate),
        Interface::Dcom => Some(Act::Dcom),
        Interface::Registry if is("BaseRegSaveKey", &[20, 31]) => Some(Act::SaveRegistry),
        Interface::Registry => Some(Act::Registry),
        _ => None,
    }
}

/// Shares that Windows makes for administrators: `ADMIN$`, `C$`.
fn is_admin_share(share: &str) -> bool {
    let name = share
        .trim_end_matches('\\')
        .rsplit('\\')
        .next()
        .unwrap_or(share);
    let Some(head) = name.strip_suffix('$') else {
        return false;
    };
    head.eq_ignore_ascii_case("admin")
        || (head.len() == 1 && head.bytes().all(|byte| byte.is_ascii_alphabetic()))
}

fn extension(path: &str) -> String {
    path.rsplit('.').next().unwrap_or("").to_ascii_lowercase()
}

fn is_package(path: &str) -> bool {
    matches!(extension(path).as_str(), "msi" | "msp" | "msu" | "cab")
}

/// Files that hold the password hashes of a machine or a domain: the registry's hives and the
/// directory itself, wherever a shadow copy or a program put them.
fn is_secret(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    let name = path.rsplit('\\').next().unwrap_or(&path);
    name == "ntds.dit"
        || (matches!(name, "sam" | "security" | "system") && path.contains("\\config\\"))
        || (name.starts_with("lsass") && extension(name) == "dmp")
}

fn is_program(path: &str) -> bool {
    let ext = extension(path);
    matches!(
        ext.as_str(),
        "exe"
            | "dll"
            | "bat"
            | "cmd"
            | "ps1"
            | "vbs"
            | "js"
            | "sys"
            | "scr"
            | "com"
            | "hta"
            | "aspx"
            | "jsp"
    )
}

/// `STATUS_ACCESS_DENIED`.
const DENIED: u32 = 0xc000_0022;

/// What an operation on a share does, if it administers.
pub(super) fn of_share(smb: &SmbOperation) -> Option<Act> {
    let is_admin = is_admin_share(&smb.share);
    if is_admin && smb.action == SmbAction::TreeConnect && smb.status == DENIED {
        return Some(Act::Refused);
    }
    // Whose pipe is asked for tells what is wanted, also when the calls inside cannot be read or
    // the server has none.
    match pipe(smb).as_deref() {
        Some("svcctl") => return Some(Act::Services),
        Some("atsvc") => return Some(Act::Scheduler),
        Some("winreg") => return Some(Act::Registry),
        _ => {}
    }
    if smb.status != 0 {
        return None;
    }
    if is_admin {
        let writes = matches!(
            smb.action,
            SmbAction::Write | SmbAction::Create | SmbAction::Rename
        );
        return Some(match smb.action {
            _ if is_secret(&smb.path) => Act::Secrets,
            _ if writes && (is_program(&smb.path) || is_program(&smb.new_path)) => Act::CopyProgram,
            _ if writes && is_package(&smb.path) => Act::CopyPackage,
            SmbAction::Open if is_program(&smb.path) => Act::TouchProgram,
            _ => Act::AdminShare,
        });
    }
    pipe(smb)
        .filter(|name| !is_known_pipe(name))
        .map(|_| Act::OwnPipe)
}

/// The name of the pipe that is opened, in small letters.
fn pipe(smb: &SmbOperation) -> Option<String> {
    let (_, end) = smb.share.as_bytes().split_last_chunk::<4>()?;
    if !end.eq_ignore_ascii_case(b"ipc$") || smb.path.is_empty() {
        return None;
    }
    let name = smb.path.trim_start_matches('\\').to_ascii_lowercase();
    Some(name.strip_prefix("pipe\\").unwrap_or(&name).to_owned())
}

/// Pipes of Windows and of common servers.
fn is_known_pipe(name: &str) -> bool {
    const KNOWN: &[&str] = &[
        "atsvc",
        "browser",
        "cert",
        "efsrpc",
        "epmapper",
        "eventlog",
        "fssagentrpc",
        "initshutdown",
        "keysvc",
        "llsrpc",
        "lsarpc",
        "lsass",
        "lsm_api",
        "mdssvc",
        "msftewds",
        "netdfs",
        "netlogon",
        "ntsvcs",
        "plugplay",
        "policyagent",
        "protected_storage",
        "router",
        "samr",
        "scerpc",
        "spoolss",
        "sql",
        "srvsvc",
        "svcctl",
        "tapsrv",
        "termsrv",
        "trkwks",
        "w32time",
        "winreg",
        "wkssvc",
        "witness",
    ];
    KNOWN.iter().any(|known| name.starts_with(known)) || name.starts_with("mssql")
}

/// What no client of the file protocol sends: the shapes by which its servers were broken into
/// (MS17-010, CVE-2020-0796).
pub(super) fn of_quirk(seen: &QuirkSeen) -> Option<Act> {
    let is_fragile = &*seen.parser == "smb"
        && matches!(
            &*seen.quirk,
            "oversized_transaction" | "session_setup_transaction" | "compression_overflow"
        );
    is_fragile.then_some(Act::Fragile)
}

/// What a request does, if it administers. Devices that hand in their event logs use the same door
/// (MS-WSMV, subscriptions).
pub(super) fn of_http(http: &HttpTransaction) -> Option<Act> {
    let is_subscription = http
        .uri
        .to_ascii_lowercase()
        .starts_with("/wsman/subscription");
    (http.uri.starts_with("/wsman") && !is_subscription && http.status != 401).then_some(Act::Winrm)
}

/// Whether a conversation to the ports of Windows remote management carried a log-in and a question
/// with its answer.
pub(super) fn is_management(flow: &FlowRecord, port: u16) -> bool {
    let is_winrm = flow.service == Some(Service::Winrm)
        || (matches!(port, 5985 | 5986)
            && matches!(flow.service, None | Some(Service::Http | Service::Tls)));
    is_winrm && flow.part == 0 && flow.client_bytes > 4_000 && flow.server_bytes > 1_500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_of_hashes_are_known_wherever_they_lie() {
        assert!(is_secret(r"Temp\vss\NTDS.dit"));
        assert!(is_secret(r"Windows\System32\config\SAM"));
        assert!(!is_secret(r"Windows\System32\config\systemprofile\a.txt"));
        assert!(!is_secret(r"data\SYSTEM"));
    }

    #[test]
    fn forwarded_events_are_no_administration() {
        let asked = |uri: &str| HttpTransaction {
            uri: uri.into(),
            status: 200,
            ..HttpTransaction::default()
        };
        assert_eq!(of_http(&asked("/wsman?PSVersion=5.1")), Some(Act::Winrm));
        assert_eq!(of_http(&asked("/wsman/SubscriptionManager/WEC")), None);
    }
}
