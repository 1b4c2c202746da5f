//! What a Spin application is supplied with where it runs: `--variable`, Spin's runtime configuration
//! file (<https://spinframework.dev/dynamic-configuration>), and the environment.
//!
//! A variable's value is looked for in this order, which is Spin's: the command line, the providers of
//! the file in theirs, `SPIN_VARIABLE_NAME` in the environment, and the same in `.env`.

use std::collections::BTreeMap;
use std::path::Path;

use super::runtime_raw::{Provider, RuntimeConfig, Store};
use crate::document::{At, Located, Problem, Problems, Report, text_of};
use crate::manifest::supplied::Supplied;

/// What the environment variables begin with that give variables their values.
const PREFIX: &str = "SPIN_VARIABLE";

/// The file, where the process runs, that is read like the environment.
const DOTENV: &str = ".env";

/// Reads a variable and its value as the command line has them: `NAME=VALUE`.
///
/// # Errors
///
/// It is not of that form.
pub fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("write NAME=VALUE".to_owned()),
    }
}

/// What an application is supplied with by the command line, the runtime configuration in `file` and the
/// environment; and what is in that file that is not used.
///
/// # Errors
///
/// Everything that is wrong with the files.
pub fn supplied(
    named: BTreeMap<String, String>,
    file: Option<&Path>,
) -> Result<(Supplied, Vec<Problem>), Problems> {
    let mut supplied = Supplied {
        named,
        ..Supplied::default()
    };
    let mut warnings = Vec::new();
    if let Some(file) = file {
        let text = text_of(file)?;
        let mut report = Report::new(file, &text);
        let raw: Option<RuntimeConfig> = report.read(&text);
        let read = raw.map(|raw| read(&raw, &mut supplied, &mut report));
        ((), warnings) = report.finish(read)?;
    }
    let from_environment = environment(PREFIX, Some(Path::new(DOTENV)), false)?;
    fill(&mut supplied.ambient, from_environment);
    Ok((supplied, warnings))
}

/// Adds what is not there yet.
fn fill(values: &mut BTreeMap<String, String>, more: BTreeMap<String, String>) {
    for (name, value) in more {
        values.entry(name).or_insert(value);
    }
}

fn read(raw: &RuntimeConfig, supplied: &mut Supplied, report: &mut Report) {
    for provider in [&raw.variables_provider, &raw.config_provider]
        .into_iter()
        .flatten()
    {
        for provider in &provider.value {
            fill(&mut supplied.ambient, values(provider, report));
        }
    }
    for (label, store) in raw.key_value_store.iter().flat_map(|table| &table.value.0) {
        if let Some(store) = store {
            self::store(label, store, report);
        }
    }
    for (label, database) in raw.sqlite_database.iter().flat_map(|table| &table.value.0) {
        let Some(kind) = database
            .as_ref()
            .and_then(|database| database.r#type.as_ref())
        else {
            continue;
        };
        if kind.value != "spin" {
            let what = format!("a SQLite database on {:?} cannot be used", kind.value);
            let fix = "write type = \"spin\" with the path of a file, or remove the table for one in \
                       the state directory";
            report.problem(&kind.at, what, fix);
        }
        let path = database
            .as_ref()
            .and_then(|database| database.path.as_ref());
        if let Some(path) = path {
            // As Spin does: below the directory where the process runs.
            let path =
                std::path::absolute(&path.value).unwrap_or_else(|_| path.value.clone().into());
            supplied.databases.insert(label.value.clone(), path);
        }
    }
    unused(raw, report);
}

fn store(label: &Located<String>, store: &Store, report: &mut Report) {
    let Some(kind) = &store.r#type else { return };
    match kind.value.as_str() {
        "spin" => {
            if let Some(path) = &store.path {
                let what = format!(
                    "what this file of Spin's holds is not read: the store {} is kept in the state \
                     directory, or in Redis",
                    label.value
                );
                report.warning(&path.at, what, "remove the path, or copy what is in it");
            }
        }
        "redis" => {
            let what = "a single store on Redis cannot be used: all stores are in one place";
            let fix = "write [redis] with url_env into a host configuration, name it by --host-config, \
                       and remove the table";
            report.problem(&kind.at, what, fix);
        }
        other => {
            let what = format!("a store on {other:?} cannot be used");
            let fix = "remove the table: the store is kept in the state directory, or in Redis where \
                       the host configuration has it";
            report.problem(&kind.at, what, fix);
        }
    }
}

fn values(provider: &Located<Provider>, report: &mut Report) -> BTreeMap<String, String> {
    let provider = &provider.value;
    let Some(kind) = &provider.r#type else {
        return BTreeMap::new();
    };
    match kind.value.as_str() {
        "static" => {
            let values = provider.values.iter().flat_map(|table| &table.value.0);
            let pair = |(name, value): &(Located<String>, Option<String>)| {
                Some((name.value.clone(), value.clone()?))
            };
            values.filter_map(pair).collect()
        }
        "env" => {
            let prefix = provider.prefix.as_ref().map(|prefix| prefix.value.as_str());
            let dotenv = provider.dotenv_path.as_ref();
            let path = dotenv.map(|path| Path::new(&path.value));
            environment(prefix.unwrap_or(PREFIX), path, true).unwrap_or_else(|problems| {
                let at = dotenv.map_or(&kind.at, |dotenv| &dotenv.at);
                report.problem(at, problems, "name a readable file");
                BTreeMap::new()
            })
        }
        other => {
            let what = format!("values of variables cannot be had from {other:?}");
            let fix = "fetch them before the start, and give them by SPIN_VARIABLE_NAME, in the \
                       environment or in a file that an env provider names as dotenv_path";
            report.problem(&kind.at, what, fix);
            BTreeMap::new()
        }
    }
}

