//! On which side of the split a file stands: by source, family, package, folder, time or cluster, and
//! then whole clusters to one side (rule 2 of the data rules: near duplicates are never parted).

use super::manifest::{Family, Key, Role, RoleRule, Source};
use super::walk::{Table, package};

/// The family of a file, or `-`. `table` is that of [`super::walk::table`].
pub(crate) fn family(source: &Source, path: &str, table: &Table) -> String {
    let outer = path.split('!').next().unwrap_or(path);
    let name = outer.rsplit('/').next().unwrap_or(outer);
    let found = match &source.family {
        Family::None => None,
        Family::Part(number) => outer.split('/').nth(*number).map(str::to_owned),
        Family::Words(count) => {
            let name = name.split(['-', ' ']).next().unwrap_or(name);
            let words: Vec<&str> = name.split('.').take(*count).collect();
            Some(words.join("."))
        }
        Family::Stem => name.split(['-', '_', '.']).next().map(str::to_owned),
        Family::Package => Some(package(path)),
        Family::Table { .. } => table.get(name).cloned(),
    };
    found
        .filter(|family| !family.is_empty())
        .unwrap_or_else(|| "-".to_owned())
}

/// The side of a file by its own source's rule; none where its cluster decides.
pub(crate) fn of(source: &Source, path: &str, family: &str) -> Option<Role> {
    let outer = path.split('!').next().unwrap_or(path);
    match &source.role {
        RoleRule::Fixed(role) => Some(*role),
        RoleRule::Share { by, tune, test } => {
            let key = match by {
                Key::Cluster => return None,
                Key::Family if family == "-" => outer.to_owned(),
                Key::Family => family.to_owned(),
                Key::Package => package(path),
                Key::Folder => outer.split('/').next().unwrap_or(outer).to_owned(),
            };
            Some(share(&key, *tune, *test))
        }
        RoleRule::Time {
            part,
            tune_from,
            test_from,
        } => {
            let time = outer.split('/').nth(*part).unwrap_or_default();
            Some(match () {
                () if time >= test_from.as_str() => Role::Test,
                () if time >= tune_from.as_str() => Role::Tune,
                () => Role::Train,
            })
        }
    }
}

/// The side a cluster has when nothing but chance decides, with the shares of `source`.
pub(crate) fn of_cluster(source: &Source, cluster: &str) -> Role {
    match &source.role {
        RoleRule::Share { tune, test, .. } => share(cluster, *tune, *test),
        _ => Role::Train,
    }
}

/// A side by the hash of a key; the same key has the same side in every source and every run.
fn share(key: &str, tune: f64, test: f64) -> Role {
    let hash = blake3::hash(key.as_bytes());
    let [a, b, c, d, ..] = *hash.as_bytes();
    let draw = f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX);
    match () {
        () if draw < test => Role::Test,
        () if draw < test + tune => Role::Tune,
        () => Role::Train,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::manifest::Manifest;

    fn source(tail: &str) -> Source {
        let text =
            format!("[[source]]\nname='a'\nkind='git'\nwhere='o/n'\nlabel='malicious'\n{tail}\n");
        let mut manifest: Manifest = toml::from_str(&text).unwrap();
        manifest.sources.remove(0)
    }

    #[test]
    fn families_are_read_where_the_rule_says() {
        for (rule, path, expected) in [
            (
                "family={words=3}",
                "V/L/Backdoor.Linux.Nk.a",
                "Backdoor.Linux.Nk",
            ),
            (
                "family={words=3}",
                "Virus.MSWord.Fs.p-1dae.cls",
                "Virus.MSWord.Fs",
            ),
            ("family={part=0}", "Kinsing/x!y/z", "Kinsing"),
            ("family='stem'", "a/Emotet-12.zip!x", "Emotet"),
            ("", "a/b", "-"),
        ] {
            let source = source(&format!("{rule}\nrole='train'"));
            assert_eq!(family(&source, path, &Table::new()), expected);
        }
    }

    #[test]
    fn a_table_names_families() {
        let source = source("family={table={path='t.csv',file=1,value=0}}\nrole='train'");
        let table = Table::from([("1.php.txt".to_owned(), "12".to_owned())]);
        assert_eq!(family(&source, "php/black/1.php.txt", &table), "12");
        assert_eq!(family(&source, "php/black/2.php.txt", &table), "-");
    }

    #[test]
    fn time_sorts_the_sides() {
        let source = source("role={part=1,tune_from='201609',test_from='201610'}");
        for (path, role) in [
            ("2016/20160301/a.js", Role::Train),
            ("2016/20160930/a.js", Role::Tune),
            ("2016/20161101/a.js", Role::Test),
        ] {
            assert_eq!(of(&source, path, "-"), Some(role));
        }
    }

    #[test]
    fn a_key_keeps_its_side_and_shares_are_kept() {
        let source = source("role={by='package',tune=0.1,test=0.2}");
        let side = |package: &str, arch: &str| of(&source, &format!("{package}_1_{arch}.deb"), "-");
        let mut tests = 0;
        for number in 0..1000 {
            let package = format!("lib{number}");
            assert_eq!(side(&package, "amd64"), side(&package, "s390x"));
            tests += usize::from(side(&package, "amd64") == Some(Role::Test));
        }
        assert!((150..250).contains(&tests), "{tests}");
    }

    #[test]
    fn a_cluster_rule_abstains_and_then_draws() {
        let source = source("role={by='cluster',tune=0.0,test=1.0}");
        assert_eq!(of(&source, "x", "-"), None);
        assert_eq!(of_cluster(&source, "abc"), Role::Test);
    }
}
