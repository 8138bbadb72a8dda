//! Keys and signatures of models: made, checked, trusted.

use std::fs::{self, OpenOptions};
use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use thymus_analyst::legible;
use thymus_scan::Networks;
use thymus_store::models::{
    self, ModelKey, ModelKeyPair, ModelStore, Signed, is_locked, signature_of,
};

use super::store;
use crate::Found;
use crate::scan::escaped;

/// What a model file says of itself.
pub(super) struct Told {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) types: Vec<String>,
}

/// `thymus model keygen`.
///
/// # Errors
/// When a file is there already or cannot be written.
pub(super) fn generate(out: &Path, password: Option<&Path>, no_password: bool) -> Result<Found> {
    let named = |ending: &str| {
        let mut name = out.as_os_str().to_owned();
        name.push(ending);
        PathBuf::from(name)
    };
    let (secret, public) = (named(".key"), named(".pub"));
    for path in [&secret, &public] {
        if path.symlink_metadata().is_ok() {
            bail!("{} is there already; name others with --out", shown(path));
        }
    }
    let password = match password {
        _ if no_password => None,
        Some(path) => Some(first_line(path)?),
        None => {
            let first = asked("Password for the secret key: ")?;
            if asked("The same again: ")? != first {
                bail!("the passwords differ; nothing was written");
            }
            Some(first)
        }
    };
    if password.as_deref() == Some("") {
        bail!("an empty password locks nothing; --no-password says that you want that");
    }
    let pair = ModelKeyPair::new(password)?;
    write_new(&secret, pair.secret.as_bytes(), 0o600)?;
    write_new(&public, pair.public.as_bytes(), 0o644)?;
    let (secret, public) = (shown(&secret), shown(&public));
    println!(
        "wrote {secret} (keep it secret) and {public} (key {})",
        pair.id
    );
    println!("sign with: thymus model sign MODEL --key {secret}");
    println!("on each machine that shall use what you sign: thymus model trust {public}");
    Ok(Found::Nothing)
}

/// `thymus model sign`.
///
/// # Errors
/// When the model is none that this program can use, or key or password are wrong.
pub(super) fn sign(model: &Path, key: &Path, password: Option<&Path>) -> Result<Found> {
    let bytes = fs::read(model).with_context(|| format!("cannot read {}", shown(model)))?;
    let told = told(&bytes).with_context(|| format!("{} was not signed", shown(model)))?;
    let secret = fs::read_to_string(key).with_context(|| format!("cannot read {}", shown(key)))?;
    let locked = is_locked(&secret);
    let locked = locked.with_context(|| {
        format!(
            "{} is no secret key of `thymus model keygen` or `minisign -G`",
            shown(key)
        )
    })?;
    let password = match password {
        _ if !locked => None,
        Some(path) => Some(first_line(path)?),
        None => Some(asked("Password of the secret key: ")?),
    };
    let comment = format!("thymus model {} {}", told.name, told.version);
    let signature = models::sign(&bytes, &secret, password, &comment)
        .with_context(|| format!("with {}", shown(key)))?;
    let path = signature_of(model);
    fs::write(&path, signature).with_context(|| format!("cannot write {}", shown(&path)))?;
    println!("wrote {}: {} {}", shown(&path), told.name, told.version);
    Ok(Found::Nothing)
}

/// `thymus model verify`.
///
/// # Errors
/// When the file is not whole, or no key that counts signed it.
pub(super) fn verify(
    model: &Path,
    key: Option<&str>,
    dir: Option<&Path>,
    json: bool,
) -> Result<Found> {
    let keys = match key {
        Some(key) => vec![public(key)?],
        None => store(dir)?.keys()?,
    };
    let signed = ModelStore::signed(model, &keys)?;
    let told = told(&signed.bytes).with_context(|| format!("{} is whole, but", shown(model)))?;
    let Signed {
        blake3,
        signer,
        comment,
        ..
    } = signed;
    if json {
        let line = serde_json::json!({
            "path": model.to_string_lossy(), "name": told.name, "version": told.version,
            "types": told.types, "blake3": blake3, "signer": signer, "comment": comment,
        });
        println!("{}", escaped(&line.to_string()));
        return Ok(Found::Nothing);
    }
    let (name, version, types) = (told.name, told.version, told.types.join(", "));
    println!("{} is whole and signed by key {signer}", shown(model));
    println!("  {}", legible(&format!("{name} {version}: {types}")));
    println!("  signed comment: {}", legible(&comment));
    println!("  BLAKE3 {blake3}");
    Ok(Found::Nothing)
}

/// `thymus model trust`.
///
/// # Errors
/// When it is no key, or the folder cannot be written.
pub(super) fn trust(store: &ModelStore, key: &str) -> Result<Found> {
    let key = public(key)?;
    store.trust(&key)?;
    println!("models signed by key {} are trusted now", key.id);
    Ok(Found::Nothing)
}

/// `thymus model trust` without a key.
///
/// # Errors
/// When the keys cannot be read.
pub(super) fn list(store: &ModelStore) -> Result<Found> {
    let keys = store.keys()?;
    let mut out = stdout().lock();
    for key in &keys {
        writeln!(out, "{}  {}", key.id, key.text)?;
    }
    if keys.is_empty() {
        writeln!(out, "no key is trusted")?;
    }
    Ok(Found::Nothing)
}

/// `thymus model distrust`.
///
/// # Errors
/// When it is not trusted.
pub(super) fn distrust(store: &ModelStore, id: &str) -> Result<Found> {
    store.distrust(id)?;
    println!("models signed by key {} are refused now", id.to_uppercase());
    Ok(Found::Nothing)
}

/// What the file of a model, which must be one that this program can use, says of itself.
pub(super) fn told(bytes: &[u8]) -> Result<Told> {
    let networks = Networks::default().with(vec![bytes.to_vec()]);
    let networks = networks.map_err(|(_, why)| {
        anyhow::Error::new(why).context("it is no model for this version of Thymus")
    })?;
    let info = networks.infos().next().context("it is no model")?;
    Ok(Told {
        name: info.name.to_owned(),
        version: info.version.to_owned(),
        types: info.type_names(),
    })
}

/// A public key: the text of it, or the file that holds it.
fn public(key: &str) -> Result<ModelKey> {
    if let Ok(key) = ModelKey::parse(key) {
        return Ok(key);
    }
    let text = fs::read_to_string(key).with_context(|| format!("cannot read {}", legible(key)))?;
    ModelKey::parse(&text).with_context(|| legible(key))
}

fn shown(path: &Path) -> String {
    legible(&path.to_string_lossy())
}

fn first_line(path: &Path) -> Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", shown(path)))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

/// Asks the person at the terminal, who does not see what they type.
fn asked(question: &str) -> Result<String> {
    if !stdin().is_terminal() || !stderr().is_terminal() {
        bail!("there is no terminal to ask for the password: give --password-file");
    }
    let terminal = console::Term::stderr();
    terminal.write_str(question)?;
    Ok(terminal.read_secure_line()?)
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(mode).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.with_context(|| format!("cannot write {}", shown(path)))
}
