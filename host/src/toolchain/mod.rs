//! Makes components: fetches them or builds them, sets up what building needs, and says what a machine
//! lacks.
//!
//! ```text
//! build: fresh? --yes--> nothing to do
//!           `--no--> Rust target, C compiler --> the component's own command --> stamp
//! ```
//!
//! It stands beside the manifest's model and knows nothing of running components. It runs the command
//! that a component's manifest names, in an environment that makes the result the same on every
//! machine, and refuses to guess how a component is built. Everything blocks: it is for the command
//! line, before a host runs.

mod build;
mod c_compiler;
mod debian_target;
mod doctor;
mod environment;
mod freshness;
mod new;
mod progress;
mod resolved;
mod rust;
mod sources;
mod system;
mod tool;
mod watch;

pub use build::{BuildError, Built, build};
pub use doctor::{Finding, State, doctor};
pub use freshness::needs_build;
pub use new::{NewError, Template, Written, new};
pub use progress::{Console, Progress, Silent};
pub use sources::{
    Access, ComposeError, Part, ProvideError, Pulled, Pushed, SourceError, component, compose,
    provide, provide_file, provide_one, pull, push_application, push_file,
};
pub use system::System;
pub use tool::{Found, Tool, ensure, test_tools};
pub use watch::{Changes, Stopper, WatchError, Watcher};

/// Something that a build needs is not there, and could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A program is missing and is not Wharf's to install here.
    #[error("{what} is missing: {why}\nTo get it, run:\n  {fix}")]
    Missing {
        /// What is missing.
        what: &'static str,
        /// What cannot be done without it.
        why: &'static str,
        /// The commands that bring it.
        fix: String,
    },
    /// A step of the set-up failed.
    #[error("{step} failed:\n{output}\nTo do it by hand, run:\n  {fix}")]
    Step {
        /// The step, as it was shown.
        step: String,
        /// The end of what its command wrote.
        output: String,
        /// The command that does the same.
        fix: String,
    },
    /// A command could not be run, or did not end in time.
    #[error("{step}: cannot be done")]
    Io {
        /// The step, as it was shown.
        step: String,
        /// What happened.
        source: std::io::Error,
    },
}
