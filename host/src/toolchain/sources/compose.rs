//! Composes a component with others that satisfy its imports.
//!
//! Each part becomes an instance of its own within the result, which imports what is left: of the
//! component and of its parts.

use wac_graph::types::{Package, are_semver_compatible};
use wac_graph::{CompositionGraph, EncodeOptions, NodeId, PackageId};

/// A component that satisfies imports of another.
#[derive(Debug, Clone)]
pub struct Part {
    /// The import, or the package whose interfaces are meant: `a:b/c@1.0.0`, `a:b/c`, `a:b`.
    pub import: String,
    /// The export that satisfies it, where it is not named like the import.
    pub export: Option<String>,
    /// The component.
    pub bytes: Vec<u8>,
}

/// Components do not fit together.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// The bytes are not a component.
    #[error("{who} is not a component that can be composed: {why}")]
    NotAComponent {
        /// Which one.
        who: String,
        /// What is wrong with it.
        why: String,
    },
    /// The component does not import it.
    #[error("the component does not import {import}; what it imports: {imports}")]
    NoImport {
        /// What was to be satisfied.
        import: String,
        /// What could be.
        imports: String,
    },
    /// The dependency does not export it.
    #[error("the dependency for {import} does not export {export}; what it exports: {exports}")]
    NoExport {
        /// What was to be satisfied.
        import: String,
        /// What was to satisfy it.
        export: String,
        /// What could.
        exports: String,
    },
    /// Two dependencies are for one import.
    #[error("two dependencies are for {import}")]
    Twice {
        /// The import.
        import: String,
    },
    /// Import and export have one name and different types.
    #[error("the dependency's {export} does not satisfy {import}: {why}")]
    Incompatible {
        /// What was to be satisfied.
        import: String,
        /// What was to satisfy it.
        export: String,
        /// Where they differ.
        why: String,
    },
    /// The result is not a valid component.
    #[error("the composition is not valid: {why}")]
    Invalid {
        /// What is wrong with it.
        why: String,
    },
}

/// Composes `main` with `parts`. The result exports what `main` exports.
///
/// # Errors
///
/// A part does not satisfy what it is for.
pub fn compose(main: Vec<u8>, parts: &[Part]) -> Result<Vec<u8>, ComposeError> {
    let mut graph = CompositionGraph::new();
    let main = register(&mut graph, "the component", "main", main)?;
    let instance = graph.instantiate(main);
    let mut satisfied: Vec<String> = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let who = format!("the dependency for {}", part.import);
        let name = format!("part{index}");
        let package = register(&mut graph, &who, &name, part.bytes.clone())?;
        let part_instance = graph.instantiate(package);
        for Pair { import, export } in pairs(&graph, main, package, part)? {
            if satisfied.contains(&import) {
                return Err(ComposeError::Twice { import });
            }
            connect(&mut graph, (instance, &import), (part_instance, &export))?;
            satisfied.push(import);
        }
    }
    for export in exports(&graph, main) {
        let alias = graph.alias_instance_export(instance, &export);
        let alias = alias.map_err(|error| invalid(&error))?;
        graph
            .export(alias, &export)
            .map_err(|error| invalid(&error))?;
    }
    let encoded = graph.encode(EncodeOptions::default());
    encoded.map_err(|error| invalid(&error))
}

fn invalid(error: &dyn std::error::Error) -> ComposeError {
    ComposeError::Invalid {
        why: crate::telemetry::in_words(error),
    }
}

fn register(
    graph: &mut CompositionGraph,
    who: &str,
    name: &str,
    bytes: Vec<u8>,
) -> Result<PackageId, ComposeError> {
    // The package's name shows up in what tools print of the result.
    let package = Package::from_bytes(&format!("wharf:{name}"), None, bytes, graph.types_mut());
    let package = package.map_err(|error| ComposeError::NotAComponent {
        who: who.to_owned(),
        why: format!("{error:#}"),
    })?;
    graph
        .register_package(package)
        .map_err(|error| invalid(&error))
}

fn imports(graph: &CompositionGraph, package: PackageId) -> Vec<String> {
    let world = &graph.types()[graph[package].ty()];
    world.imports.keys().cloned().collect()
}

fn exports(graph: &CompositionGraph, package: PackageId) -> Vec<String> {
    let world = &graph.types()[graph[package].ty()];
    world.exports.keys().cloned().collect()
}

/// An import of the component, and the part's export that satisfies it.
struct Pair {
    import: String,
    export: String,
}

fn pairs(
    graph: &CompositionGraph,
    main: PackageId,
    package: PackageId,
    part: &Part,
) -> Result<Vec<Pair>, ComposeError> {
    let imports = imports(graph, main);
    let exports = exports(graph, package);
    let meant: Vec<&String> = imports
        .iter()
        .filter(|name| means(&part.import, name))
        .collect();
    if meant.is_empty() {
        return Err(ComposeError::NoImport {
            import: part.import.clone(),
            imports: imports.join(", "),
        });
    }
    let one = meant.len() == 1;
    let mut pairs = Vec::new();
    for import in meant {
        let found = match &part.export {
            Some(export) => exports.iter().find(|name| means(export, name)),
            None => exports
                .iter()
                .find(|name| are_semver_compatible(name, import)),
        };
        match found {
            Some(export) => pairs.push(Pair {
                import: import.clone(),
                export: export.clone(),
            }),
            // Of a whole package a part may have only some; the others stay imports.
            None if !one && part.export.is_none() => {}
            None => return Err(no_export(part, import, &exports)),
        }
    }
    if pairs.is_empty() {
        return Err(no_export(part, &part.import, &exports));
    }
    Ok(pairs)
}

fn no_export(part: &Part, import: &str, exports: &[String]) -> ComposeError {
    ComposeError::NoExport {
        import: import.to_owned(),
        export: part.export.clone().unwrap_or_else(|| import.to_owned()),
        exports: exports.join(", "),
    }
}

/// Whether `written` means the item `name`: exactly, without its version, or by its package alone.
fn means(written: &str, name: &str) -> bool {
    if written == name {
        return true;
    }
    let (path, version) = split_version(name);
    let (written_path, written_version) = split_version(written);
    let path_fits = written_path == path
        || (!written_path.contains('/')
            && path
                .split_once('/')
                .is_some_and(|(package, _)| package == written_path));
    let version_fits = match (written_version, version) {
        (None, _) => true,
        (Some(written), Some(version)) => {
            are_semver_compatible(&format!("{path}@{written}"), &format!("{path}@{version}"))
        }
        (Some(_), None) => false,
    };
    path_fits && version_fits
}

fn split_version(name: &str) -> (&str, Option<&str>) {
    match name.split_once('@') {
        Some((path, version)) => (path, Some(version)),
        None => (name, None),
    }
}

fn connect(
    graph: &mut CompositionGraph,
    (instance, import): (NodeId, &str),
    (part, export): (NodeId, &str),
) -> Result<(), ComposeError> {
    let alias = graph.alias_instance_export(part, export);
    let alias = alias.map_err(|error| invalid(&error))?;
    let connected = graph.set_instantiation_argument(instance, import, alias);
    connected.map_err(|error| ComposeError::Incompatible {
        import: import.to_owned(),
        export: export.to_owned(),
        why: crate::telemetry::in_words(&error),
    })
}
