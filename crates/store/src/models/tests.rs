use std::os::unix::fs::PermissionsExt;

use super::*;

struct Scene {
    dir: tempfile::TempDir,
    store: ModelStore,
    pair: ModelKeyPair,
}

impl Scene {
    /// A folder that trusts one key.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ModelStore::open(&dir.path().join("models")).unwrap();
        let pair = ModelKeyPair::new(None).unwrap();
        store
            .trust(&ModelKey::parse(&pair.public).unwrap())
            .unwrap();
        Self { dir, store, pair }
    }

    /// A signed file outside.
    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.dir.path().join("weights.safetensors");
        fs::write(&path, bytes).unwrap();
        let signature = sign(bytes, &self.pair.secret, None, "c").unwrap();
        fs::write(signature_of(&path), signature).unwrap();
        path
    }

    fn install(&self, bytes: &[u8], is_active: bool) -> Installed {
        let signed = ModelStore::signed(&self.file(bytes), &self.store.keys().unwrap()).unwrap();
        let act = Act {
            time: "2026-01-31T00:00:00Z".to_owned(),
            user: "ann".to_owned(),
        };
        let model = Installed {
            name: "file_x".to_owned(),
            version: signed.blake3.get(..12).unwrap().to_owned(),
            blake3: signed.blake3.clone(),
            signer: signed.signer.clone(),
            types: vec!["php".to_owned()],
            installed: act.clone(),
            activated: is_active.then_some(Activation { act, anyway: None }),
        };
        self.store.install(&model, &signed).unwrap();
        model
    }

    fn load(&self, model: &Installed) -> Result<Signed, ModelError> {
        self.store.load(model, &self.store.keys()?)
    }
}

#[test]
fn a_new_version_waits_beside_the_active_one_and_then_takes_its_place() {
    let scene = Scene::new();
    let old = scene.install(b"old", true);
    let new = scene.install(b"new", false);
    let versions = scene.store.versions("file_x").unwrap();
    assert_eq!(versions.active.as_ref(), Some(&old));
    assert_eq!(versions.shadow.as_ref(), Some(&new));
    assert_eq!(scene.load(&old).unwrap().bytes, b"old");
    assert_eq!(scene.load(&new).unwrap().bytes, b"new");
    let activation = Activation {
        act: old.installed.clone(),
        anyway: Some("a test".to_owned()),
    };
    scene.store.activate("file_x", activation.clone()).unwrap();
    let versions = scene.store.versions("file_x").unwrap();
    assert_eq!(versions.active.unwrap().activated, Some(activation.clone()));
    assert_eq!(versions.shadow, None);
    assert!(scene.load(&old).is_err(), "its file is gone");
    let told = scene.store.activate("file_x", activation).unwrap_err();
    assert!(matches!(told, ModelError::NotWaiting { .. }));
    scene.store.remove("file_x").unwrap();
    assert!(scene.store.models().unwrap().is_empty());
    assert_eq!(
        fs::read_dir(scene.store.dir().join("files"))
            .unwrap()
            .count(),
        0
    );
    assert!(matches!(
        scene.store.remove("file_x").unwrap_err(),
        ModelError::Unknown { .. }
    ));
}

#[test]
fn what_was_changed_after_it_was_installed_is_refused_with_the_remedy() {
    let scene = Scene::new();
    let model = scene.install(b"weights", true);
    let file = scene.store.file(&model.blake3);
    let refused = |what: &str| {
        let told = scene.load(&model).unwrap_err().to_string();
        assert!(told.contains(&file.display().to_string()), "{what}: {told}");
        assert!(
            told.contains("thymus model remove file_x"),
            "{what}: {told}"
        );
        told
    };
    fs::write(&file, b"Weights").unwrap();
    assert!(refused("changed").contains("not what key"));
    // Another model that the same key signed.
    fs::write(&file, b"others").unwrap();
    let signature = sign(b"others", &scene.pair.secret, None, "c").unwrap();
    fs::write(signature_of(&file), signature).unwrap();
    assert!(refused("exchanged").contains("not the file that was installed"));
    scene.install(b"weights", true);
    assert!(scene.load(&model).is_ok());
    fs::remove_file(signature_of(&file)).unwrap();
    assert!(refused("unsigned").contains("not signed"));
    scene.install(b"weights", true);
    let id = scene.store.keys().unwrap()[0].id.clone();
    scene.store.distrust(&id.to_lowercase()).unwrap();
    assert!(refused("no longer trusted").contains("thymus model trust"));
    assert!(scene.store.distrust(&id).is_err());
}

#[test]
fn what_others_may_write_is_not_heeded() {
    let scene = Scene::new();
    scene.install(b"weights", true);
    for folder in ["", "files", "keys", "runs"] {
        let path = scene.store.folder(folder).unwrap();
        for (mode, is_fine) in [(0o777, false), (0o775, false), (0o755, true)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                ModelStore::open(scene.store.dir()).is_ok(),
                is_fine,
                "{folder} {mode:o}"
            );
        }
    }
}

#[test]
fn names_lead_nowhere_else() {
    let scene = Scene::new();
    for name in ["", "../x", "a/b", "A", "x.json", &"x".repeat(65)] {
        assert!(matches!(
            scene.store.versions(name).unwrap_err(),
            ModelError::Name { .. }
        ));
    }
    assert!(matches!(
        scene.store.versions("x").unwrap_err(),
        ModelError::Unknown { .. }
    ));
}

#[test]
fn a_run_counts_for_the_very_file_only() {
    let scene = Scene::new();
    let model = scene.install(b"weights", false);
    assert_eq!(scene.store.shadow_run(&model.blake3).unwrap(), None);
    let run = ShadowRun {
        model: "file_x-1".to_owned(),
        blake3: model.blake3.clone(),
        signer: model.signer.clone(),
        in_use: Vec::new(),
        act: model.installed.clone(),
        judged: 1_000,
        suspicious: 0,
        malicious: 0,
        passed: true,
        why: None,
    };
    scene.store.keep_run(&run).unwrap();
    assert_eq!(scene.store.shadow_run(&model.blake3).unwrap(), Some(run));
    let runs = scene.store.dir().join("runs");
    let other = digest(b"other");
    fs::rename(
        runs.join(format!("{}.json", model.blake3)),
        runs.join(format!("{other}.json")),
    )
    .unwrap();
    assert_eq!(scene.store.shadow_run(&other).unwrap(), None);
}

#[test]
fn a_damaged_record_is_named_and_can_be_removed() {
    let scene = Scene::new();
    scene.install(b"weights", true);
    let path = scene.store.dir().join("file_x.json");
    fs::write(&path, b"{").unwrap();
    let told = scene.store.models().unwrap_err().to_string();
    assert!(told.contains("file_x.json"), "{told}");
    scene.store.remove("file_x").unwrap();
    assert!(scene.store.models().unwrap().is_empty());
}
