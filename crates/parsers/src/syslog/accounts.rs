//! What services say about attempts to log in: OpenSSH, sudo, su, login, PAM, Dovecot, Postfix.
//!
//! A service often says one thing in several lines; the one that says most is taken, and the others are
//! left, so that an attempt counts once.

use std::net::IpAddr;

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It worked.
    Accepted,
    /// It was refused.
    Refused,
}

/// An attempt to use an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account<'a> {
    /// The service: `ssh`, `imap`, `pop3`, `smtp`, `sudo`, `su`, `login`, or what PAM calls it.
    pub service: &'a str,
    /// The account; empty when not said.
    pub user: &'a str,
    /// Whose rights were used to ask for it, as `sudo` and `su` say; empty elsewhere.
    pub by: &'a str,
    /// From where, and from which port (0 when not said).
    pub from: Option<(IpAddr, u16)>,
    /// The host's own address, where the line says it.
    pub at: Option<IpAddr>,
    /// How the account was proved; empty when not said.
    pub method: &'a str,
    /// How it ended.
    pub verdict: Verdict,
    /// How many attempts the line stands for; at least 1.
    pub attempts: u32,
}

impl<'a> Account<'a> {
    const fn new(service: &'a str, user: &'a str, verdict: Verdict) -> Self {
        Self {
            service,
            user,
            by: "",
            from: None,
            at: None,
            method: "",
            verdict,
            attempts: 1,
        }
    }
}

/// Reads a line of a service; `None` when it tells no attempt.
pub fn account<'a>(program: &'a str, text: &'a str) -> Option<Account<'a>> {
    // rsyslog's way to say a thing several times.
    if let Some((times, said)) = repeated(text) {
        let mut once = single(program, said)?;
        once.attempts = once.attempts.saturating_mul(times);
        return Some(once);
    }
    single(program, text)
}

fn repeated(text: &str) -> Option<(u32, &str)> {
    let (times, said) = text
        .strip_prefix("message repeated ")?
        .split_once(" times: [")?;
    let times: u32 = times.parse().ok().filter(|times| *times > 0)?;
    Some((
        times.min(10_000),
        said.trim_end().trim_end_matches(']').trim(),
    ))
}

fn single<'a>(program: &'a str, text: &'a str) -> Option<Account<'a>> {
    // Systemd's and newer OpenSSH's programs have names of their own.
    match program {
        "sshd" | "sshd-session" | "sshd-auth" => ssh(text),
        "sudo" => sudo(text),
        "su" => su(text).or_else(|| pam(program, text)),
        "login" => login(text).or_else(|| pam(program, text)),
        "dovecot" | "imap-login" | "pop3-login" => dovecot(program, text),
        _ if program.starts_with("postfix/") => postfix(text),
        // Says again what the service says itself.
        "cron" | "CRON" => None,
        _ => pam(program, text),
    }
}

/// `Accepted password for alice from 10.0.0.5 port 51234 ssh2: …`
fn ssh(text: &str) -> Option<Account<'_>> {
    if let Some(rest) = text.strip_prefix("Accepted ") {
        return ssh_attempt(rest, Verdict::Accepted);
    }
    if let Some(rest) = text.strip_prefix("Failed ") {
        // Every client asks first which ways there are.
        return ssh_attempt(rest, Verdict::Refused).filter(|account| account.method != "none");
    }
    // Of a key that was refused the server says nothing else, unless it is told to.
    let gone = [
        "Connection closed by ",
        "Connection reset by ",
        "Disconnected from ",
    ];
    let rest = gone.iter().find_map(|begin| text.strip_prefix(*begin))?;
    let rest = rest.strip_suffix(" [preauth]")?;
    let rest = rest
        .strip_prefix("authenticating user ")
        .or_else(|| rest.strip_prefix("invalid user "))?;
    let mut words = rest.rsplitn(4, ' ');
    let (port, _word, addr) = (words.next()?, words.next()?, words.next()?);
    Some(Account {
        from: Some((addr.parse().ok()?, port.parse().ok()?)),
        method: "key",
        ..Account::new("ssh", words.next().unwrap_or_default(), Verdict::Refused)
    })
}

fn ssh_attempt(rest: &str, verdict: Verdict) -> Option<Account<'_>> {
    let (method, rest) = rest.split_once(" for ")?;
    let rest = rest.strip_prefix("invalid user ").unwrap_or(rest);
    // An account may hold any words, so what stands behind it is read from the end.
    let (user, rest) = rest.rsplit_once(" from ")?;
    let (addr, rest) = rest.split_once(" port ")?;
    let port = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    let method = match method.split('/').next()? {
        "publickey" | "hostbased" => "key",
        "keyboard-interactive" => "password",
        "gssapi-with-mic" | "gssapi-keyex" => "kerberos",
        method => method,
    };
    Some(Account {
        from: Some((addr.parse().ok()?, port.parse().ok()?)),
        method,
        ..Account::new("ssh", user, verdict)
    })
}

