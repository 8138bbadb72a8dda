//! # Directory enumeration and coercion
//!
//! ## What it flags
//! A device that reads the directory as attackers' mapping tools do (all users, all computers, all
//! service accounts, weak settings, permissions), takes very much out of it over a connection that
//! cannot be read, changes who may act for whom, asks machines who is logged in, lists accounts over the security
//! accounts interface, fetches stored secrets over the local security authority, asks for certificates in a way that members
//! do not, or makes a server authenticate to somewhere else.
//!
//! ## Why it matters
//! The map of a domain shows the way to its most powerful accounts. A coerced server hands over its
//! own identity.
//!
//! ## How it scores
//! Directory searches are sorted by what their filter and attributes ask for; each broad or telling kind has a
//! weight, and different kinds in one hour add up. Where searches are sealed only their size is left:
//! what a device took out of the directory counts beyond a third of a megabyte (the size of a schema,
//! which programs fetch once), two digits per factor of ten. Machines asked for sessions, shares or logged-in users
//! count beyond three, for being asked about sessions at all as one kind (two and a half digits per factor of ten), listing of accounts and groups on the
//! accounts interface has a weight of its own, and so have secrets read from another machine. Calls known to make a server authenticate elsewhere score by
//! themselves, less towards print servers, whose clients make such a call as well. What is done on
//! earlier days is worth less.
//!
//! ## Evidence
//! The kinds of search, the number of machines asked, the operations, some names; the first calls'
//! events.
//!
//! ## What would have been normal
//! Searches for single objects by name.
//!
//! ## Known false alarms
//! Inventory, directory synchronisation, address books, appliances that import all users,
//! administrators' consoles in their first days.
//!
//! ## ATT&CK
//! T1087.002 Domain Account, T1069.002 Domain Groups, T1018 Remote System Discovery, T1135 Network
//! Share Discovery; T1049 System Network Connections Discovery (sessions); coercion leads to T1557,
//! secrets are T1003.004, changed rights T1098.
//!
//! ## Sources
//! RFC 4515 (search filters); MS-SAMR, MS-LSAD, MS-SRVS, MS-WKST, MS-RPRN, MS-EFSR, MS-DFSNM,
//! MS-EVEN; MS-ADTS (attributes and controls).

use std::collections::BTreeMap;

use thymus_schema::{
    DceRpcCall, Event, EventBody, FlowRecord, LdapCall, PeerRole, Phase, Service, SnapshotError,
    SnapshotReader, SnapshotWriter, Statement, Technique, Value,
};

use crate::controllers::Controllers;
use crate::cx::DetectCx;
use crate::detector::{Detector, DetectorSpec, Settings};
use crate::habit::Habits;
use crate::interest::Interest;
use crate::memory::Memory;
use crate::party::Party;
use crate::rpc::{Interface, is_operation};
use crate::table::Table;
use crate::tails;
use crate::trail::key_of;
use crate::window::{Distinct, Hourly};

/// The registration.
pub(super) const SPEC: DetectorSpec = DetectorSpec {
    id: "ad_enumeration",
    title: "Directory enumeration and coercion",
    phase: Phase::Reconnaissance,
    techniques: &[
        Technique::new("T1003.004"),
        Technique::new("T1018"),
        Technique::new("T1049"),
        Technique::new("T1069.002"),
        Technique::new("T1087.002"),
        Technique::new("T1098"),
        Technique::new("T1135"),
        Technique::new("T1557"),
    ],
    source: include_str!("ad_enumeration.rs"),
    snapshot_version: 1,
    build: |_: &Settings| Box::new(AdEnumeration::default()),
};

const CLIENTS_MAX: usize = 8_192;
const HABITS_MAX: usize = 32_768;

/// The kind of question that takes credentials.
const SECRETS: &str = "stored secrets of a machine";
/// The kinds of change.
const RIGHTS: &str = "a change of who may act for an account";
/// About the size of a schema, in bytes: what is ordinary to fetch once.
const DIRECTORY_BYTES: f64 = 350_000.0;

#[derive(Debug, Default)]
struct Asked {
    /// Kinds of question with their weights, less what habit takes off.
    kinds: BTreeMap<&'static str, f64>,
    /// Machines asked who is there.
    machines: Distinct,
    coerced: f64,
    /// Bytes taken out of the directory over connections that cannot be read.
    sealed: f64,
    /// Entries it was given where they can be read.
    read: u64,
}

/// The detector's state.
struct AdEnumeration {
    controllers: Controllers,
    clients: Table<u64, Hourly<Asked>>,
    habits: Habits,
}

