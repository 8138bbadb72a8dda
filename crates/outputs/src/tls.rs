//! Who is believed to be who they say, and who we say we are.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::target::{Target, TargetError};

/// The roots of the option `ca`, or those of the system.
pub(crate) fn roots(target: &mut Target) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    let roots = match target.file("ca")? {
        Some(pem) => certificates(target, &pem, "ca")?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    if roots.is_empty() {
        let why =
            "this system has no root certificates (Debian: ca-certificates); name one with ca=FILE";
        return Err(target.wrong(why));
    }
    Ok(roots)
}

/// How a connection is made: by the roots, and with the certificate of `cert` and `key`, where they are given.
pub(crate) fn client(target: &mut Target) -> Result<Arc<ClientConfig>, TargetError> {
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(roots(target)?);
    if added == 0 {
        return Err(target.wrong("none of the root certificates can be used"));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| target.wrong(error.to_string()))?
        .with_root_certificates(store);
    let config = match (target.file("cert")?, target.secret("key")?) {
        (Some(chain), Some(key)) => {
            let chain = certificates(target, &chain, "cert")?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes());
            let key = key.map_err(|error| target.wrong(format!("the file of key: {error}")))?;
            let config = builder.with_client_auth_cert(chain, key);
            config.map_err(|error| target.wrong(error.to_string()))?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => return Err(target.wrong("cert and key go together")),
    };
    Ok(Arc::new(config))
}

fn certificates(
    target: &Target,
    pem: &[u8],
    key: &str,
) -> Result<Vec<CertificateDer<'static>>, TargetError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let all = all.map_err(|error| target.wrong(format!("the file of {key}: {error}")))?;
    if all.is_empty() {
        return Err(target.wrong(format!("the file of {key} holds no certificate")));
    }
    Ok(all)
}
