//! Words that other tools use, as the numbers of the specifications and the words of our events.
//
// tidy: table

use compact_str::CompactString;

/// A DNS name or data as events have it: lower case, no final dot, odd bytes as `\ddd`.
pub(crate) fn name_text(name: &str) -> CompactString {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name
        .bytes()
        .all(|byte| byte.is_ascii_graphic() || byte == b' ')
    {
        let mut out = CompactString::new(name);
        out.make_ascii_lowercase();
        return out;
    }
    let mut out = CompactString::with_capacity(name.len() + 8);
    for c in name.chars() {
        if c.is_ascii_graphic() || c == ' ' {
            out.push(c.to_ascii_lowercase());
        } else {
            let mut bytes = [0u8; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push('\\');
                for scale in [100, 10, 1] {
                    out.push(char::from(b'0' + byte / scale % 10));
                }
            }
        }
    }
    out
}

/// The last segment of a path, without its query.
pub(crate) fn last_segment(uri: &str) -> &str {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    path.rsplit('/').next().unwrap_or_default()
}

/// Number of a DNS record type (IANA); 0 when unknown. `NB` and `NBSTAT` are RFC 1002's.
pub(crate) fn dns_type(name: &str) -> u16 {
    match name {
        "A" => 1,
        "NS" => 2,
        "CNAME" => 5,
        "SOA" => 6,
        "NULL" => 10,
        "PTR" => 12,
        "HINFO" => 13,
        "MX" => 15,
        "TXT" => 16,
        "RP" => 17,
        "SIG" => 24,
        "KEY" => 25,
        "AAAA" => 28,
        "LOC" => 29,
        "NB" => 32,
        "SRV" | "NBSTAT" => 33,
        "NAPTR" => 35,
        "OPT" => 41,
        "DS" => 43,
        "SSHFP" => 44,
        "RRSIG" => 46,
        "NSEC" => 47,
        "DNSKEY" => 48,
        "TLSA" => 52,
        "SVCB" => 64,
        "HTTPS" => 65,
        "SPF" => 99,
        "TKEY" => 249,
        "TSIG" => 250,
        "IXFR" => 251,
        "AXFR" => 252,
        "ANY" | "*" => 255,
        "URI" => 256,
        "CAA" => 257,
        _ => name
            .strip_prefix("TYPE")
            .and_then(|n| n.parse().ok())
            .unwrap_or(0),
    }
}

/// Number of a DNS response code (IANA).
pub(crate) fn dns_rcode(name: &str) -> Option<u8> {
    Some(match name {
        "NOERROR" => 0,
        "FORMERR" => 1,
        "SERVFAIL" => 2,
        "NXDOMAIN" => 3,
        "NOTIMP" => 4,
        "REFUSED" => 5,
        "YXDOMAIN" => 6,
        "YXRRSET" => 7,
        "NXRRSET" => 8,
        "NOTAUTH" => 9,
        "NOTZONE" => 10,
        _ => return name.parse().ok(),
    })
}

/// The word for a type by content, from the MIME type that content analysis gave; empty when there
/// is no word for it.
pub(crate) fn magic_of_mime(mime: &str) -> &'static str {
    let mime = mime.split(';').next().unwrap_or_default().trim();
    match mime {
        "application/x-dosexec"
        | "application/vnd.microsoft.portable-executable"
        | "application/x-msdownload" => "pe",
        "application/x-executable" | "application/x-elf" | "application/x-sharedlib" => "elf",
        "application/x-mach-o-executable" | "application/x-mach-o" => "macho",
        "application/zip" | "application/java-archive" | "application/x-java-archive" => "zip",
        "application/gzip" | "application/x-gzip" => "gzip",
        "application/x-rar" | "application/vnd.rar" => "rar",
        "application/x-7z-compressed" => "7z",
        "application/vnd.ms-cab-compressed" => "cab",
        "application/pdf" => "pdf",
        "application/msword" | "application/vnd.ms-excel" | "application/x-ole-storage" => "ole",
        "text/html" => "html",
        "text/x-shellscript"
        | "text/x-python"
        | "text/x-perl"
        | "text/x-php"
        | "text/x-ruby"
        | "application/javascript"
        | "text/javascript"
        | "application/x-powershell" => "script",
        "application/x-shockwave-flash" => "flash",
        _ if mime.starts_with("application/vnd.openxmlformats-officedocument.") => "zip",
        _ if mime.starts_with("image/") => "image",
        _ => "",
    }
}