impl Default for AdEnumeration {
    fn default() -> Self {
        Self {
            controllers: Controllers::default(),
            clients: Table::new(CLIENTS_MAX),
            habits: Habits::new(HABITS_MAX),
        }
    }
}

/// What a search asks for, when it asks broadly or for what weakens a domain.
fn of_search(call: &LdapCall) -> Option<(&'static str, f64)> {
    let names = |attribute: &str| {
        call.attributes
            .iter()
            .any(|name| name.eq_ignore_ascii_case(attribute))
    };
    if &*call.operation == "modify" {
        let rights = names("msDS-AllowedToActOnBehalfOfOtherIdentity")
            || names("msDS-AllowedToDelegateTo")
            || names("msDS-KeyCredentialLink");
        return rights.then_some((RIGHTS, 3.0));
    }
    if &*call.operation != "search" {
        return None;
    }
    let filter: String = call
        .filter
        .to_ascii_lowercase()
        .split_whitespace()
        .collect();
    let asks = |words: &[&str]| words.iter().any(|word| filter.contains(word));
    // A search that also names one object is about that object.
    let one = [
        "samaccountname=",
        "userprincipalname=",
        "distinguishedname=",
        "objectguid=",
        "objectsid=",
        "(cn=",
        "(name=",
        "dnshostname=",
        "mail=",
    ]
    .iter()
    .any(|key| {
        filter
            .match_indices(key)
            .any(|(at, _)| !filter.get(at + key.len()..).unwrap_or("").starts_with('*'))
    });
    if one {
        return None;
    }
    let telling = if asks(&["serviceprincipalname=*"]) {
        Some(("accounts of services", 1.9))
    } else if asks(&["803:=4194304"]) {
        Some(("accounts without pre-authentication", 2.6))
    } else if asks(&[
        "803:=524288",
        "803:=16777216",
        "msds-allowedtodelegateto=*",
        "msds-allowedtoactonbehalfofotheridentity",
    ]) {
        Some(("accounts trusted to act for others", 2.4))
    } else if asks(&[
        "admincount=1",
        "ms-mcs-admpwd",
        "mslaps-password",
        "msds-managedpassword",
    ]) {
        Some(("powerful accounts and stored passwords", 2.2))
    } else if asks(&[
        "objectclass=trusteddomain",
        "trusttype=*",
        "pkienrollmentservice",
        "pkicertificatetemplate",
    ]) {
        Some(("trusts and certificate templates", 1.6))
    } else if call.entries > 1 && names("nTSecurityDescriptor") {
        Some(("permissions of many objects", 2.0))
    } else {
        None
    };
    let all = if asks(&[
        "samaccounttype=805306368",
        "objectclass=user)",
        "objectcategory=person",
        "samaccounttype=805306369",
    ]) {
        Some(("all users", 1.2))
    } else if asks(&["objectcategory=computer", "objectclass=computer"]) {
        Some(("all computers", 1.2))
    } else if asks(&[
        "objectcategory=group",
        "objectclass=group",
        "samaccounttype=268435456",
    ]) {
        Some(("all groups", 1.2))
    } else if asks(&[
        "objectclass=domain",
        "objectclass=organizationalunit",
        "grouppolicycontainer",
    ]) {
        Some(("the domain's structure", 0.5))
    } else {
        None
    };
    telling
        .or(all)
        .or((call.entries > 1000).then_some(("a thousand entries", 1.2)))
}

/// What a call lists.
fn of_call(call: &DceRpcCall) -> Option<(&'static str, f64)> {
    let is = |name, number| is_operation(call, name, &[number]);
    match Interface::of(call)? {
        Interface::Accounts if is("SamrEnumerateUsersInDomain", 13) => {
            Some(("all accounts of a machine", 2.2))
        }
        Interface::Accounts
            if is("SamrEnumerateGroupsInDomain", 11) || is("SamrQueryDisplayInformation", 40) =>
        {
            Some(("all groups of a machine", 2.0))
        }
        Interface::Accounts
            if is("SamrGetMembersInAlias", 33) || is("SamrGetMembersInGroup", 25) =>
        {
            Some(("members of groups", 2.0))
        }
        Interface::Policy if is("LsarEnumerateAccounts", 11) => Some(("accounts with rights", 2.0)),
        Interface::Policy if is("LsarRetrievePrivateData", 43) => Some((SECRETS, 3.2)),
        Interface::Server if is("NetrSessionEnum", 12) => Some(("sessions on a machine", 2.0)),
        // Members ask for certificates over DCOM (MS-WCCE).
        Interface::Certificates if is("CertServerRequest", 0) => {
            Some(("a certificate in the way of old programs", 1.8))
        }
        Interface::Workstation if is("NetrWkstaUserEnum", 2) => Some(("users of a machine", 2.0)),
        _ => None,
    }
}

