//! Log-ins inside other protocols: NTLM and Kerberos, bare or in SPNEGO, told as events once the
//! carrier knows how they ended.

use thymus_parsers::{kerberos, ntlm, spnego};
use thymus_schema::{
    EventBody, KerberosExchange, KerberosRequest, Login, NtlmAuth, Outcome, Service,
};

use crate::analyzer::AnalyzerCx;

/// The account and software behind an attempt.
pub(crate) struct Attempt<'a> {
    pub(crate) user: &'a str,
    pub(crate) domain: &'a str,
    pub(crate) method: &'a str,
    pub(crate) client: &'a str,
    pub(crate) outcome: Outcome,
}

/// Emits one attempt to log in.
pub(crate) fn emit_login(service: Service, attempt: &Attempt<'_>, cx: &mut AnalyzerCx<'_>) {
    cx.emit(EventBody::Login(Box::new(Login {
        service: Some(service),
        user: attempt.user.into(),
        domain: attempt.domain.into(),
        outcome: attempt.outcome,
        method: attempt.method.into(),
        client: attempt.client.into(),
        attempts: 1,
    })));
}

/// Emits one attempt to log in with a password, of which nothing but the user is known.
pub(crate) fn emit_password(
    service: Service,
    user: &str,
    outcome: Outcome,
    cx: &mut AnalyzerCx<'_>,
) {
    let attempt = Attempt {
        user,
        domain: "",
        method: "password",
        client: "",
        outcome,
    };
    emit_login(service, &attempt, cx);
}

/// One security exchange: the messages of both sides until the carrier knows the outcome.
#[derive(Debug, Default)]
pub(crate) struct Security {
    server_name: Box<str>,
    pending: Option<Pending>,
}

#[derive(Debug)]
enum Pending {
    Ntlm(ntlm::NtlmAnswer),
    Kerberos(kerberos::Ticket),
}

impl Security {
    /// Reads a blob of either side, wrapped or bare.
    pub(crate) fn read(&mut self, blob: &[u8]) {
        match spnego::unwrap(blob) {
            spnego::Token::Ntlm(message) => match ntlm::parse(message) {
                Some(ntlm::NtlmMessage::Challenge { server, target, .. }) => {
                    self.server_name = if server.is_empty() { target } else { server };
                }
                Some(ntlm::NtlmMessage::Authenticate(answer)) => {
                    self.pending = Some(Pending::Ntlm(answer));
                }
                _ => {}
            },
            spnego::Token::KerberosRequest(message) => {
                if let Some(kerberos::Message::Ap(ticket)) = kerberos::parse(message) {
                    self.pending = Some(Pending::Kerberos(ticket));
                }
            }
            _ => {}
        }
    }

    /// Whether an attempt waits for its outcome.
    pub(crate) const fn is_pending(&self) -> bool {
        self.pending.is_some()
    }

    /// Notes an old-style answer that came without a blob.
    pub(crate) fn plain(&mut self, user: Box<str>, domain: Box<str>, anonymous: bool) {
        self.pending = Some(Pending::Ntlm(ntlm::NtlmAnswer {
            user,
            domain,
            workstation: Box::default(),
            version1: true,
            anonymous,
        }));
    }

    /// Tells the attempt that waits, if one does; returns its user (empty for Kerberos).
    pub(crate) fn finish(
        &mut self,
        carrier: Service,
        outcome: Outcome,
        cx: &mut AnalyzerCx<'_>,
    ) -> Option<Box<str>> {
        match self.pending.take()? {
            Pending::Ntlm(answer) => Some(self.finish_ntlm(answer, carrier, outcome, cx)),
            Pending::Kerberos(ticket) => {
                let attempt = Attempt {
                    user: "",
                    domain: &ticket.realm,
                    method: "kerberos",
                    client: "",
                    outcome,
                };
                emit_login(carrier, &attempt, cx);
                cx.emit(EventBody::Kerberos(Box::new(KerberosExchange {
                    request: KerberosRequest::Ap,
                    realm: ticket.realm,
                    service: ticket.service,
                    outcome,
                    ticket_etype: ticket.etype,
                    ..KerberosExchange::default()
                })));
                Some(Box::default())
            }
        }
    }

    fn finish_ntlm(
        &mut self,
        answer: ntlm::NtlmAnswer,
        carrier: Service,
        outcome: Outcome,
        cx: &mut AnalyzerCx<'_>,
    ) -> Box<str> {
        // A null session claims no account: nobody tries to log in.
        if !answer.anonymous {
            let attempt = Attempt {
                user: &answer.user,
                domain: &answer.domain,
                method: "ntlm",
                client: &answer.workstation,
                outcome,
            };
            emit_login(carrier, &attempt, cx);
        }
        let user = answer.user.clone();
        cx.emit(EventBody::Ntlm(Box::new(NtlmAuth {
            user: answer.user,
            domain: answer.domain,
            workstation: answer.workstation,
            server_name: std::mem::take(&mut self.server_name),
            outcome,
            carrier: Some(carrier),
            version1: answer.version1,
        })));
        user
    }
}