/// `alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls`, with what went wrong before the rest.
fn sudo(text: &str) -> Option<Account<'_>> {
    let (by, rest) = text.split_once(" : ")?;
    let mut parts = rest.split(" ; ");
    let first = parts.next()?;
    let user = rest
        .split(" ; ")
        .find_map(|part| part.strip_prefix("USER="))?;
    let base = Account {
        by: by.trim(),
        method: "password",
        ..Account::new("sudo", user, Verdict::Accepted)
    };
    if first.starts_with("TTY=") || first.starts_with("PWD=") {
        return Some(base);
    }
    let wrong = first.split_once(" incorrect password attempt");
    let attempts = wrong.and_then(|(count, _)| count.parse().ok()).unwrap_or(1);
    Some(Account {
        verdict: Verdict::Refused,
        attempts: attempts.clamp(1, 100),
        ..base
    })
}

/// `(to root) alice on pts/1`, `FAILED SU (to root) alice on pts/1`.
fn su(text: &str) -> Option<Account<'_>> {
    let (verdict, rest) = match text.strip_prefix("FAILED SU ") {
        Some(rest) => (Verdict::Refused, rest),
        None => (Verdict::Accepted, text),
    };
    let (user, rest) = rest.strip_prefix("(to ")?.split_once(") ")?;
    Some(Account {
        by: rest.split(" on ").next()?,
        method: "password",
        ..Account::new("su", user, verdict)
    })
}

/// `LOGIN ON tty1 BY alice`, `ROOT LOGIN ON tty1`, `FAILED LOGIN (1) on '/dev/tty1' FOR 'alice', …`.
fn login(text: &str) -> Option<Account<'_>> {
    let account = |user, verdict| Account {
        method: "password",
        ..Account::new("login", user, verdict)
    };
    if text.starts_with("ROOT LOGIN ") {
        return Some(account("root", Verdict::Accepted));
    }
    if let Some(rest) = text.strip_prefix("LOGIN ON ") {
        let (_, rest) = rest.split_once(" BY ")?;
        return Some(account(rest.split(' ').next()?, Verdict::Accepted));
    }
    let rest = text.strip_prefix("FAILED LOGIN ")?;
    let (_, rest) = rest.split_once(" FOR ")?;
    let user = rest
        .split(',')
        .next()?
        .trim_matches(|c| matches!(c, '\'' | '`' | ' '));
    Some(account(user, Verdict::Refused))
}

/// `pam_unix(vsftpd:auth): authentication failure; logname= … rhost=10.0.0.5  user=alice`.
fn pam<'a>(program: &'a str, text: &'a str) -> Option<Account<'a>> {
    let (module, rest) = text.split_once("): authentication failure;")?;
    let (_, inside) = module.strip_prefix("pam_")?.split_once('(')?;
    let service = inside.split(':').next().filter(|name| !name.is_empty());
    let value = |name: &str| {
        let found = rest
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix(name));
        found.unwrap_or_default()
    };
    Some(Account {
        by: value("ruser="),
        from: value("rhost=").parse().ok().map(|addr| (addr, 0)),
        method: "password",
        ..Account::new(service.unwrap_or(program), value("user="), Verdict::Refused)
    })
}

/// `imap-login: Login: user=<alice>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1, …`.
fn dovecot<'a>(program: &'a str, text: &'a str) -> Option<Account<'a>> {
    let (service, rest) = if program == "dovecot" {
        text.split_once("-login: ")?
    } else {
        (
            program.strip_suffix("-login")?,
            text.strip_prefix("Info: ").unwrap_or(text),
        )
    };
    let (said, fields) = rest.split_once("user=<")?;
    let (user, fields) = fields.split_once('>')?;
    let value = |name: &str| fields.split(", ").find_map(|part| part.strip_prefix(name));
    let verdict = if said.starts_with("Login: ") {
        Verdict::Accepted
    } else if said.contains("auth failed") {
        Verdict::Refused
    } else {
        return None;
    };
    let counted = said
        .split_once("auth failed, ")
        .and_then(|(_, rest)| rest.split(' ').next());
    let attempts = counted
        .and_then(|count| count.parse().ok())
        .unwrap_or(1_u32);
    Some(Account {
        from: value("rip=")
            .and_then(|addr| addr.parse().ok())
            .map(|addr| (addr, 0)),
        at: value("lip=").and_then(|addr| addr.parse().ok()),
        method: "password",
        attempts: attempts.clamp(1, 100),
        ..Account::new(service, user, verdict)
    })
}

