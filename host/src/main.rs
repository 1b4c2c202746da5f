//! The `wharf` program: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    wharf::cli::run()
}
