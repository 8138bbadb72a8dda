//! MITRE ATT&CK techniques that the wire can show (ATT&CK v17, enterprise and ICS).
//
// tidy: table

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! techniques {
    ($($id:literal $name:literal,)*) => {
        const TABLE: &[(&str, &str)] = &[$(($id, $name),)*];
    };
}

techniques! {
    "T0836" "Modify Parameter",
    "T0843" "Program Download",
    "T0846" "Remote System Discovery",
    "T0855" "Unauthorized Command Message",
    "T0858" "Change Operating Mode",
    "T0888" "Remote System Information Discovery",
    "T1003.003" "OS Credential Dumping: NTDS",
    "T1003.004" "OS Credential Dumping: LSA Secrets",
    "T1003.006" "OS Credential Dumping: DCSync",
    "T1007" "System Service Discovery",
    "T1008" "Fallback Channels",
    "T1016" "System Network Configuration Discovery",
    "T1018" "Remote System Discovery",
    "T1021" "Remote Services",
    "T1021.001" "Remote Services: Remote Desktop Protocol",
    "T1021.002" "Remote Services: SMB/Windows Admin Shares",
    "T1021.003" "Remote Services: Distributed Component Object Model",
    "T1021.004" "Remote Services: SSH",
    "T1021.006" "Remote Services: Windows Remote Management",
    "T1027" "Obfuscated Files or Information",
    "T1030" "Data Transfer Size Limits",
    "T1036" "Masquerading",
    "T1041" "Exfiltration Over C2 Channel",
    "T1046" "Network Service Discovery",
    "T1047" "Windows Management Instrumentation",
    "T1048" "Exfiltration Over Alternative Protocol",
    "T1049" "System Network Connections Discovery",
    "T1053.005" "Scheduled Task/Job: Scheduled Task",
    "T1069.002" "Permission Groups Discovery: Domain Groups",
    "T1070.001" "Indicator Removal: Clear Windows Event Logs",
    "T1071.001" "Application Layer Protocol: Web Protocols",
    "T1071.003" "Application Layer Protocol: Mail Protocols",
    "T1071.004" "Application Layer Protocol: DNS",
    "T1078" "Valid Accounts",
    "T1087.002" "Account Discovery: Domain Account",
    "T1090" "Proxy",
    "T1090.003" "Proxy: Multi-hop Proxy",
    "T1095" "Non-Application Layer Protocol",
    "T1098" "Account Manipulation",
    "T1102" "Web Service",
    "T1105" "Ingress Tool Transfer",
    "T1110" "Brute Force",
    "T1110.001" "Brute Force: Password Guessing",
    "T1110.003" "Brute Force: Password Spraying",
    "T1132" "Data Encoding",
    "T1135" "Network Share Discovery",
    "T1190" "Exploit Public-Facing Application",
    "T1204" "User Execution",
    "T1210" "Exploitation of Remote Services",
    "T1485" "Data Destruction",
    "T1486" "Data Encrypted for Impact",
    "T1489" "Service Stop",
    "T1496" "Resource Hijacking",
    "T1498.001" "Network Denial of Service: Direct Network Flood",
    "T1498.002" "Network Denial of Service: Reflection Amplification",
    "T1499" "Endpoint Denial of Service",
    "T1543.003" "Create or Modify System Process: Windows Service",
    "T1546.003" "Event Triggered Execution: Windows Management Instrumentation Event Subscription",
    "T1550.002" "Use Alternate Authentication Material: Pass the Hash",
    "T1550.003" "Use Alternate Authentication Material: Pass the Ticket",
    "T1552.004" "Unsecured Credentials: Private Keys",
    "T1557" "Adversary-in-the-Middle",
    "T1557.001" "Adversary-in-the-Middle: LLMNR/NBT-NS Poisoning and SMB Relay",
    "T1557.002" "Adversary-in-the-Middle: ARP Cache Poisoning",
    "T1557.003" "Adversary-in-the-Middle: DHCP Spoofing",
    "T1558" "Steal or Forge Kerberos Tickets",
    "T1558.003" "Steal or Forge Kerberos Tickets: Kerberoasting",
    "T1558.004" "Steal or Forge Kerberos Tickets: AS-REP Roasting",
    "T1566" "Phishing",
    "T1567" "Exfiltration Over Web Service",
    "T1568.002" "Dynamic Resolution: Domain Generation Algorithms",
    "T1569.002" "System Services: Service Execution",
    "T1570" "Lateral Tool Transfer",
    "T1571" "Non-Standard Port",
    "T1572" "Protocol Tunneling",
    "T1573" "Encrypted Channel",
    "T1583.001" "Acquire Infrastructure: Domains",
    "T1595" "Active Scanning",
}

/// One technique, by its ATT&CK id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Technique(usize);

impl Technique {
    /// The technique with this id; `None` when it is not in the table.
    pub const fn from_id(id: &str) -> Option<Self> {
        let mut i = 0;
        while i < TABLE.len() {
            if same(TABLE[i].0.as_bytes(), id.as_bytes()) {
                return Some(Self(i));
            }
            i += 1;
        }
        None
    }

    /// The technique with this id, for constants: a wrong id does not compile in a `const`.
    ///
    /// # Panics
    /// When the id is not in the table.
    #[allow(clippy::panic, reason = "evaluated at compile time in constants")]
    pub const fn new(id: &str) -> Self {
        match Self::from_id(id) {
            Some(technique) => technique,
            None => panic!("technique is not in the table"),
        }
    }

    /// The id, e.g. `T1071.001`.
    pub fn id(self) -> &'static str {
        TABLE.get(self.0).map_or("", |row| row.0)
    }

    /// The name ATT&CK gives it.
    pub fn name(self) -> &'static str {
        TABLE.get(self.0).map_or("", |row| row.1)
    }

    /// All of them, sorted by id.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TABLE.len()).map(Self)
    }
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let mut i = 0;
    while i < a.len() {
        if a[i] != b[i] {
            return false;
        }
        i += 1;
    }
    true
}

impl fmt::Display for Technique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Technique {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Technique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let id = String::deserialize(deserializer)?;
        Self::from_id(&id)
            .ok_or_else(|| serde::de::Error::custom(format!("unknown technique {id}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_unique() {
        const BEACON: Technique = Technique::new("T1071.001");
        assert!(TABLE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert_eq!(BEACON.to_string(), "T1071.001");
        assert_eq!(Technique::from_id("T9999"), None);
    }
}
