//! Models that a user installs: signed, trusted, in the place of the embedded ones, and refused when
//! something about them is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

/// A folder with a key, a folder of models that trusts it, and a signed model.
struct Scene {
    folder: tempfile::TempDir,
    version: String,
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The embedded model for scripts.
fn embedded() -> Vec<u8> {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nets/weights");
    fs::read(weights.join("file_script.safetensors")).unwrap()
}

/// Its header: safetensors begin with the length of a JSON object, then the object.
fn header(bytes: &[u8]) -> Value {
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    serde_json::from_slice(&bytes[8..8 + length]).unwrap()
}

/// The embedded model under another version of the same length.
fn renamed() -> (Vec<u8>, String) {
    let mut bytes = embedded();
    let old = header(&bytes)["__metadata__"]["version"]
        .as_str()
        .unwrap()
        .to_owned();
    let new = format!(
        "{}{}",
        if old.starts_with('0') { '1' } else { '0' },
        old.get(1..).unwrap()
    );
    let field = format!("\"version\":\"{old}\"");
    let at = bytes
        .windows(field.len())
        .position(|part| part == field.as_bytes())
        .unwrap();
    let at = at + field.len() - 1 - old.len();
    bytes[at..at + new.len()].copy_from_slice(new.as_bytes());
    (bytes, new)
}

impl Scene {
    fn new() -> Self {
        let (bytes, version) = renamed();
        let scene = Self {
            folder: tempfile::tempdir().unwrap(),
            version,
        };
        fs::write(scene.at("new.safetensors"), bytes).unwrap();
        scene.done(&["model", "keygen", "--out", "team", "--no-password"]);
        scene.done(&["model", "sign", "new.safetensors", "--key", "team.key"]);
        scene.done(&["model", "trust", "team.pub"]);
        fs::write(scene.at("ok.php"), "<?php\necho 'hello';\n").unwrap();
        fs::write(
            scene.at("a.php"),
            "<?php eval(base64_decode($_POST['x'])); ?>\n",
        )
        .unwrap();
        scene
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Exit code, standard output and standard error.
    fn run(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = Command::cargo_bin("thymus")
            .unwrap()
            .args(args)
            .current_dir(self.folder.path())
            .env("XDG_DATA_HOME", self.folder.path())
            .output()
            .unwrap();
        (
            output.status.code(),
            text(&output.stdout),
            text(&output.stderr),
        )
    }

    fn done(&self, args: &[&str]) -> String {
        let (code, out, err) = self.run(args);
        assert_eq!(code, Some(0), "{args:?}: {err}");
        out
    }

    /// Exit code 2 and every one of `parts` in the message.
    fn refused(&self, args: &[&str], parts: &[&str]) {
        let (code, out, err) = self.run(args);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        for part in parts {
            assert!(err.contains(part), "{part} not in: {err}");
        }
    }

    /// The lines of `thymus scan --json`.
    fn scan(&self, args: &[&str]) -> Vec<Value> {
        let args: Vec<&str> = ["scan", "--json", "a.php"]
            .iter()
            .chain(args)
            .copied()
            .collect();
        let (code, out, err) = self.run(&args);
        assert!(matches!(code, Some(0 | 1)), "{err}");
        out.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Installs the model and lets it judge.
    fn activate(&self) {
        self.done(&["model", "install", "new.safetensors"]);
        self.done(&["model", "activate", "file_script", "--anyway", "a test"]);
    }

    /// A thousand different harmless scripts.
    fn write_scripts(&self) {
        fs::create_dir(self.at("www")).unwrap();
        for number in 0..1_000 {
            let text = format!("<?php\necho 'page {number}';\n");
            fs::write(self.at(&format!("www/{number}.php")), text).unwrap();
        }
    }

    fn list(&self) -> (Option<i32>, Vec<Value>) {
        let (code, out, _) = self.run(&["model", "list", "--json"]);
        (
            code,
            out.lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
        )
    }

    /// The installed file.
    fn file(&self) -> PathBuf {
        let mut files = fs::read_dir(self.at("thymus/models/files")).unwrap();
        let is_model = |path: &PathBuf| path.extension().is_some_and(|end| end == "safetensors");
        files
            .find_map(|file| Some(file.unwrap().path()).filter(is_model))
            .unwrap()
    }
}

#[test]
fn an_installed_model_judges_in_the_place_of_the_embedded_one() {
    let scene = Scene::new();
    let told = scene.done(&["model", "verify", "new.safetensors"]);
    assert!(told.contains("is whole and signed by key"), "{told}");
    assert!(
        told.contains(&format!("thymus model file_script {}", scene.version)),
        "{told}"
    );
    let embedded = scene.scan(&[]);
    scene.activate();
    let installed = scene.scan(&[]);
    let id = format!("file_script-{}", scene.version);
    assert_eq!(installed[0]["model"], id.as_str());
    assert_ne!(embedded[0]["model"], id.as_str());
    assert_eq!(installed[0]["benign_share"], embedded[0]["benign_share"]);
    let origin = |lines: &[Value]| -> Vec<String> {
        let models = lines.last().unwrap()["summary"]["models"]
            .as_array()
            .unwrap()
            .clone();
        let word = |model: &Value| model["origin"].as_str().unwrap().to_owned();
        models.iter().map(word).collect()
    };
    assert_eq!(origin(&embedded), ["embedded"; 4]);
    assert_eq!(
        origin(&installed),
        ["embedded", "embedded", "embedded", "installed"]
    );
    assert_eq!(scene.scan(&["--no-sandbox"]), installed, "confined or not");
    assert_eq!(scene.scan(&["--no-models"]), embedded);
    assert_eq!(scene.scan(&["--models", "elsewhere"]), embedded);
    let (_, out, _) = scene.run(&["scan", "a.php"]);
    assert!(out.contains(&format!("{id} (installed)")), "{out}");
    let (code, lines) = scene.list();
    let states: Vec<_> = lines
        .iter()
        .map(|line| line["state"].as_str().unwrap())
        .collect();
    assert_eq!(
        (code, &states[..]),
        (
            Some(0),
            &["in use", "in use", "in use", "replaced", "in use"][..]
        )
    );
    assert_eq!(lines[4]["blake3"].as_str().unwrap().len(), 64);
    assert_ne!(lines[4]["blake3"], lines[3]["blake3"]);
    assert_eq!(
        lines[4]["installed"]["user"],
        lines[4]["activated"]["act"]["user"]
    );
    scene.done(&["model", "remove", "file_script"]);
    assert_eq!(scene.scan(&[]), embedded);
    scene.refused(
        &["model", "remove", "file_script"],
        &["no model file_script is installed"],
    );
}

#[test]
fn a_model_that_is_not_ours_is_never_installed_and_the_remedy_is_named() {
    let scene = Scene::new();
    let install = ["model", "install", "new.safetensors"];
    let signature = fs::read(scene.at("new.safetensors.minisig")).unwrap();
    fs::remove_file(scene.at("new.safetensors.minisig")).unwrap();
    scene.refused(
        &install,
        &["new.safetensors", "not signed", "thymus model sign"],
    );
    fs::write(scene.at("new.safetensors.minisig"), &signature).unwrap();
    let (mut bytes, _) = renamed();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(scene.at("new.safetensors"), bytes).unwrap();
    scene.refused(
        &install,
        &["new.safetensors", "not what key", "get both again"],
    );
    scene.done(&["model", "keygen", "--out", "other", "--no-password"]);
    scene.done(&["model", "sign", "new.safetensors", "--key", "other.key"]);
    scene.refused(
        &install,
        &["new.safetensors", "not trusted", "thymus model trust"],
    );
    scene.refused(&["model", "verify", "new.safetensors"], &["not trusted"]);
    scene.done(&["model", "verify", "new.safetensors", "--key", "other.pub"]);
    fs::write(scene.at("no.safetensors"), b"nothing").unwrap();
    let sign = ["model", "sign", "no.safetensors", "--key", "team.key"];
    scene.refused(&sign, &["no.safetensors was not signed"]);
    scene.refused(
        &["model", "keygen", "--out", "team", "--no-password"],
        &["team.key is there"],
    );
    scene.refused(&["model", "keygen", "--out", "third"], &["--password-file"]);
    scene.refused(&["model", "trust", "a.php"], &["no minisign public key"]);
    assert!(
        scene.scan(&[])[0]["model"]
            .as_str()
            .unwrap()
            .starts_with("file_script-")
    );
}

#[test]
fn an_installed_model_that_was_changed_ends_the_scan_and_says_what_helps() {
    let scene = Scene::new();
    scene.activate();
    let file = scene.file();
    let name = file.to_string_lossy().into_owned();
    let remedies = [
        name.as_str(),
        "thymus model remove file_script",
        "--no-models",
    ];
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, &bytes).unwrap();
    scene.refused(&["scan", "a.php"], &remedies);
    scene.refused(&["scan", "--no-sandbox", "a.php"], &remedies);
    let (code, lines) = scene.list();
    assert_eq!((code, &lines[4]["state"]), (Some(1), &"refused".into()));
    assert!(lines[4]["error"].as_str().unwrap().contains("not what key"));
    assert!(scene.scan(&["--no-models"])[0]["model"].is_string());
    scene.activate();
    let told = scene.done(&["model", "trust"]);
    let id = told.split_whitespace().next().unwrap();
    scene.done(&["model", "distrust", id]);
    scene.refused(
        &["scan", "a.php"],
        &["no key is trusted", "thymus model trust"],
    );
    scene.done(&["model", "trust", "team.pub"]);
    assert_eq!(
        scene.scan(&[])[0]["model"],
        format!("file_script-{}", scene.version)
    );
}

#[test]
fn a_locked_key_signs_with_its_password() {
    let scene = Scene::new();
    fs::write(scene.at("word"), "open sesame\n").unwrap();
    fs::write(scene.at("wrong"), "close\n").unwrap();
    scene.done(&[
        "model",
        "keygen",
        "--out",
        "locked",
        "--password-file",
        "word",
    ]);
    let sign = |word: &'static str| {
        [
            "model",
            "sign",
            "new.safetensors",
            "--key",
            "locked.key",
            "--password-file",
            word,
        ]
    };
    scene.refused(&sign("wrong"), &["locked.key"]);
    scene.done(&sign("word"));
    let told = scene.done(&[
        "model",
        "verify",
        "new.safetensors",
        "--key",
        "locked.pub",
        "--json",
    ]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let kinds = &header(&embedded())["__metadata__"]["kinds"];
    let kinds: Vec<&str> = kinds.as_str().unwrap().split(' ').collect();
    assert_eq!(told["types"], serde_json::json!(kinds));
    let mode = fs::metadata(scene.at("locked.key"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_model_judges_nothing_before_it_passed_a_shadow_run_or_a_reason_is_noted() {
    let scene = Scene::new();
    let embedded = scene.scan(&[]);
    let told = scene.done(&["model", "install", "new.safetensors"]);
    assert!(told.contains("in shadow: it judges nothing yet"), "{told}");
    assert_eq!(scene.scan(&[]), embedded);
    let (code, lines) = scene.list();
    assert_eq!(
        (code, &lines[3]["state"], &lines[4]["state"]),
        (Some(0), &"in use".into(), &"shadow".into())
    );
    let activate = ["model", "activate", "file_script"];
    scene.refused(
        &activate,
        &["no shadow run", "thymus model shadow", "--anyway"],
    );
    let told = scene.done(&["model", "shadow", "file_script", "ok.php"]);
    assert!(told.contains("Passed"), "{told}");
    scene.refused(&activate, &["judged 1 different files, 1000 are needed"]);
    assert_eq!(scene.scan(&[]), embedded);
    scene.refused(
        &["model", "activate", "file_script", "--anyway", " "],
        &["wants a reason"],
    );
    scene.done(&[
        "model",
        "activate",
        "file_script",
        "--anyway",
        "the boss said so",
    ]);
    assert_eq!(
        scene.scan(&[])[0]["model"],
        format!("file_script-{}", scene.version)
    );
    let (_, lines) = scene.list();
    assert_eq!(lines[4]["state"], "in use");
    assert_eq!(lines[4]["activated"]["anyway"], "the boss said so");
    assert!(lines[4]["activated"]["act"]["time"].is_string());
    assert_eq!(lines[4]["shadow_run"]["judged"], 1);
    scene.refused(&activate, &["no version that waits"]);
    scene.refused(
        &["model", "shadow", "nothing", "a.php"],
        &["nothing is no model file"],
    );
    scene.refused(&["model", "shadow", "file_script", "no/such"], &["no/such"]);
}

#[test]
fn a_model_that_passed_its_shadow_run_judges_from_its_installation_on() {
    let scene = Scene::new();
    scene.write_scripts();
    // A copy counts once, and what is no script is not counted.
    fs::copy(scene.at("www/1.php"), scene.at("www/copy.php")).unwrap();
    fs::write(scene.at("www/x.pl"), "#!/usr/bin/perl\n").unwrap();
    let told = scene.done(&["model", "shadow", "new.safetensors", "www", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        (&told["files"], &told["judged"]),
        (&1002.into(), &1000.into())
    );
    assert_eq!(
        (&told["passed"], &told["changes"]),
        (&true.into(), &serde_json::json!([]))
    );
    let php = &told["types"][0];
    assert_eq!(
        (&php["type"], &php["judged_before"]),
        (&"php".into(), &1000.into())
    );
    let counts = serde_json::json!([{ "before": "clean", "now": "clean", "count": 1000 }]);
    assert_eq!(php["counts"], counts);
    assert_eq!(php["suspicious_or_worse"]["seen"], 0);
    // Nothing in so many: one less the thousandth root of a twentieth.
    let at_most = php["suspicious_or_worse"]["at_most"].as_f64().unwrap();
    assert!((at_most - 0.002_991).abs() < 1e-5, "{at_most}");
    for cost in ["in_use", "new"] {
        assert!(told["cost"][cost]["memory_bytes_max"].as_u64().unwrap() > 1 << 20);
    }
    let told = scene.done(&["model", "install", "new.safetensors"]);
    assert!(told.contains("judges from now on"), "{told}");
    let (_, lines) = scene.list();
    assert_eq!(
        (&lines[4]["state"], &lines[4]["activated"]["anyway"]),
        (&"in use".into(), &Value::Null)
    );
    assert_eq!(lines[4]["shadow_run"]["signer"], lines[4]["signer"]);
}

#[test]
fn a_model_that_cries_wolf_fails_its_shadow_run_and_every_change_is_named() {
    let scene = Scene::new();
    scene.write_scripts();
    let (mut bytes, _) = renamed();
    let length = u64::from_le_bytes(*bytes.first_chunk().unwrap()) as usize;
    let place = header(&bytes)["php.limits"]["data_offsets"][0]
        .as_u64()
        .unwrap() as usize;
    // Both tails begin far below anything that is judged: every file is as bad as none.
    for tail in [0, 5] {
        let numbers = [-1e6_f32, 1.0, 0.0, 1.0, 1e-9];
        for (at, number) in numbers.iter().enumerate() {
            let at = 8 + length + place + (tail + at) * 4;
            bytes[at..at + 4].copy_from_slice(&number.to_le_bytes());
        }
    }
    fs::write(scene.at("new.safetensors"), bytes).unwrap();
    scene.done(&["model", "sign", "new.safetensors", "--key", "team.key"]);
    scene.done(&["model", "install", "new.safetensors"]);
    let (code, out, err) = scene.run(&["model", "shadow", "file_script", "www"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(
        out.contains("Failed: 1000 of 1000 php files are suspicious or worse, 0."),
        "{out}"
    );
    assert!(
        out.contains("Verdicts that change: 1000 clean to malicious"),
        "{out}"
    );
    assert!(
        out.contains("www/0.php  (php)") && out.contains("and 980 more"),
        "{out}"
    );
    let activate = ["model", "activate", "file_script"];
    scene.refused(
        &activate,
        &["failed its shadow run", "1000 of 1000 php files"],
    );
    let (_, out, _) = scene.run(&["model", "list"]);
    assert!(out.contains("failed its shadow run of"), "{out}");
    scene.done(&["model", "install", "new.safetensors"]);
    assert_eq!(
        scene.list().1[4]["state"],
        "shadow",
        "installing again does not help"
    );
}
