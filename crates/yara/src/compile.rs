//! Sources to compiled rules, with all that is wrong with them.

use sha2::{Digest, Sha256};
use yara_x::{Compiler, SourceCode};

use crate::{EXTENSION, FILE_NAME, FILE_PATH, Matcher};

/// One file of rules.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is called in errors, and the namespace of its rules.
    pub name: String,
    /// What is in it, as it is.
    pub bytes: Vec<u8>,
}

/// What became of the sources.
#[derive(Debug)]
pub struct RuleSet {
    /// The rules that compiled.
    pub matcher: Matcher,
    /// How many they are.
    pub rules: u64,
    /// SHA-256 of names and contents of the sources.
    pub sha256: [u8; 32],
    /// What did not compile, each with the name of its source, line and column, and why.
    pub errors: Vec<String>,
    /// What compiled and may not be what was meant, or is slow.
    pub warnings: Vec<String>,
}

/// Compiles each source into a namespace of its name. What is wrong with one rule costs only that rule, and
/// those that name it.
///
/// # Errors
/// When nothing can be compiled at all.
pub fn compile(sources: &[Source]) -> Result<RuleSet, String> {
    let mut compiler = Compiler::new();
    // Rule sets in the open were written for YARA, which takes `\R` in a pattern for an R.
    compiler.relaxed_re_syntax(true);
    // What is named is what is compiled: a rule set can not have other files read.
    compiler.enable_includes(false);
    for name in [FILE_NAME, FILE_PATH, EXTENSION] {
        let defined = compiler.define_global(name, "");
        defined.map_err(|error| error.to_string())?;
    }
    let mut digest = Sha256::new();
    for source in sources {
        for part in [source.name.as_bytes(), &source.bytes] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        compiler.new_namespace(&source.name);
        let code = SourceCode::from(source.bytes.as_slice()).with_origin(&source.name);
        // The errors of all sources are gathered below.
        let _is_whole = compiler.add_source(code).is_ok();
    }
    let errors = compiler.errors().iter().map(ToString::to_string).collect();
    let warnings = compiler.warnings().iter().map(ToString::to_string);
    let warnings = warnings.collect();
    let rules = compiler.build();
    Ok(RuleSet {
        rules: rules.iter().len() as u64,
        matcher: Matcher::new(rules),
        sha256: digest.finalize().into(),
        errors,
        warnings,
    })
}