/// `warning: unknown[10.0.0.5]: SASL LOGIN authentication failed: …`,
/// `A1B2: client=name[10.0.0.5], sasl_method=PLAIN, sasl_username=alice`.
fn postfix(text: &str) -> Option<Account<'_>> {
    let in_brackets = |text: &str| {
        let addr = text.split_once('[')?.1.split(']').next()?;
        addr.parse().ok().map(|addr| (addr, 0))
    };
    let (verdict, user) = match text.split_once(", sasl_username=") {
        Some((_, user)) => (Verdict::Accepted, user.split([',', ' ']).next()?),
        None if text.contains("]: SASL ") && text.contains(" authentication failed") => {
            let named = text
                .split_once("sasl_username=")
                .map(|(_, user)| user.trim());
            (Verdict::Refused, named.unwrap_or_default())
        }
        None => return None,
    };
    Some(Account {
        from: in_brackets(text),
        method: "password",
        ..Account::new("smtp", user, verdict)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(program: &str, text: &str) -> Option<String> {
        account(program, text).map(|it| {
            let from = it
                .from
                .map_or("-".to_owned(), |(addr, port)| format!("{addr}:{port}"));
            format!(
                "{} {} {} {:?} {} {}",
                it.service, it.user, from, it.verdict, it.method, it.attempts
            )
        })
    }

    #[test]
    fn ssh_says_each_attempt_once() {
        let cases = [
            (
                "Accepted password for alice from 10.0.0.5 port 51234 ssh2",
                "ssh alice 10.0.0.5:51234 Accepted password 1",
            ),
            (
                "Accepted publickey for bob from fd00::5 port 9 ssh2: ED25519 SHA256:x",
                "ssh bob fd00::5:9 Accepted key 1",
            ),
            (
                "Failed password for invalid user a from b from 10.0.0.5 port 9 ssh2",
                "ssh a from b 10.0.0.5:9 Refused password 1",
            ),
            (
                "Failed keyboard-interactive/pam for root from 10.0.0.5 port 9 ssh2",
                "ssh root 10.0.0.5:9 Refused password 1",
            ),
            (
                "message repeated 3 times: [ Failed password for root from 10.0.0.5 port 9 ssh2]",
                "ssh root 10.0.0.5:9 Refused password 3",
            ),
            (
                "Connection closed by authenticating user root 10.0.0.5 port 9 [preauth]",
                "ssh root 10.0.0.5:9 Refused key 1",
            ),
        ];
        for (line, wanted) in cases {
            assert_eq!(told("sshd", line).as_deref(), Some(wanted), "{line}");
        }
        for line in [
            "Invalid user admin from 10.0.0.5 port 9",
            "Failed none for invalid user admin from 10.0.0.5 port 9 ssh2",
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 rhost=10.0.0.5 user=root",
            "Connection closed by 10.0.0.5 port 9 [preauth]",
            "Received disconnect from 10.0.0.5 port 9:11: bye",
        ] {
            assert_eq!(told("sshd", line), None, "{line}");
        }
    }

    #[test]
    fn local_programs_say_who_asked_for_whom() {
        let sudo = account(
            "sudo",
            "  alice : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls",
        )
        .unwrap();
        assert_eq!(
            (sudo.by, sudo.user, sudo.verdict),
            ("alice", "root", Verdict::Accepted)
        );
        let wrong = "alice : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls";
        assert_eq!(
            told("sudo", wrong).unwrap(),
            "sudo root - Refused password 3"
        );
        let denied = "eve : user NOT in sudoers ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/ls";
        assert_eq!(
            told("sudo", denied).unwrap(),
            "sudo root - Refused password 1"
        );
        assert_eq!(
            told("su", "FAILED SU (to root) alice on pts/1").unwrap(),
            "su root - Refused password 1"
        );
        let login = "FAILED LOGIN (1) on '/dev/tty1' FOR 'alice', Authentication failure";
        assert_eq!(
            told("login", login).unwrap(),
            "login alice - Refused password 1"
        );
        assert_eq!(
            told("login", "ROOT LOGIN  ON tty1").unwrap(),
            "login root - Accepted password 1"
        );
    }

    #[test]
    fn services_that_ask_pam_and_mail_servers_are_understood() {
        let pam = "pam_unix(vsftpd:auth): authentication failure; logname= uid=0 euid=0 tty=ftp ruser=x rhost=10.0.0.5  user=alice";
        assert_eq!(
            told("vsftpd", pam).unwrap(),
            "vsftpd alice 10.0.0.5:0 Refused password 1"
        );
        let good =
            "imap-login: Login: user=<alice>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1, mpid=1";
        let read = account("dovecot", good).unwrap();
        assert_eq!(
            (read.service, read.at),
            ("imap", Some("10.0.0.1".parse().unwrap()))
        );
        let bad = "pop3-login: Aborted login (auth failed, 2 attempts in 4 secs): user=<bob>, method=PLAIN, rip=10.0.0.5, lip=10.0.0.1";
        assert_eq!(
            told("dovecot", bad).unwrap(),
            "pop3 bob 10.0.0.5:0 Refused password 2"
        );
        let mail = "warning: unknown[10.0.0.5]: SASL LOGIN authentication failed: UGFzc3dvcmQ6";
        assert_eq!(
            told("postfix/smtpd", mail).unwrap(),
            "smtp  10.0.0.5:0 Refused password 1"
        );
        let sent = "A1B2: client=pc[10.0.0.5], sasl_method=PLAIN, sasl_username=alice";
        assert_eq!(
            told("postfix/submission/smtpd", sent).unwrap(),
            "smtp alice 10.0.0.5:0 Accepted password 1"
        );
    }
}