/// Warns of what has no effect.
fn unused(raw: &RuntimeConfig, report: &mut Report) {
    let mut warn = |at: Option<&At>, what: &str, fix: &str| {
        if let Some(at) = at {
            report.warning(at, what, fix);
        }
    };
    fn at<T>(field: &Option<Located<T>>) -> Option<&At> {
        field.as_ref().map(|field| &field.at)
    }
    let what = "is not where state is kept";
    warn(at(&raw.state_dir), what, "name a directory by --state-dir");
    let what = "is not where the output of components is kept: it goes to the log";
    warn(at(&raw.log_dir), what, "collect standard error");
    let what = "there are no language models here";
    warn(at(&raw.llm_compute), what, "remove it");
    let what = "Spin components have no blob stores here";
    warn(at(&raw.blob_store), what, "remove it");
    let what = "is not heeded: connections have the engine's own settings";
    warn(at(&raw.outbound_http), what, "remove it");
    let refused = [&raw.outbound_networking, &raw.client_tls];
    for field in refused.into_iter().flatten() {
        let what = "is not heeded, and what it forbids or needs would not be so";
        let fix = "remove it, and narrow allowed_outbound_hosts instead";
        report.problem(&field.at, what, fix);
    }
}

/// The variables that the environment has, and `file` after it: `PREFIX_NAME` is `name`. A file that is
/// not there is one without variables, unless it `must` be there.
fn environment(
    prefix: &str,
    file: Option<&Path>,
    must: bool,
) -> Result<BTreeMap<String, String>, Problems> {
    let name = |variable: &str| {
        let name = variable.strip_prefix(prefix)?.strip_prefix('_')?;
        Some(name.to_ascii_lowercase())
    };
    let text = match file {
        Some(file) if must || file.exists() => text_of(file)?,
        Some(_) | None => String::new(),
    };
    let environment = std::env::vars_os().filter_map(|(variable, value)| {
        Some((name(variable.to_str()?)?, value.into_string().ok()?))
    });
    let mut values: BTreeMap<String, String> = environment.collect();
    let lines = text.lines().filter_map(line);
    let lines = lines.filter_map(|(variable, value)| Some((name(variable)?, value)));
    fill(&mut values, lines.collect());
    Ok(values)
}

