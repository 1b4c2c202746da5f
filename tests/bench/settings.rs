//! What the command line chooses: sections, how often, how long.

use std::str::FromStr;
use std::time::Duration;

/// Printed where an option is wrong.
pub const USAGE: &str = "\
cargo bench -p wharf-tests -- [OPTIONS]
  --only SECTIONS    of serve,calls,convert,start,rollout,streams,chaos; all by default
  --rounds N         alternating runs of each contender, and starts of each kind [5]
  --seconds S        length of one run under load [4]
  --connections N    connections of the load [32]
  --conversions N    alternating conversions by the application and by ffmpeg [3]
  --minutes M        length of the sound that is converted [10]
  --swaps N          swaps of the soak, and of the look at memory [1000]
  --messages N       messages that a run of `streams` works off [20000]
  --storm N          messages that survive the storm of `chaos` [10000]";

/// A part of the table.
#[derive(Clone, Copy, PartialEq)]
pub enum Section {
    Serve,
    Calls,
    Convert,
    Start,
    Rollout,
    Streams,
    Chaos,
}

impl FromStr for Section {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "serve" => Ok(Self::Serve),
            "calls" => Ok(Self::Calls),
            "convert" => Ok(Self::Convert),
            "start" => Ok(Self::Start),
            "rollout" => Ok(Self::Rollout),
            "streams" => Ok(Self::Streams),
            "chaos" => Ok(Self::Chaos),
            _ => Err(format!("there is no section {text:?}")),
        }
    }
}

/// How the bench was asked to run.
pub struct Settings {
    pub sections: Vec<Section>,
    pub rounds: usize,
    pub run: Duration,
    pub connections: usize,
    pub conversions: usize,
    pub minutes: u32,
    pub swaps: usize,
    pub messages: u32,
    pub storm: u32,
    /// The options as they were given.
    pub arguments: String,
}

impl Settings {
    /// # Errors
    ///
    /// What is wrong, in a sentence.
    pub fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        // Cargo tells every bench that it is one.
        let arguments: Vec<String> = arguments.filter(|each| each != "--bench").collect();
        let mut settings = Self {
            sections: vec![
                Section::Serve,
                Section::Calls,
                Section::Convert,
                Section::Start,
                Section::Rollout,
                Section::Streams,
                Section::Chaos,
            ],
            rounds: 5,
            run: Duration::from_secs(4),
            connections: 32,
            conversions: 3,
            minutes: 10,
            swaps: 1000,
            messages: 20_000,
            storm: 10_000,
            arguments: arguments.join(" "),
        };
        let mut rest = arguments.into_iter();
        while let Some(option) = rest.next() {
            let value = rest.next().ok_or(format!("{option} has no value"))?;
            settings.set(&option, &value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, option: &str, value: &str) -> Result<(), String> {
        match option {
            "--only" => {
                let sections: Result<Vec<Section>, String> =
                    value.split(',').map(str::parse).collect();
                self.sections = sections?;
            }
            "--rounds" => self.rounds = count(option, value)?,
            "--seconds" => {
                let seconds = value.parse().ok().filter(|seconds| *seconds >= 0.1);
                let seconds = seconds.ok_or(format!("{option} {value}: at least 0.1"))?;
                self.run = Duration::try_from_secs_f64(seconds)
                    .map_err(|error| format!("{option} {value}: {error}"))?;
            }
            "--connections" => self.connections = count(option, value)?,
            "--conversions" => self.conversions = count(option, value)?,
            "--swaps" => {
                let swaps: u32 = count(option, value)?;
                self.swaps = swaps as usize;
            }
            "--messages" => self.messages = count(option, value)?,
            "--storm" => self.storm = count(option, value)?,
            "--minutes" => self.minutes = count(option, value)?,
            _ => return Err(format!("there is no option {option}")),
        }
        Ok(())
    }
}

fn count<N: FromStr + PartialOrd + From<u8>>(option: &str, value: &str) -> Result<N, String> {
    let number = value.parse().ok().filter(|number| *number >= N::from(1));
    number.ok_or(format!("{option} {value}: a whole number from 1"))
}
