//! One markdown table, and above it what it was measured on.

use std::fmt;
use std::process::Command;

use super::harness::root;
use super::process::output_of;
use super::settings::Settings;

/// Several measurements of one thing.
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        assert!(!values.is_empty(), "at least one round");
        Self(values)
    }

    pub fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        } else {
            self.0[middle]
        }
    }

    fn range(&self) -> String {
        let (least, most) = (self.0[0], self.0[self.0.len() - 1]);
        format!("{} to {}", number(least), number(most))
    }
}

/// Three significant digits, as far as a measurement deserves them.
pub fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// What a figure ought to be at most.
#[derive(Clone, Copy)]
pub struct Aim(pub f64);

impl Aim {
    fn text(self, reached: f64, unit: &str) -> String {
        let word = match reached {
            // A difference that the noise turned round says nothing of its size.
            ..=0.0 => "lost in noise",
            _ if reached <= self.0 => "met",
            _ => "missed",
        };
        format!("at most {}{unit}: {word}", self.0)
    }
}

/// What a ratio ought to be at least.
#[derive(Clone, Copy)]
pub struct AtLeast(pub f64);

/// One line.
pub struct Row {
    cells: [String; 6],
}

impl Row {
    /// What was measured of whom, in `unit`.
    pub fn new(figure: &str, of: &str, spread: &Spread, unit: &str) -> Self {
        Self {
            cells: [
                figure.to_owned(),
                of.to_owned(),
                format!("{} {unit}", number(spread.median())),
                format!("{}, n = {}", spread.range(), spread.0.len()),
                String::new(),
                String::new(),
            ],
        }
    }

    /// What was seen beside it, with units.
    pub fn beside(mut self, text: impl Into<String>) -> Self {
        self.cells[4] = text.into();
        self
    }

    /// An aim for the median itself.
    pub fn aim(mut self, spread: &Spread, aim: Aim, unit: &str) -> Self {
        self.cells[5] = aim.text(spread.median(), &format!(" {unit}"));
        self
    }

    /// The ratio of two medians, and the aim for it.
    pub fn ratio(mut self, own: &Spread, other: &Spread, to: &str, aim: Option<Aim>) -> Self {
        let ratio = own.median() / other.median();
        let aim = aim.map(|aim| format!(" ({})", aim.text(ratio, "")));
        self.compare(ratio, to, &aim.unwrap_or_default());
        self
    }

    /// The ratio of two medians of which more is better, and the aim for it.
    pub fn share(mut self, own: &Spread, other: &Spread, to: &str, aim: Option<AtLeast>) -> Self {
        let ratio = own.median() / other.median();
        let aim = aim.map(|AtLeast(least)| {
            let word = if ratio >= least { "met" } else { "missed" };
            format!(" (at least {least}: {word})")
        });
        self.compare(ratio, to, &aim.unwrap_or_default());
        self
    }

    fn compare(&mut self, ratio: f64, to: &str, aim: &str) {
        if !self.cells[5].is_empty() {
            self.cells[5].push_str("; ");
        }
        self.cells[5].push_str(&format!("{ratio:.2} of {to}{aim}"));
    }
}

/// The table as it grows.
pub struct Table {
    facts: Vec<String>,
    rows: Vec<[String; 6]>,
}

impl Table {
    /// Asks the machine what it is, before it is busy.
    pub fn new(settings: &Settings) -> Self {
        let facts = vec![
            format!(
                "Measured on {}.",
                said(&["date", "-u", "+%Y-%m-%d %H:%M UTC"])
            ),
            format!("Machine: {}.", machine()),
            format!(
                "Commit: {}. Compiler: {}.",
                commit(),
                said(&["rustc", "--version"])
            ),
            format!(
                "Command: `{}`; {} connections, {} s a run.",
                format!("cargo bench -p wharf-tests -- {}", settings.arguments)
                    .trim_end_matches([' ', '-']),
                settings.connections,
                settings.run.as_secs_f64()
            ),
        ];
        Self {
            facts,
            rows: Vec::new(),
        }
    }

    pub fn add(&mut self, row: Row) {
        // The bench takes minutes: what is known is shown.
        eprintln!("{}", line(&row.cells));
        self.rows.push(row.cells);
    }

    /// Says above the table how something was measured.
    pub fn note(&mut self, text: String) {
        self.facts.push(text);
    }

    /// Says why a figure is missing.
    pub fn skip(&mut self, figure: &str, of: &str, why: &str) {
        let cells = [figure, of, "skipped", "", why, ""];
        self.add(Row {
            cells: cells.map(str::to_owned),
        });
    }
}

fn line(cells: &[String; 6]) -> String {
    format!("| {} |", cells.join(" | "))
}

impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(out, "{}\n", self.facts.join("\n"))?;
        writeln!(
            out,
            "| figure | of | median | least to most | beside it | ratio, aim |"
        )?;
        writeln!(out, "| --- | --- | --- | --- | --- | --- |")?;
        for cells in &self.rows {
            writeln!(out, "{}", line(cells))?;
        }
        Ok(())
    }
}

/// What a command says, run in the workspace.
fn said(command: &[&str]) -> String {
    let (program, arguments) = command.split_first().expect("a program");
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    output_of(&mut command).unwrap_or_else(|error| format!("unknown ({program}: {error})"))
}

fn commit() -> String {
    let commit = said(&["git", "rev-parse", "--short=12", "HEAD"]);
    let changes = said(&["git", "status", "--porcelain", "--untracked-files=no"]);
    if changes.is_empty() {
        commit
    } else {
        format!("{commit} with local changes")
    }
}

fn machine() -> String {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value
            .map_or("unknown", |(_, value)| value.trim())
            .to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field(&read("/proc/meminfo"), "MemTotal");
    let kib: f64 = memory.trim_end_matches(" kB").parse().unwrap_or_default();
    let load = read("/proc/loadavg");
    format!(
        "{}, {cores} cores, {} GiB, Linux {}; load average before it began {}",
        field(&read("/proc/cpuinfo"), "model name"),
        number(kib / f64::from(1 << 20)),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or_default()
    )
}
