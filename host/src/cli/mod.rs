//! The command line: one file for each command.

mod apply;
mod build;
mod check;
mod doctor;
mod export;
mod inspect;
mod new;
mod operator;
mod ps;
mod pull;
mod push;
mod revisions;
mod rollback;
mod rollouts;
mod schema;
mod secret;
mod serve;
mod sources;
mod streams;
mod supplies;
mod swap;
mod up;
mod watch;
mod watch_screen;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs applications made of WebAssembly components.
///
/// Without any installation, `wharf up` in a checkout builds the media application, runs it on
/// embedded defaults and says where it listens.
#[derive(Parser)]
#[command(name = "wharf", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    New(new::New),
    Up(up::Up),
    /// Runs an application and swaps in what is saved: `wharf up --watch`.
    Dev(up::Up),
    Serve(Box<serve::Serve>),
    Ps(ps::Ps),
    Swap(swap::Swap),
    Rollback(rollback::Rollback),
    Revisions(revisions::Revisions),
    Rollouts(rollouts::Rollouts),
    Apply(apply::Apply),
    Streams(streams::Streams),
    Build(build::Build),
    Push(push::Push),
    Pull(pull::Pull),
    Check(check::Check),
    Export(export::Export),
    Inspect(inspect::Inspect),
    Doctor(doctor::Doctor),
    Setup(doctor::Setup),
    Secret(secret::Secret),
    Schema(schema::Schema),
}

/// Runs the command that the process's arguments name. Errors are printed with all their causes.
pub fn run() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::New(new) => new.run(),
        Command::Up(up) => up.run(),
        Command::Dev(up) => up.watching().run(),
        Command::Serve(serve) => serve.run(),
        Command::Ps(ps) => ps.run(),
        Command::Swap(swap) => swap.run(),
        Command::Rollback(rollback) => rollback.run(),
        Command::Revisions(revisions) => revisions.run(),
        Command::Rollouts(rollouts) => rollouts.run(),
        Command::Apply(apply) => apply.run(),
        Command::Streams(streams) => streams.run(),
        Command::Build(build) => build.run(),
        Command::Push(push) => push.run(),
        Command::Pull(pull) => pull.run(),
        Command::Check(check) => check.run(),
        Command::Export(export) => export.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Setup(setup) => setup.run(),
        Command::Secret(secret) => secret.run(),
        Command::Schema(schema) => schema.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The manifest that commands take where none is named.
const MANIFEST: &str = "runtime-config/media.toml";
