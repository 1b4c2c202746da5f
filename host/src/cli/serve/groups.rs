//! The keys of `wasmtime serve` 48, and what each does here.

use anyhow::bail;

use super::asked::Asked;
use super::setting::Does::{Always, Never, Nothing, Set};
use super::setting::{Does, Group, Known, Setting};

const fn known(key: &'static str, does: Does) -> Known {
    Known { key, does }
}

/// A key that sets one number of the bounds.
macro_rules! bound {
    ($field:ident) => {
        Set(|asked: &mut Asked, setting: &Setting<'_>| {
            asked.ambient.bounds.$field = Some(setting.number()?);
            Ok(())
        })
    };
}

/// A key that switches one of the sockets' abilities.
macro_rules! socket {
    ($field:ident) => {
        Set(|asked: &mut Asked, setting: &Setting<'_>| {
            asked.ambient.sockets.$field = Some(setting.flag()?);
            Ok(())
        })
    };
}

const COMPONENTS_ONLY: &str =
    "components do not take sockets from outside; say where to listen with --addr";

/// `-S`: WASI.
pub const WASI: Group = Group {
    letter: 'S',
    others: None,
    known: &[
        // All of WASI is there, with or without it.
        known("cli", Set(|_, setting| setting.flag().map(drop))),
        known("common", Set(|_, setting| setting.flag().map(drop))),
        known("http", Always),
        known("p3", Always),
        known("config", Set(|_, setting| setting.flag().map(drop))),
        known("config-var", Set(config_var)),
        known("keyvalue", Set(keyvalue)),
        known("keyvalue-in-memory-data", Set(keyvalue_data)),
        known("inherit-env", Set(inherit_env)),
        known("inherit-network", Set(inherit_network)),
        known("allow-ip-name-lookup", socket!(names)),
        known("tcp", socket!(tcp)),
        known("udp", socket!(udp)),
        known("cwd", Set(cwd)),
        known("max-resources", bound!(resources_max)),
        known("max-component-handles", bound!(handles_max)),
        known("max-random-size", bound!(random_bytes_max)),
        known("max-http-fields-size", bound!(fields_bytes_max)),
        known("hostcall-fuel", bound!(hostcall_fuel)),
        known("http-outgoing-body-buffer-chunks", Set(body_pieces)),
        known("http-outgoing-body-chunk-size", bound!(body_piece_bytes)),
        known("inherit-stdin", Nothing),
        known("inherit-stdout", Nothing),
        known("inherit-stderr", Nothing),
        known("cli-exit-with-code", Nothing),
        known("preview0", Nothing),
        known("preview2", Nothing),
        known(
            "nn",
            Never("Wharf has no wasi:nn; run this component with wasmtime"),
        ),
        known("nn-graph", Never("Wharf has no wasi:nn; leave it out")),
        known(
            "tls",
            Never("Wharf has no wasi:tls; outbound HTTPS needs none"),
        ),
        known(
            "threads",
            Never("there are no wasi-threads for components; leave it out"),
        ),
        known("listenfd", Never(COMPONENTS_ONLY)),
        known("tcplisten", Never(COMPONENTS_ONLY)),
        known(
            "network-error-code",
            Never("Wharf does not have this unstable function; leave it out"),
        ),
    ],
};

fn config_var(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    asked.variables.extend([setting.pair()?]);
    Ok(())
}

fn keyvalue(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    asked.keyvalue = setting.flag()?;
    Ok(())
}

fn keyvalue_data(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    asked.ambient.keyvalue_data.extend([setting.pair()?]);
    Ok(())
}

fn inherit_env(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    asked.inherit_env = setting.flag()?;
    Ok(())
}

fn inherit_network(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    asked.ambient.sockets.every_address = setting.flag()?;
    Ok(())
}

fn cwd(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    asked.ambient.working_directory = Some(setting.text()?.to_owned());
    Ok(())
}

fn body_pieces(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    let pieces = setting.number()?;
    if pieces == 0 {
        bail!("-S http-outgoing-body-buffer-chunks is at least 1");
    }
    asked.ambient.bounds.body_pieces = Some(pieces);
    Ok(())
}