/// Whether the call asks a machine who or what is there.
fn asks_around(call: &DceRpcCall) -> bool {
    let is = |name, number| is_operation(call, name, &[number]);
    match Interface::of(call) {
        Some(Interface::Server) => is("NetrSessionEnum", 12) || is("NetrShareEnum", 15),
        Some(Interface::Workstation) => is("NetrWkstaUserEnum", 2),
        Some(Interface::Accounts) => is("SamrGetMembersInAlias", 33),
        _ => false,
    }
}

/// Weight of a call that makes the server authenticate to a place of the client's choice.
fn coercion(call: &DceRpcCall, to_controller: bool) -> f64 {
    let numbered = |name, numbers: &[u16]| is_operation(call, name, numbers);
    match Interface::of(call) {
        Some(Interface::EncryptedFiles) => 3.8,
        Some(Interface::Dfs)
            if numbered("NetrDfsAddStdRoot", &[12]) || numbered("NetrDfsRemoveStdRoot", &[13]) =>
        {
            3.6
        }
        Some(Interface::ShadowCopies) => 2.6,
        Some(Interface::EventLog) if numbered("ElfrOpenBEL", &[9]) => 2.6,
        Some(Interface::Printing)
            if numbered("RpcRemoteFindFirstPrinterChangeNotification", &[62, 65]) =>
        {
            if to_controller {
                3.4
            } else {
                0.4
            }
        }
        _ => 0.0,
    }
}

impl Detector for AdEnumeration {
    fn interest(&self) -> Interest {
        Interest::KERBEROS
            .and(Interest::LDAP)
            .and(Interest::DCE_RPC)
            .and(Interest::FLOW)
    }

    fn memories(&mut self) -> Vec<&mut dyn Memory> {
        vec![&mut self.controllers, &mut self.clients, &mut self.habits]
    }

    fn observe(&mut self, event: &Event, cx: &mut DetectCx<'_>) {
        self.controllers.learn(event, cx);
        let (Some(client), Some(server)) = (cx.client(), cx.server()) else {
            return;
        };
        let (kind, asks, coerces) = match &event.body {
            EventBody::Flow(flow) => return self.sealed(event, flow, (client, server), cx),
            EventBody::Ldap(call) => {
                self.read(event, call, client);
                (of_search(call), false, 0.0)
            }
            EventBody::DceRpc(call) => {
                let is_controller = self.controllers.has(server);
                (
                    of_call(call),
                    asks_around(call),
                    coercion(call, is_controller),
                )
            }
            _ => return,
        };
        // Controllers read each other's directories all day.
        if (kind.is_none() && !asks && coerces == 0.0) || self.controllers.has(client) {
            return;
        }
        let what = kind.map_or(
            if coerces > 0.0 {
                "coercion"
            } else {
                "machines"
            },
            |one| one.0,
        );
        let days = self.habits.note(key_of((client.key(), what)), event.ts);
        let asked = self.clients.entry(client.key(), Hourly::default);
        asked.turn(event.ts);
        asked.push(event);
        asked.names.add(what);
        if let Some((name, weight)) = kind {
            asked
                .it
                .kinds
                .insert(name, (weight - Habits::relief(days)).max(0.0));
        }
        if asks {
            asked.days = days;
            asked.it.machines.add(server.key());
        }
        asked.it.coerced = asked.it.coerced.max(coerces - Habits::relief(days));
        let score = asked.score();
        if cx.matters(score) && asked.window.rises(score) {
            asked.raise(score, client, server, cx);
        }
    }

    fn snapshot(&self, out: &mut SnapshotWriter) {
        self.controllers.snapshot(out);
        self.habits.snapshot(out);
    }

    fn restore(&mut self, from: &mut SnapshotReader<'_>) -> Result<(), SnapshotError> {
        self.controllers = Controllers::restore(from)?;
        self.habits = Habits::restore(HABITS_MAX, from)?;
        Ok(())
    }
}

impl AdEnumeration {
    /// Entries were given in the clear: the size of that conversation says nothing more.
    fn read(&mut self, event: &Event, call: &LdapCall, client: Party) {
        if call.entries > 20 {
            let asked = self.clients.entry(client.key(), Hourly::default);
            asked.turn(event.ts);
            asked.it.read += u64::from(call.entries);
        }
    }