/// A TLS version's number, from any tool's name for it; 0 when unknown.
pub(crate) fn tls_version(name: &str) -> u16 {
    match name.to_ascii_uppercase().as_str() {
        "SSLV2" | "SSL 2.0" => 0x0002,
        "SSLV3" | "SSL 3.0" => 0x0300,
        "TLSV10" | "TLS 1.0" | "TLSV1" => 0x0301,
        "TLSV11" | "TLS 1.1" => 0x0302,
        "TLSV12" | "TLS 1.2" => 0x0303,
        "TLSV13" | "TLS 1.3" | "TLSV13-DRAFT28" | "TLSV13-DRAFT23" => 0x0304,
        "DTLSV10" => 0xfeff,
        "DTLSV12" => 0xfefd,
        _ => 0,
    }
}

/// Number of a TLS cipher suite (IANA), of those that servers choose; 0 for others.
pub(crate) fn cipher_number(name: &str) -> u16 {
    match name {
        "TLS_RSA_WITH_RC4_128_MD5" => 0x0004,
        "TLS_RSA_WITH_RC4_128_SHA" => 0x0005,
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA" => 0x000a,
        "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA" => 0x0016,
        "TLS_RSA_WITH_AES_128_CBC_SHA" => 0x002f,
        "TLS_DHE_RSA_WITH_AES_128_CBC_SHA" => 0x0033,
        "TLS_RSA_WITH_AES_256_CBC_SHA" => 0x0035,
        "TLS_DHE_RSA_WITH_AES_256_CBC_SHA" => 0x0039,
        "TLS_RSA_WITH_AES_128_CBC_SHA256" => 0x003c,
        "TLS_RSA_WITH_AES_256_CBC_SHA256" => 0x003d,
        "TLS_DHE_RSA_WITH_AES_128_CBC_SHA256" => 0x0067,
        "TLS_DHE_RSA_WITH_AES_256_CBC_SHA256" => 0x006b,
        "TLS_RSA_WITH_AES_128_GCM_SHA256" => 0x009c,
        "TLS_RSA_WITH_AES_256_GCM_SHA384" => 0x009d,
        "TLS_DHE_RSA_WITH_AES_128_GCM_SHA256" => 0x009e,
        "TLS_DHE_RSA_WITH_AES_256_GCM_SHA384" => 0x009f,
        "TLS_AES_128_GCM_SHA256" => 0x1301,
        "TLS_AES_256_GCM_SHA384" => 0x1302,
        "TLS_CHACHA20_POLY1305_SHA256" => 0x1303,
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA" => 0xc007,
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA" => 0xc009,
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA" => 0xc00a,
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA" => 0xc011,
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA" => 0xc012,
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA" => 0xc013,
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA" => 0xc014,
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256" => 0xc023,
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA384" => 0xc024,
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256" => 0xc027,
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA384" => 0xc028,
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" => 0xc02b,
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" => 0xc02c,
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256" => 0xc02f,
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384" => 0xc030,
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256" => 0xcca8,
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256" => 0xcca9,
        _ => 0,
    }
}

/// Number of a Kerberos encryption type (RFC 3961 and after); 0 when unknown.
pub(crate) fn encryption_type(name: &str) -> i32 {
    match name {
        "des-cbc-crc" => 1,
        "des-cbc-md4" => 2,
        "des-cbc-md5" => 3,
        "des3-cbc-sha1" | "des3-cbc-sha1-kd" => 16,
        "aes128-cts-hmac-sha1-96" => 17,
        "aes256-cts-hmac-sha1-96" => 18,
        "aes128-cts-hmac-sha256-128" => 19,
        "aes256-cts-hmac-sha384-192" => 20,
        "rc4-hmac" | "arcfour-hmac-md5" | "arcfour-hmac" => 23,
        "rc4-hmac-exp" | "arcfour-hmac-md5-exp" => 24,
        _ => 0,
    }
}

/// Number of a Kerberos error (RFC 4120, 7.5.9); 60 (generic) when unknown.
pub(crate) fn kerberos_error(name: &str) -> u32 {
    match name {
        "KDC_ERR_NONE" => 0,
        "KDC_ERR_NAME_EXP" => 1,
        "KDC_ERR_SERVICE_EXP" => 2,
        "KDC_ERR_C_PRINCIPAL_UNKNOWN" => 6,
        "KDC_ERR_S_PRINCIPAL_UNKNOWN" => 7,
        "KDC_ERR_NULL_KEY" => 9,
        "KDC_ERR_POLICY" => 12,
        "KDC_ERR_BADOPTION" => 13,
        "KDC_ERR_ETYPE_NOSUPP" => 14,
        "KDC_ERR_PADATA_TYPE_NOSUPP" => 16,
        "KDC_ERR_CLIENT_REVOKED" => 18,
        "KDC_ERR_SERVICE_REVOKED" => 19,
        "KDC_ERR_TGT_REVOKED" => 20,
        "KDC_ERR_KEY_EXPIRED" => 23,
        "KDC_ERR_PREAUTH_FAILED" => 24,
        "KDC_ERR_PREAUTH_REQUIRED" => 25,
        "KRB_AP_ERR_BAD_INTEGRITY" => 31,
        "KRB_AP_ERR_TKT_EXPIRED" => 32,
        "KRB_AP_ERR_TKT_NYV" => 33,
        "KRB_AP_ERR_REPEAT" => 34,
        "KRB_AP_ERR_SKEW" => 37,
        "KRB_AP_ERR_MODIFIED" => 41,
        "KRB_ERR_RESPONSE_TOO_BIG" => 52,
        "KDC_ERR_WRONG_REALM" => 68,
        _ => name.parse().unwrap_or(60),
    }
}