const ENGINE: &str = "Wharf's engines do not have this switch; leave it out";

/// `-W`: how WebAssembly is run.
pub const WASM: Group = Group {
    letter: 'W',
    others: None,
    known: &[
        known("timeout", Set(timeout)),
        known("max-memory-size", Set(memory)),
        known("max-table-elements", bound!(table_elements_max)),
        known("max-instances", bound!(instances_max)),
        known("max-tables", bound!(tables_max)),
        known("max-memories", bound!(memories_max)),
        known("trap-on-grow-failure", Set(growth)),
        known("epoch-interruption", Always),
        known("component-model", Always),
        known("component-model-async", Always),
        known("concurrency-support", Always),
        known("bulk-memory", Always),
        known("multi-memory", Always),
        known("multi-value", Always),
        known("reference-types", Always),
        known("simd", Always),
        known("relaxed-simd", Always),
        known("tail-call", Always),
        known("memory64", Always),
        known("extended-const", Always),
        known("unknown-exports-allow", Nothing),
        known("unknown-imports-trap", Nothing),
        known("unknown-imports-default", Nothing),
        known(
            "fuel",
            Never("Wharf counts time, not instructions; bound a request with -W timeout=5s"),
        ),
        known("nan-canonicalization", Never(ENGINE)),
        known("max-wasm-stack", Never(ENGINE)),
        known("async-stack-size", Never(ENGINE)),
        known("async-stack-zeroing", Never(ENGINE)),
        known("wmemcheck", Never(ENGINE)),
        known("all-proposals", Never(ENGINE)),
        known("relaxed-simd-deterministic", Never(ENGINE)),
        known("threads", Never(ENGINE)),
        known("shared-memory", Never(ENGINE)),
        known("shared-everything-threads", Never(ENGINE)),
        known("component-model-more-async-builtins", Never(ENGINE)),
        known("component-model-async-stackful", Never(ENGINE)),
        known("component-model-threading", Never(ENGINE)),
        known("component-model-error-context", Never(ENGINE)),
        known("component-model-gc", Never(ENGINE)),
        known("component-model-map", Never(ENGINE)),
        known("component-model-memory64", Never(ENGINE)),
        known("component-model-fixed-length-lists", Never(ENGINE)),
        known("component-model-implements", Never(ENGINE)),
        known("function-references", Never(ENGINE)),
        known("stack-switching", Never(ENGINE)),
        known("gc", Never(ENGINE)),
        known("gc-support", Never(ENGINE)),
        known("custom-page-sizes", Never(ENGINE)),
        known("wide-arithmetic", Never(ENGINE)),
        known("branch-hinting", Never(ENGINE)),
        known("exceptions", Never(ENGINE)),
    ],
};

fn timeout(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    asked.timeout = Some(setting.span()?);
    Ok(())
}

fn memory(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    asked.memory_bytes_max = Some(setting.number()?);
    Ok(())
}

fn growth(asked: &mut Asked, setting: &Setting<'_>) -> anyhow::Result<()> {
    asked.ambient.bounds.growth_traps = setting.flag()?;
    Ok(())
}

/// `-O`: optimisation.
pub const OPTIMIZE: Group = Group {
    letter: 'O',
    others: Some("Wharf tunes its engines by itself; leave -O out"),
    known: &[
        known("pooling-allocator", Always),
        known("memory-init-cow", Always),
        known("table-lazy-init", Always),
    ],
};

/// `-C`: code generation.
pub const CODEGEN: Group = Group {
    letter: 'C',
    others: Some("Wharf compiles with Cranelift, as it is; leave -C out"),
    known: &[
        known("cache", Always),
        known("parallel-compilation", Always),
    ],
};

/// `-D`: debugging.
pub const DEBUG: Group = Group {
    letter: 'D',
    others: Some(
        "Wharf does not debug components; leave -D out, and set WHARF_LOG=debug for more log lines",
    ),
    known: &[],
};

/// `-R`: recording.
pub const RECORD: Group = Group {
    letter: 'R',
    others: Some("Wharf does not record what components do; leave -R out"),
    known: &[],
};
