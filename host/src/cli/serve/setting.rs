//! `-S KEY[=VALUE][,...]` and its like: what is asked for, looked up in a table of what is known.

use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::asked::Asked;

/// One option letter with its keys.
pub struct Group {
    /// The letter.
    pub letter: char,
    /// The keys that are told apart.
    pub known: &'static [Known],
    /// Why every other key is refused; `None`: it is not known.
    pub others: Option<&'static str>,
}

/// A key, and what it does.
pub struct Known {
    /// As it is written.
    pub key: &'static str,
    /// What it does.
    pub does: Does,
}

/// What a key does.
pub enum Does {
    /// It sets something.
    Set(fn(&mut Asked, &Setting<'_>) -> anyhow::Result<()>),
    /// It has no effect on what is served, under `wasmtime serve` neither.
    Nothing,
    /// Wharf does it always.
    Always,
    /// Wharf does not do it, and this is what to do instead.
    Never(&'static str),
}

/// One key, as it was given.
pub struct Setting<'a> {
    letter: char,
    key: &'a str,
    value: Option<&'a str>,
}

impl Group {
    /// Notes in `asked` what the arguments of this letter say, the last one of a key last.
    ///
    /// # Errors
    ///
    /// A key is not known, its value is not one, or Wharf cannot do what it asks for.
    pub fn read(&self, arguments: &[String], asked: &mut Asked) -> anyhow::Result<()> {
        for text in arguments.iter().flat_map(|argument| argument.split(',')) {
            let (key, value) = match text.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (text, None),
            };
            let setting = Setting {
                letter: self.letter,
                key,
                value,
            };
            self.apply(&setting, asked)?;
        }
        Ok(())
    }

    fn apply(&self, setting: &Setting<'_>, asked: &mut Asked) -> anyhow::Result<()> {
        let mut known = self.known.iter();
        let does = known
            .find(|known| known.key == setting.key)
            .map(|known| &known.does);
        let name = setting.name();
        match does {
            Some(Does::Set(set)) => set(asked, setting),
            Some(Does::Nothing) => Ok(()),
            Some(Does::Always) if setting.flag()? => Ok(()),
            Some(Does::Always) => bail!("{name}: Wharf has it always on; leave it out"),
            Some(Does::Never(_)) if setting.flag().is_ok_and(|on| !on) => Ok(()),
            Some(Does::Never(instead)) => bail!("{name}: {instead}"),
            None => match self.others {
                Some(instead) => bail!("{name}: {instead}"),
                None => bail!(
                    "{name} is not known; the keys of -{} are {}",
                    self.letter,
                    self.keys()
                ),
            },
        }
    }

    /// The keys that may be given.
    fn keys(&self) -> String {
        let takes = |known: &&Known| !matches!(known.does, Does::Never(_));
        let keys = self.known.iter().filter(takes).map(|known| known.key);
        keys.collect::<Vec<_>>().join(", ")
    }
}

impl Setting<'_> {
    fn name(&self) -> String {
        format!("-{} {}", self.letter, self.key)
    }

    /// Whether it switches on: `key`, `key=y`, `key=n`.
    pub fn flag(&self) -> anyhow::Result<bool> {
        match self.value {
            None | Some("y" | "yes" | "true") => Ok(true),
            Some("n" | "no" | "false") => Ok(false),
            Some(other) => bail!("{}={other}: write y or n", self.name()),
        }
    }

    /// Its text.
    pub fn text(&self) -> anyhow::Result<&str> {
        let name = self.name();
        self.value
            .with_context(|| format!("{name} needs a value: {name}=VALUE"))
    }

    /// A number, also as `0x10` or with `_` within.
    pub fn number<N: FromStr + TryFrom<u64>>(&self) -> anyhow::Result<N> {
        let text = self.text()?.replace('_', "");
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        number
            .and_then(|number| N::try_from(number).ok())
            .with_context(|| format!("{}={text} is not a number that fits", self.name()))
    }

