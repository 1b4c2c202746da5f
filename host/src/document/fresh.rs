//! Keeps the committed JSON schemas equal to what the code generates.

use std::path::Path;

/// Fails where `runtime-config/NAME` is not `schema`; writes it instead where the environment has
/// `WHARF_WRITE_SCHEMAS=1`.
pub(crate) fn assert_schema_is_fresh(name: &str, schema: &serde_json::Value) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("runtime-config").join(name);
    let text = serde_json::to_string_pretty(schema).unwrap() + "\n";
    if std::env::var("WHARF_WRITE_SCHEMAS").is_ok_and(|write| write == "1") {
        std::fs::write(&path, &text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "runtime-config/{name} is stale; `WHARF_WRITE_SCHEMAS=1 cargo test -p wharf --lib schema` \
         rewrites it"
    );
}
