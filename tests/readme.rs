//! What the README shows does what it says there.

use crate::harness::{Launch, Manifest, root};

const COMPONENT: &str = "\
[component.readme]
artifact = \"{readme.wasm}\"
[[route]]
path = \"/...\"
component = \"readme\"
";

/// The text of the README's first block of Rust.
fn shown() -> String {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let (_, rest) = readme.split_once("```rust\n// src/lib.rs\n").unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_component_that_it_shows_is_built_and_answers() {
    let source = root().join("tests/fixtures/readme/src/lib.rs");
    let built = std::fs::read_to_string(source).unwrap();
    let (_, built) = built
        .split_once("#![cfg(target_family = \"wasm\")]\n\n")
        .unwrap();
    assert_eq!(
        shown(),
        built,
        "the fixture `readme` is what the README shows"
    );
    let host = Launch::of(&Manifest::new(COMPONENT)).start().await;
    let answer = host.client().get("/").await.expect(200);
    assert_eq!(answer.text(), "hello\n");
}