/// An NT status (MS-ERREF) by name, with or without its prefix; unknown ones count as failures.
pub(crate) fn nt_status(name: &str) -> u32 {
    match name.strip_prefix("STATUS_").unwrap_or(name) {
        "" | "SUCCESS" => 0,
        "PENDING" => 0x0000_0103,
        "BUFFER_OVERFLOW" => 0x8000_0005,
        "NO_MORE_FILES" => 0x8000_0006,
        "INVALID_PARAMETER" => 0xc000_000d,
        "NO_SUCH_FILE" => 0xc000_000f,
        "END_OF_FILE" => 0xc000_0011,
        "MORE_PROCESSING_REQUIRED" => 0xc000_0016,
        "ACCESS_DENIED" => 0xc000_0022,
        "OBJECT_NAME_NOT_FOUND" => 0xc000_0034,
        "OBJECT_NAME_COLLISION" => 0xc000_0035,
        "OBJECT_PATH_NOT_FOUND" => 0xc000_003a,
        "SHARING_VIOLATION" => 0xc000_0043,
        "NO_SUCH_USER" => 0xc000_0064,
        "WRONG_PASSWORD" => 0xc000_006a,
        "LOGON_FAILURE" => 0xc000_006d,
        "ACCOUNT_RESTRICTION" => 0xc000_006e,
        "PASSWORD_EXPIRED" => 0xc000_0071,
        "ACCOUNT_DISABLED" => 0xc000_0072,
        "NOT_SUPPORTED" => 0xc000_00bb,
        "BAD_NETWORK_NAME" => 0xc000_00cc,
        "FS_DRIVER_REQUIRED" => 0xc000_019c,
        "ACCOUNT_LOCKED_OUT" => 0xc000_0234,
        "NOT_FOUND" => 0xc000_0225,
        _ => 0xc000_0001,
    }
}

/// An SMB dialect's number from what tools call it; 0 when unknown.
pub(crate) fn smb_dialect(name: &str) -> u16 {
    match name {
        "SMB1" | "NT LM 0.12" => 0x0100,
        "SMB2" | "2.02" => 0x0202,
        "2.10" | "2.1" => 0x0210,
        "SMB3" | "3.00" | "3.0" => 0x0300,
        "3.02" => 0x0302,
        "3.11" | "3.1.1" => 0x0311,
        _ => 0,
    }
}

/// An LDAP result code (RFC 4511, 4.1.9) by name in any spelling; 80 (other) when unknown.
pub(crate) fn ldap_result(name: &str) -> u32 {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    match plain.to_ascii_lowercase().as_str() {
        "success" => 0,
        "operationserror" => 1,
        "protocolerror" => 2,
        "timelimitexceeded" => 3,
        "sizelimitexceeded" => 4,
        "authmethodnotsupported" => 7,
        "strongerauthrequired" | "strongauthrequired" => 8,
        "referral" => 10,
        "saslbindinprogress" => 14,
        "nosuchattribute" => 16,
        "nosuchobject" => 32,
        "inappropriateauthentication" => 48,
        "invalidcredentials" => 49,
        "insufficientaccessrights" => 50,
        "busy" => 51,
        "unavailable" => 52,
        "unwillingtoperform" => 53,
        "entryalreadyexists" => 68,
        _ => 80,
    }
}

/// The software part of an SSH version string (RFC 4253, 4.2).
pub(crate) fn ssh_software(version: &str) -> &str {
    let mut parts = version.splitn(3, '-');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("SSH"), Some(_), Some(software)) => software,
        _ => version,
    }
}