    /// A conversation with the directory is over.
    fn sealed(
        &mut self,
        event: &Event,
        flow: &FlowRecord,
        (client, server): (Party, Party),
        cx: &mut DetectCx<'_>,
    ) {
        let port = event.conn.as_ref().map_or(0, |conn| conn.server.port);
        let is_directory = matches!(port, 389 | 636 | 3268 | 3269)
            && matches!(flow.service, None | Some(Service::Ldap | Service::Tls));
        let is_reader = client.is_local()
            && server.is_local()
            && !self.controllers.has(client)
            && self.controllers.has(server);
        if !is_directory || !is_reader || (flow.server_bytes as f64) < DIRECTORY_BYTES / 10.0 {
            return;
        }
        let asked = self.clients.entry(client.key(), Hourly::default);
        asked.turn(event.ts);
        asked.it.sealed += flow.server_bytes as f64;
        if asked.it.sealed < DIRECTORY_BYTES || asked.it.read > 0 {
            return;
        }
        let what = "much of the directory";
        let days = self.habits.note(key_of((client.key(), what)), event.ts);
        let weight = tails::pareto(asked.it.sealed, DIRECTORY_BYTES, 2.0) - Habits::relief(days);
        asked.push(event);
        asked.names.add(what);
        asked.it.kinds.insert(what, weight.max(0.0));
        let score = asked.score();
        if cx.matters(score) && asked.window.rises(score) {
            asked.raise(score, client, server, cx);
        }
    }
}

impl Hourly<Asked> {
    fn score(&self) -> f64 {
        let best = self.it.kinds.values().copied().fold(0.0, f64::max);
        let rest = self.it.kinds.values().sum::<f64>() - best;
        let machines = tails::pareto(self.it.machines.len() as f64, 3.0, 2.5);
        let machines = (machines - Habits::relief(self.days)).max(0.0);
        best + 0.5 * rest + machines + self.it.coerced.max(0.0)
    }

    fn raise(&self, score: f64, client: Party, server: Party, cx: &mut DetectCx<'_>) {
        let target = cx.entities().peer(PeerRole::Target, server);
        let mut facts = vec![
            self.count("count", self.trail.total() as f64),
            self.named("names"),
            self.count("machines", self.it.machines.len() as f64),
            self.span(),
        ];
        let changed = self.it.kinds.contains_key(RIGHTS);
        let template = if self.it.sealed > DIRECTORY_BYTES && self.it.coerced <= 1.0 {
            facts.push(
                self.trail
                    .fact("bytes", Value::Bytes(self.it.sealed as u64)),
            );
            "asked the domain for {names} with {count} requests in {span}, took {bytes} out of the directory unseen, \
             and asked {machines} machines for their users and shares"
        } else if self.it.coerced > 1.0 {
            facts.push(
                self.trail
                    .fact("server", Value::Entity(target.entity.clone())),
            );
            "called functions that make {server} authenticate to another place, and asked for {names} with {count} \
             requests in {span}, on {machines} machines"
        } else {
            "asked the domain for {names} with {count} requests in {span}, and {machines} machines for their users and shares"
        };
        let normal = Statement::new(
            "Devices look up single objects by name; only management systems list them all.",
            Vec::new(),
        );
        let mut finding =
            self.trail
                .finding(client, 0, score, Statement::new(template, facts), normal);
        finding.peers.push(target);
        if self.it.coerced > 1.0 {
            finding.phase = Some(Phase::Credentials);
            finding.techniques = vec![Technique::new("T1557")];
        } else if self.it.kinds.contains_key(SECRETS) {
            finding.phase = Some(Phase::Credentials);
            finding.techniques = vec![Technique::new("T1003.004")];
        } else if changed {
            finding.phase = Some(Phase::Credentials);
            finding.techniques = vec![Technique::new("T1098")];
        }
        cx.raise(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_for_one_object_is_ordinary() {
        let search = |filter: &str| LdapCall {
            operation: "search".into(),
            filter: filter.into(),
            ..LdapCall::default()
        };
        assert_eq!(
            of_search(&search("(&(objectClass=user)(sAMAccountName=ann))")),
            None
        );
        assert!(
            of_search(&search(
                "(&(samAccountType=805306368)(servicePrincipalName=*))"
            ))
            .is_some()
        );
        assert!(of_search(&search("(&(objectClass=user)(sAMAccountName=*))")).is_some());
    }
}
