//! What can be told from an artifact's bytes without compiling them.

use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentType, ComponentTypeDeclaration, Encoding,
    InstanceTypeDeclaration, Parser, Payload,
};

/// A component's outline.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// It uses the component model's asynchronous features, and so needs an engine with concurrency
    /// support: WASI 0.3 interfaces, functions whose type is `async`, or that are lifted or lowered
    /// with `async`.
    pub concurrent: bool,
    /// The names of what it imports, in their order.
    pub imports: Vec<String>,
    /// The names of what it exports, in their order.
    pub exports: Vec<String>,
}

/// Reads a component's outline. It takes about a millisecond for each megabyte.
///
/// # Errors
///
/// The bytes are not a component, or end too early.
pub fn shape(bytes: &[u8]) -> Result<Shape, ShapeError> {
    let mut shape = Shape::default();
    // Components and modules within it have their own imports, which are not its own.
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(ShapeError::Module);
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) => {
                for import in imports {
                    let name = import?.name.name;
                    shape.concurrent |= is_wasi_0_3(name);
                    if depth == 0 {
                        shape.imports.push(name.to_owned());
                    }
                }
            }
            Payload::ComponentExportSection(exports) => {
                for export in exports {
                    let name = export?.name.name;
                    shape.concurrent |= is_wasi_0_3(name);
                    if depth == 0 {
                        shape.exports.push(name.to_owned());
                    }
                }
            }
            Payload::ComponentTypeSection(types) => {
                for ty in types {
                    shape.concurrent |= has_async(&ty?);
                }
            }
            Payload::ComponentCanonicalSection(functions) => {
                for function in functions {
                    shape.concurrent |= is_async(&function?);
                }
            }
            _ => {}
        }
    }
    Ok(shape)
}

/// Why bytes have no outline.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// They are a core module.
    #[error("it is a core module; build it for wasm32-wasip2")]
    Module,
    /// They are no WebAssembly.
    #[error("it is not valid WebAssembly")]
    Invalid(#[from] wasmparser::BinaryReaderError),
}

/// A component's WIT, as text.
///
/// # Errors
///
/// The bytes are not a component whose types have a form in WIT.
pub fn wit(bytes: &[u8]) -> anyhow::Result<String> {
    let decoded = wit_component::decode(bytes)?;
    let mut printer = wit_component::WitPrinter::default();
    printer.print(decoded.resolve(), decoded.package(), &[])?;
    Ok(printer.output.to_string())
}

/// A component's WIT as text, with every interface spelled out that is not a standard's, in the order
/// of their packages' names. Of standard interfaces the world names the versions, which say all.
///
/// # Errors
///
/// The bytes are not a component whose types have a form in WIT.
pub fn whole_wit(bytes: &[u8]) -> anyhow::Result<String> {
    let decoded = wit_component::decode(bytes)?;
    let resolve = decoded.resolve();
    let mut packages: Vec<_> = resolve.packages.iter().collect();
    packages.retain(|(id, package)| {
        let standard = matches!(package.name.namespace.as_str(), "wasi" | "wasmcloud");
        *id != decoded.package() && !standard
    });
    packages.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    let packages: Vec<_> = packages.into_iter().map(|(id, _)| id).collect();
    let mut printer = wit_component::WitPrinter::default();
    printer.print(resolve, decoded.package(), &packages)?;
    Ok(printer.output.to_string())
}

fn is_wasi_0_3(name: &str) -> bool {
    name.starts_with("wasi:") && name.contains("@0.3.")
}

/// Whether a type is, or names, that of a function which is `async`: such a type needs the engine's
/// support even where the function is called as any other.
fn has_async(ty: &ComponentType<'_>) -> bool {
    match ty {
        ComponentType::Func(function) => function.async_,
        ComponentType::Instance(declarations) => declarations.iter().any(|declaration| {
            matches!(declaration, InstanceTypeDeclaration::Type(ty) if has_async(ty))
        }),
        ComponentType::Component(declarations) => declarations.iter().any(|declaration| {
            matches!(declaration, ComponentTypeDeclaration::Type(ty) if has_async(ty))
        }),
        ComponentType::Defined(_) | ComponentType::Resource { .. } => false,
    }
}

fn is_async(function: &CanonicalFunction) -> bool {
    match function {
        CanonicalFunction::Lift { options, .. } | CanonicalFunction::Lower { options, .. } => {
            options
                .iter()
                .any(|option| matches!(option, CanonicalOption::Async))
        }
        CanonicalFunction::ResourceNew { .. }
        | CanonicalFunction::ResourceDrop { .. }
        | CanonicalFunction::ResourceRep { .. } => false,
        // Everything else that is canonical belongs to tasks, streams, futures and threads.
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_component_have_no_shape() {
        assert!(matches!(shape(b"\0asm\x01\0\0\0"), Err(ShapeError::Module)));
        assert!(matches!(
            shape(b"not wasm at all"),
            Err(ShapeError::Invalid(_))
        ));
        assert_eq!(
            shape(b"\0asm\x0d\0\x01\0").expect("an empty component"),
            Shape::default()
        );
    }

    #[test]
    fn a_type_that_is_async_needs_concurrency_wherever_it_stands() {
        // One type: a function without parameters and results, by itself and within an instance's.
        let function = |kind| vec![1, kind, 0, 1, 0];
        let instance = |kind| vec![1, 0x42, 1, 1, kind, 0, 1, 0];
        let concurrent = |types: Vec<u8>| {
            let mut bytes = b"\0asm\x0d\0\x01\0\x07".to_vec();
            bytes.push(types.len() as u8);
            bytes.extend(types);
            shape(&bytes).expect("a component").concurrent
        };
        const PLAIN: u8 = 0x40;
        const ASYNC: u8 = 0x43;
        assert!(!concurrent(function(PLAIN)));
        assert!(!concurrent(instance(PLAIN)));
        assert!(concurrent(function(ASYNC)));
        assert!(concurrent(instance(ASYNC)));
    }
}