/// A Modbus function's number and whether it writes, by Zeek's name (Modbus application protocol
/// 1.1b3, 5.1).
pub(crate) fn modbus_function(name: &str) -> (u16, bool) {
    let name = name.to_ascii_uppercase();
    match name.as_str() {
        "READ_COILS" => (1, false),
        "READ_DISCRETE_INPUTS" => (2, false),
        "READ_HOLDING_REGISTERS" => (3, false),
        "READ_INPUT_REGISTERS" => (4, false),
        "WRITE_SINGLE_COIL" => (5, true),
        "WRITE_SINGLE_REGISTER" => (6, true),
        "READ_EXCEPTION_STATUS" => (7, false),
        "DIAGNOSTICS" => (8, true),
        "GET_COMM_EVENT_COUNTER" => (11, false),
        "GET_COMM_EVENT_LOG" => (12, false),
        "PROGRAM_584_984" => (13, true),
        "WRITE_MULTIPLE_COILS" => (15, true),
        "WRITE_MULTIPLE_REGISTERS" => (16, true),
        "REPORT_SLAVE_ID" | "REPORT_SERVER_ID" => (17, false),
        "READ_FILE_RECORD" => (20, false),
        "WRITE_FILE_RECORD" => (21, true),
        "MASK_WRITE_REGISTER" => (22, true),
        "READ_WRITE_MULTIPLE_REGISTERS" => (23, true),
        "READ_FIFO_QUEUE" => (24, false),
        "ENCAP_INTERFACE_TRANSPORT" | "ENCAPSULATED_INTERFACE_TRANSPORT" => (43, false),
        "PROGRAM_CONCEPT" => (40, true),
        "PROGRAM_UNITY" => (90, true),
        other => {
            let number = other.rsplit('-').next().and_then(|n| n.parse::<u16>().ok());
            // Answers have the high bit set.
            (number.map_or(0, |n| n & 0x7f), false)
        }
    }
}

/// A Modbus exception's number by name; 1 when unknown.
pub(crate) fn modbus_exception(name: &str) -> u8 {
    match name.to_ascii_uppercase().as_str() {
        "ILLEGAL_DATA_ADDRESS" => 2,
        "ILLEGAL_DATA_VALUE" => 3,
        "SLAVE_DEVICE_FAILURE" | "SERVER_DEVICE_FAILURE" => 4,
        "ACKNOWLEDGE" => 5,
        "SLAVE_DEVICE_BUSY" | "SERVER_DEVICE_BUSY" => 6,
        "NEGATIVE_ACKNOWLEDGE" => 7,
        "MEMORY_PARITY_ERROR" => 8,
        "GATEWAY_PATH_UNAVAILABLE" => 10,
        "GATEWAY_TARGET_DEVICE_FAILED_TO_RESPOND" => 11,
        _ => 1,
    }
}

/// A DNP3 function's number and whether it changes something, by name (IEEE 1815, 4.2.2).
pub(crate) fn dnp3_function(name: &str) -> (u16, bool) {
    match name.to_ascii_uppercase().as_str() {
        "CONFIRM" => (0, false),
        "READ" => (1, false),
        "WRITE" => (2, true),
        "SELECT" => (3, true),
        "OPERATE" => (4, true),
        "DIRECT_OPERATE" => (5, true),
        "DIRECT_OPERATE_NR" => (6, true),
        "IMMED_FREEZE" => (7, false),
        "IMMED_FREEZE_NR" => (8, false),
        "FREEZE_CLEAR" => (9, true),
        "FREEZE_CLEAR_NR" => (10, true),
        "FREEZE_AT_TIME" => (11, false),
        "FREEZE_AT_TIME_NR" => (12, false),
        "COLD_RESTART" => (13, true),
        "WARM_RESTART" => (14, true),
        "INITIALIZE_DATA" => (15, true),
        "INITIALIZE_APPL" => (16, true),
        "START_APPL" => (17, true),
        "STOP_APPL" => (18, true),
        "SAVE_CONFIG" => (19, true),
        "ENABLE_UNSOLICITED" => (20, true),
        "DISABLE_UNSOLICITED" => (21, true),
        "ASSIGN_CLASS" => (22, true),
        "DELAY_MEASURE" => (23, false),
        "RECORD_CURRENT_TIME" => (24, false),
        "OPEN_FILE" => (25, false),
        "CLOSE_FILE" => (26, false),
        "DELETE_FILE" => (27, true),
        "GET_FILE_INFO" => (28, false),
        "AUTHENTICATE_FILE" => (29, false),
        "ABORT_FILE" => (30, false),
        "ACTIVATE_CONFIG" => (31, true),
        "AUTHENTICATE_REQ" => (32, false),
        "AUTHENTICATE_ERR" => (33, false),
        _ => (u16::from(u8::MAX), false),
    }
}
