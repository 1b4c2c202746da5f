//! Makes components of core modules for WASI 0.1, with the published adapters.

use wasi_preview1_component_adapter_provider::{
    WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER,
    WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
};
use wasmparser::{ExternalKind, Parser, Payload};
use wit_component::ComponentEncoder;

use super::error::SourceError;
use crate::manifest::model::Source;

/// What the entry point of a command is called, in WASI 0.1.
const COMMAND_EXPORT: &str = "_start";

/// `bytes` as they are where they are a component, or a component made of the module that they are.
/// What it exports is what the module's own WIT says (wit-bindgen writes it into a section), or
/// `wasi:cli/run` where it is a command.
///
/// # Errors
///
/// [`SourceError::WrongKind`] and [`SourceError::Module`].
pub(super) fn component(bytes: Vec<u8>, source: &Source) -> Result<Vec<u8>, SourceError> {
    if Parser::is_component(&bytes) {
        return Ok(bytes);
    }
    if !Parser::is_core_wasm(&bytes) {
        return Err(SourceError::WrongKind {
            from: source.to_string(),
            what: "neither a WebAssembly component nor a module".to_owned(),
        });
    }
    encode(&bytes).map_err(|why| SourceError::Module {
        from: source.to_string(),
        why,
    })
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let adapter = if is_command(module)? {
        WASI_SNAPSHOT_PREVIEW1_COMMAND_ADAPTER
    } else {
        WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER
    };
    let encoded = ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter(WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME, adapter))
        .and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| format!("{error:#}"))
}

fn is_command(module: &[u8]) -> Result<bool, String> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(exports) = payload.map_err(|error| error.to_string())? {
            for export in exports {
                let export = export.map_err(|error| error.to_string())?;
                if export.name == COMMAND_EXPORT && export.kind == ExternalKind::Func {
                    return Ok(true);
                }
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::shape;

    /// A module that exports a function without parameters and results under `name`.
    fn module(name: &str) -> Vec<u8> {
        let mut bytes =
            b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x05\x03\x01\0\x01".to_vec();
        let exports = [
            &[2, name.len() as u8][..],
            name.as_bytes(),
            b"\0\0\x06memory\x02\0",
        ]
        .concat();
        bytes.extend([7, exports.len() as u8]);
        bytes.extend(exports);
        bytes.extend(b"\x0a\x04\x01\x02\0\x0b");
        bytes
    }

    fn file() -> Source {
        Source::Path("a.wasm".into())
    }

    #[test]
    fn a_command_becomes_a_component_that_can_be_run() {
        let made = component(module("_start"), &file()).unwrap();
        let shape = shape(&made).unwrap();
        let run = shape
            .exports
            .iter()
            .any(|export| export.starts_with("wasi:cli/run@0.2."));
        assert!(run, "{shape:?}");
    }

    #[test]
    fn a_reactor_becomes_a_component_and_a_component_stays_one() {
        let made = component(module("helper"), &file()).unwrap();
        assert!(shape(&made).unwrap().exports.is_empty());
        assert_eq!(component(made.clone(), &file()).unwrap(), made);
    }

    #[test]
    fn what_is_no_wasm_is_named() {
        let error = component(b"<html>".to_vec(), &file()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.wasm is neither a WebAssembly component nor a module"
        );
        // An import that no adapter has.
        let foreign = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x02\x09\x01\x03env\x01f\0\0".to_vec();
        let error = component(foreign, &file()).unwrap_err();
        assert!(
            matches!(&error, SourceError::Module { why, .. } if why.contains("env")),
            "{error}"
        );
    }
}
