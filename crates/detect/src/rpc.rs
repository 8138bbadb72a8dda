//! Remote procedure calls by what they are for, whether a source gave names or numbers.
//!
//! Interface identifiers and operation numbers: MS-SCMR, MS-TSCH, MS-RRP, MS-WMI, MS-DCOM, MS-DRSR,
//! MS-NRPC, MS-SAMR, MS-LSAD, MS-DSSP, MS-SRVS, MS-WKST, MS-RPRN, MS-PAR, MS-DFSNM, MS-EFSR, MS-FSRVP,
//! MS-EVEN, MS-EVEN6, MS-ICPR.
//
// tidy: table

use thymus_schema::DceRpcCall;

/// An interface whose calls tell something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Interface {
    Services,
    Tasks,
    Registry,
    Wmi,
    Dcom,
    Replication,
    Netlogon,
    Accounts,
    Policy,
    Server,
    Workstation,
    Printing,
    RemotePrinting,
    EventLog,
    EventLog6,
    Dfs,
    EncryptedFiles,
    ShadowCopies,
    DomainRole,
    Certificates,
}

use Interface::{
    Accounts, Certificates, Dcom, Dfs, DomainRole, EncryptedFiles, EventLog, EventLog6, Netlogon,
    Policy, Printing, Registry, RemotePrinting, Replication, Server, Services, ShadowCopies, Tasks,
    Wmi, Workstation,
};

const INTERFACES: &[(&str, &str, Interface)] = &[
    ("svcctl", "367abb81-9844-35f1-ad32-98f038001003", Services),
    ("atsvc", "1ff70682-0a51-30e8-076d-740be8cee98b", Tasks),
    (
        "itaskschedulerservice",
        "86d35949-83c9-4044-b424-db363231fd0c",
        Tasks,
    ),
    ("sasec", "378e52b0-c0a9-11cf-822d-00aa0051e40f", Tasks),
    ("winreg", "338cd001-2244-31f1-aaaa-900038001003", Registry),
    ("iwbemservices", "9556dc99-828c-11cf-a37e-00aa003240c7", Wmi),
    (
        "iwbemlevel1login",
        "f309ad18-d86a-11d0-a075-00c04fb68820",
        Wmi,
    ),
    (
        "iwbemloginclientid",
        "d4781cd6-e5d3-44df-ad94-930efe48a887",
        Wmi,
    ),
    ("idispatch", "00020400-0000-0000-c000-000000000046", Dcom),
    (
        "iremotescmactivator",
        "000001a0-0000-0000-c000-000000000046",
        Dcom,
    ),
    ("iactivation", "4d9f4ab8-7d1c-11cf-861e-0020af6e7c57", Dcom),
    (
        "isystemactivator",
        "000001a0-0000-0000-c000-000000000046",
        Dcom,
    ),
    (
        "drsuapi",
        "e3514235-4b06-11d1-ab04-00c04fc2dcd2",
        Replication,
    ),
    ("netlogon", "12345678-1234-abcd-ef00-01234567cffb", Netlogon),
    ("samr", "12345778-1234-abcd-ef00-0123456789ac", Accounts),
    ("lsarpc", "12345778-1234-abcd-ef00-0123456789ab", Policy),
    ("srvsvc", "4b324fc8-1670-01d3-1278-5a47bf6ee188", Server),
    (
        "wkssvc",
        "6bffd098-a112-3610-9833-46c3f87e345a",
        Workstation,
    ),
    ("spoolss", "12345678-1234-abcd-ef00-0123456789ab", Printing),
    (
        "iremotewinspool",
        "76f03f96-cdfd-44fc-a22c-64950a001209",
        RemotePrinting,
    ),
    ("eventlog", "82273fdc-e32a-18c3-3f78-827929dc23ea", EventLog),
    (
        "eventlog6",
        "f6beaff7-1e19-4fbb-9f8f-b89e2018337c",
        EventLog6,
    ),
    ("netdfs", "4fc742e0-4a10-11cf-8273-00aa004ae673", Dfs),
    ("dfs", "4fc742e0-4a10-11cf-8273-00aa004ae673", Dfs),
    (
        "lsarpc_efs",
        "c681d488-d850-11d0-8c52-00c04fd90f7e",
        EncryptedFiles,
    ),
    (
        "efsrpc",
        "c681d488-d850-11d0-8c52-00c04fd90f7e",
        EncryptedFiles,
    ),
    (
        "efs",
        "df1941c5-fe89-4e79-bf10-463657acf44d",
        EncryptedFiles,
    ),
    (
        "fssagentrpc",
        "a8e0653c-2744-4389-a61d-7373df8b2292",
        ShadowCopies,
    ),
    (
        "fileservervssagent",
        "a8e0653c-2744-4389-a61d-7373df8b2292",
        ShadowCopies,
    ),
    (
        "dssetup",
        "3919286a-b10c-11d0-9ba8-00c04fd92ef5",
        DomainRole,
    ),
    (
        "icertpassage",
        "91ae6020-9e3c-11cf-8d7c-00aa00c091be",
        Certificates,
    ),
];

impl Interface {
    /// The interface of a call; `None` when it is none of these.
    pub(crate) fn of(call: &DceRpcCall) -> Option<Self> {
        let name = &*call.interface;
        INTERFACES
            .iter()
            .find(|row| row.0.eq_ignore_ascii_case(name) || row.1.eq_ignore_ascii_case(name))
            .map(|row| row.2)
    }
}

/// Whether the call is the operation called `name` (an ending `A`, `W`, `Ex` or number after it is a
/// variant of the same) or, where the source gave no name, one of these numbers.
pub(crate) fn is_operation(call: &DceRpcCall, name: &str, numbers: &[u16]) -> bool {
    let said = &*call.operation;
    if said.is_empty() || said.starts_with("op ") {
        return numbers.contains(&call.opnum);
    }
    let (Some(head), Some(rest)) = (said.get(..name.len()), said.get(name.len()..)) else {
        return false;
    };
    head.eq_ignore_ascii_case(name)
        && matches!(
            rest,
            "" | "A" | "W" | "2" | "3" | "4" | "Ex" | "ExA" | "ExW" | "2W" | "WOW64A" | "WOW64W"
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(interface: &str, operation: &str, opnum: u16) -> DceRpcCall {
        DceRpcCall {
            interface: interface.into(),
            operation: operation.into(),
            opnum,
            ..DceRpcCall::default()
        }
    }

    #[test]
    fn names_and_numbers_mean_the_same() {
        let named = call("svcctl", "CreateServiceW", 0);
        let numbered = call("367abb81-9844-35f1-ad32-98f038001003", "op 12", 12);
        for call in [named, numbered] {
            assert_eq!(Interface::of(&call), Some(Services));
            assert!(is_operation(&call, "CreateService", &[12, 24]));
        }
        assert!(!is_operation(
            &call("svcctl", "CloseServiceHandle", 12),
            "CreateService",
            &[12]
        ));
        assert!(is_operation(
            &call("netlogon", "NetrServerAuthenticate3", 0),
            "NetrServerAuthenticate",
            &[26]
        ));
    }
}
