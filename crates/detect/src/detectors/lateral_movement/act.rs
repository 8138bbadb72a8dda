//! Kinds of remote administration, and the traffic by which each is known.

use thymus_schema::{DceRpcCall, HttpTransaction, SmbAction, SmbOperation, Technique};

use crate::rpc::{Interface, is_operation};

/// A kind of remote administration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Act {
    CreateService,
    StartService,
    StopService,
    Services,
    Fragile,
    Task,
    WmiRun,
    Wmi,
    DcomRun,
    Activate,
    Dcom,
    Winrm,
    SaveRegistry,
    Registry,
    CopyProgram,
    TouchProgram,
    AdminShare,
    OwnPipe,
}

impl Act {
    /// −log10 of the share of device-hours in which somebody does it without history.
    pub(super) fn weight(self) -> f64 {
        match self {
            Self::CreateService | Self::Task | Self::Fragile => 3.0,
            Self::WmiRun => 2.8,
            Self::CopyProgram | Self::SaveRegistry | Self::DcomRun => 2.6,
            Self::StopService => 2.2,
            Self::StartService | Self::Winrm | Self::Services | Self::Activate => 2.0,
            Self::Wmi | Self::TouchProgram => 1.7,
            Self::Dcom | Self::Registry | Self::AdminShare => 1.2,
            Self::OwnPipe => 0.8,
        }
    }

    /// The act in words, after a device.
    pub(super) fn says(self) -> &'static str {
        match self {
            Self::CreateService => "created a service",
            Self::StartService => "started a service",
            Self::StopService => "stopped a service",
            Self::Services => "opened the service manager",
            Self::Fragile => "called a function known for breaking in",
            Self::Task => "registered a scheduled task",
            Self::WmiRun => "ran a method over WMI",
            Self::Wmi => "used WMI",
            Self::DcomRun => "ran a method of an object over DCOM",
            Self::Activate => "asked for a maker of objects over DCOM",
            Self::Dcom => "made objects over DCOM",
            Self::Winrm => "used Windows remote management",
            Self::SaveRegistry => "saved registry hives",
            Self::Registry => "opened the remote registry",
            Self::CopyProgram => "wrote a program to an administrative share",
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
            Self::Fragile => "T1210",
            Self::Task => "T1053.005",
            Self::WmiRun | Self::Wmi => "T1047",
            Self::Dcom | Self::DcomRun | Self::Activate => "T1021.003",
            Self::Winrm => "T1021.006",
            Self::CopyProgram | Self::TouchProgram => "T1570",
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
        Interface::Services if is("OpenSCManager", &[15, 27, 64, 65]) => Some(Act::Services),
        // Path names and domain roles are worked out at home; asking another machine to do it is
        // how its oldest holes are reached.
        Interface::Server if is("NetprPathCanonicalize", &[31]) => Some(Act::Fragile),
        Interface::DomainRole if is("DsRolerUpgradeDownlevelServer", &[9]) => Some(Act::Fragile),
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

fn is_program(path: &str) -> bool {
    let ext = path.rsplit('.').next().unwrap_or("").to_ascii_lowercase();
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
            | "msi"
            | "com"
            | "hta"
            | "aspx"
            | "jsp"
    )
}

/// What an operation on a share does, if it administers.
pub(super) fn of_share(smb: &SmbOperation) -> Option<Act> {
    if smb.status != 0 {
        return None;
    }
    if is_admin_share(&smb.share) {
        return Some(match smb.action {
            SmbAction::Write | SmbAction::Create | SmbAction::Rename
                if is_program(&smb.path) || is_program(&smb.new_path) =>
            {
                Act::CopyProgram
            }
            SmbAction::Open if is_program(&smb.path) => Act::TouchProgram,
            _ => Act::AdminShare,
        });
    }
    let is_pipe = smb.share.to_ascii_lowercase().ends_with("ipc$") && !smb.path.is_empty();
    (is_pipe && !is_known_pipe(&smb.path)).then_some(Act::OwnPipe)
}

/// Pipes of Windows and of common servers.
fn is_known_pipe(path: &str) -> bool {
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
    let name = path.trim_start_matches('\\').to_ascii_lowercase();
    let name = name.strip_prefix("pipe\\").unwrap_or(&name);
    KNOWN.iter().any(|known| name.starts_with(known)) || name.starts_with("mssql")
}

/// What a request does, if it administers.
pub(super) fn of_http(http: &HttpTransaction) -> Option<Act> {
    (http.uri.starts_with("/wsman") && http.status != 401).then_some(Act::Winrm)
}