/// A line `NAME=VALUE` of a file of variables; the value may be in quotes.
fn line(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=')?;
    if name.starts_with('#') {
        return None;
    }
    let value = value.trim();
    let quoted = |quote: char| value.strip_prefix(quote)?.strip_suffix(quote);
    let value = match (quoted('\''), quoted('"')) {
        (Some(raw), _) => raw.to_owned(),
        (None, Some(text)) => text.replace("\\n", "\n").replace("\\\"", "\""),
        (None, None) => value
            .split(" #")
            .next()
            .unwrap_or(value)
            .trim_end()
            .to_owned(),
    };
    Some((name.trim(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the runtime configuration `text` supplies, and what it warns of.
    fn read(text: &str) -> Result<(Supplied, Vec<String>), String> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(
            directory.path().join("env"),
            "# one\nexport OTHER_A=\"a b\"\nOTHER_B='$b'\nOTHER_C=c # three\n\nUNRELATED=x\n",
        )
        .unwrap();
        let file = directory.path().join("runtime-config.toml");
        let env = directory.path().join("env").display().to_string();
        std::fs::write(&file, text.replace("ENV", &env)).unwrap();
        let supplied = supplied(BTreeMap::new(), Some(&file)).map_err(|error| error.to_string())?;
        let mut warnings: Vec<String> = supplied.1.iter().map(|w| w.key.clone()).collect();
        warnings.sort();
        Ok((supplied.0, warnings))
    }

    #[test]
    fn providers_are_asked_in_their_order() {
        let (supplied, warnings) = read(
            "[[variables_provider]]\ntype = \"static\"\nvalues = { a = \"first\" }\n\
             [[variables_provider]]\ntype = \"env\"\nprefix = \"OTHER\"\ndotenv_path = \"ENV\"\n",
        )
        .unwrap();
        assert_eq!(supplied.value("a"), Some("first"));
        assert_eq!(supplied.value("b"), Some("$b"));
        assert_eq!(supplied.value("c"), Some("c"));
        assert_eq!(supplied.value("unrelated"), None);
        assert!(warnings.is_empty(), "{warnings:?}");
        assert!(!format!("{supplied:?}").contains("first"));
    }

    #[test]
    fn databases_lie_where_the_file_says() {
        let (supplied, warnings) = read(
            "state_dir = \".spin\"\n\
             [sqlite_database.default]\ntype = \"spin\"\npath = \"/data/default.db\"\n\
             [sqlite_database.other]\ntype = \"spin\"\n\
             [key_value_store.default]\ntype = \"spin\"\npath = \"kv.db\"\n",
        )
        .unwrap();
        assert_eq!(supplied.databases["default"], Path::new("/data/default.db"));
        assert_eq!(supplied.databases.len(), 1);
        assert_eq!(warnings, ["key_value_store.default.path", "state_dir"]);
    }

    #[test]
    fn what_cannot_be_had_is_refused() {
        for (text, expected) in [
            ("colour = 1", "colour: unknown key"),
            (
                "[[variables_provider]]\ntype = \"vault\"\nurl = \"http://x\"",
                "cannot be had from \"vault\"",
            ),
            (
                "[[config_provider]]\ntype = \"azure_key_vault\"",
                "cannot be had from \"azure_key_vault\"",
            ),
            (
                "[[variables_provider]]\ntype = \"env\"\ndotenv_path = \"/missing/env\"",
                "cannot be read",
            ),
            (
                "[key_value_store.a]\ntype = \"redis\"\nurl = \"redis://x\"",
                "url_env",
            ),
            (
                "[key_value_store.a]\ntype = \"azure_cosmos\"\nkey = \"k\"",
                "\"azure_cosmos\" cannot be used",
            ),
            (
                "[sqlite_database.a]\ntype = \"libsql\"\nurl = \"http://x\"",
                "\"libsql\" cannot be used",
            ),
            (
                "[outbound_networking]\nblock = [\"10.0.0.0/8\"]",
                "outbound_networking: is not heeded",
            ),
        ] {
            let problems = read(text).unwrap_err();
            assert!(problems.contains(expected), "{text}: {problems}");
        }
    }

    #[test]
    fn a_variable_on_the_command_line_has_a_name_and_a_value() {
        assert_eq!(variable("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert_eq!(variable("a="), Ok(("a".to_owned(), String::new())));
        assert!(variable("a").is_err() && variable("=a").is_err());
    }
}