    /// A span of time.
    pub fn span(&self) -> anyhow::Result<Duration> {
        span(self.text()?).with_context(|| self.name())
    }

    /// A name with its value: `KEY=NAME=VALUE`.
    pub fn pair(&self) -> anyhow::Result<(String, String)> {
        let text = self.text()?;
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        Ok((name.to_owned(), value.to_owned()))
    }
}

/// A span of time as `wasmtime` has it: `3`, `3s`, `250ms`, `10us`, `1ns`.
pub fn span(text: &str) -> anyhow::Result<Duration> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let of: fn(u64) -> Duration = match &text[digits.len()..] {
        "" | "s" => Duration::from_secs,
        "ms" => Duration::from_millis,
        "us" | "\u{3bc}s" => Duration::from_micros,
        "ns" => Duration::from_nanos,
        _ => bail!("{text:?} is not a span of time: write 3, 3s or 250ms"),
    };
    let number = digits.parse();
    number
        .map(of)
        .with_context(|| format!("{text:?} is not a span of time: write 3, 3s or 250ms"))
}

#[cfg(test)]
mod tests {
    use super::super::groups::{CODEGEN, WASI, WASM};
    use super::*;

    fn asked(group: &Group, arguments: &[&str]) -> Result<Asked, String> {
        let mut asked = Asked::default();
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let read = group.read(&arguments, &mut asked);
        read.map(|()| asked).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn what_people_type_is_understood() {
        let wasi = asked(
            &WASI,
            &[
                "cli,config,keyvalue",
                "config-var=a=b=c,config-var=empty",
                "keyvalue-in-memory-data=k=v",
                "inherit-env=y,http,max-resources=0x1_0",
            ],
        );
        let wasi = wasi.expect("all of it is known");
        assert!(wasi.keyvalue && wasi.inherit_env);
        assert_eq!(wasi.variables["a"], "b=c");
        assert_eq!(wasi.variables["empty"], "");
        assert_eq!(wasi.ambient.keyvalue_data["k"], "v");
        assert_eq!(wasi.ambient.bounds.resources_max, Some(16));
        let wasm = asked(&WASM, &["timeout=2,max-memory-size=65_536", "simd"]);
        let wasm = wasm.expect("all of it is known");
        assert_eq!(wasm.timeout, Some(Duration::from_secs(2)));
        assert_eq!(wasm.memory_bytes_max, Some(65536));
    }

    #[test]
    fn what_cannot_be_done_says_what_to_do() {
        for (group, argument, says) in [
            (&WASI, "http=n", "-S http"),
            (&WASI, "nn", "-S nn"),
            (&WASI, "keyvlaue", "keyvalue"),
            (&WASI, "cli=maybe", "write y or n"),
            (&WASI, "config-var", "-S config-var=VALUE"),
            (&WASM, "fuel=10", "-W timeout"),
            (&WASM, "timeout=soon", "250ms"),
            (&WASM, "max-memory-size=-1", "not a number"),
            (&WASM, "component-model=n", "leave it out"),
            (&CODEGEN, "collector=null", "leave -C"),
        ] {
            let error = asked(group, &[argument]).err().unwrap_or_default();
            assert!(error.contains(says), "{argument}: {error:?}");
        }
        // Not to want what is not there is no problem.
        assert!(asked(&WASI, &["nn=n,threads=n,cli=n"]).is_ok());
    }

    #[test]
    fn spans_are_read_as_wasmtime_reads_them() {
        for (text, read) in [
            ("3", Duration::from_secs(3)),
            ("3s", Duration::from_secs(3)),
            ("250ms", Duration::from_millis(250)),
            ("7us", Duration::from_micros(7)),
            ("9ns", Duration::from_nanos(9)),
        ] {
            assert_eq!(span(text).expect("a span"), read);
        }
        for text in ["", "s", "1h", "-1", "1.5s"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
