//! The gateway: the single entry point of the media application.
//!
//! Every public path is its own. It serves the page, takes uploads into the blob store, keeps the
//! job records, tells callers how their jobs go, hands out results, and passes account requests on to
//! auth. It never looks inside a file and never sees a password's meaning.
//!
//! ```text
//! browser ──HTTP──▶ gateway ──media.uploaded──▶ converter
//!                      ▲  ◀── progress, converted, failed ──┘
//!                      ├── identity.verify, /login ... ──▶ auth
//!                      └── notices.recent ──▶ notifier
//! ```
//!
//! The modules beside this one are plain Rust, tested natively; `glue` joins them to the interfaces
//! of the component's world.

pub mod assets;
pub mod bearer;
pub mod filename;
pub mod form;
pub mod id;
pub mod job;
pub mod message;
pub mod multipart;
pub mod range;
pub mod route;
pub mod size;
pub mod time;

pub mod glue;

#[allow(
    missing_docs,
    unsafe_code,
    clippy::all,
    reason = "generated from wit/, which carries the documentation"
)]
mod bindings {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "gateway",
        generate_all,
    });

    // A native linker does not take the exports' names.
    #[cfg(target_family = "wasm")]
    export!(Gateway);
    #[cfg(target_family = "wasm")]
    use crate::glue::Gateway;
}
