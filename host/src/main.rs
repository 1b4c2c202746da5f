//! The `wharf` program: everything is in the library.

use std::process::ExitCode;

/// A request allocates some hundred times: with the system's allocator it costs a twentieth more.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    wharf::cli::run()
}
