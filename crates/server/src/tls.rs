//! The certificate: one of the user's, or one made here at the first start and kept.

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::error::ServerError;
use crate::listen::TlsFiles;

/// The files of a certificate that is made here, if need be, below `dir`.
pub(crate) fn own(dir: &Path, names: Vec<String>) -> Result<TlsFiles, ServerError> {
    let files = TlsFiles {
        certificate: dir.join("certificate.pem"),
        key: dir.join("key.pem"),
    };
    if files.certificate.exists() && files.key.exists() {
        return Ok(files);
    }
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |why: String| ServerError::Tls { path, why }
    };
    let made = rcgen::generate_simple_self_signed(names)
        .map_err(|error| failed(&files.certificate)(error.to_string()))?;
    fs::create_dir_all(dir).map_err(|error| failed(dir)(error.to_string()))?;
    for (path, pem) in [
        (&files.key, made.signing_key.serialize_pem()),
        (&files.certificate, made.cert.pem()),
    ] {
        fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(pem.as_bytes()))
            .map_err(|error| failed(path)(error.to_string()))?;
    }
    Ok(files)
}

/// Reads key and certificate.
pub(crate) fn config(files: &TlsFiles) -> Result<Arc<ServerConfig>, ServerError> {
    let failed = |path: &PathBuf| {
        let path = path.clone();
        move |why: String| ServerError::Tls { path, why }
    };
    let open = |path: &PathBuf| {
        fs::File::open(path)
            .map(BufReader::new)
            .map_err(|error| failed(path)(error.to_string()))
    };
    let chain = CertificateDer::pem_reader_iter(open(&files.certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| failed(&files.certificate)(error.to_string()))?;
    if chain.is_empty() {
        return Err(failed(&files.certificate)(
            "there is no certificate in it".to_owned(),
        ));
    }
    let key = PrivateKeyDer::from_pem_reader(open(&files.key)?).map_err(|error| {
        failed(&files.key)(match error {
            pem::Error::NoItemsFound => "there is no private key in it".to_owned(),
            other => other.to_string(),
        })
    })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&files.key)(error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => failed(&files.key)(format!(
                "the key does not belong to {}",
                files.certificate.display()
            )),
            other => failed(&files.certificate)(other.to_string()),
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
