//! `wharf up --watch`: what is saved serves, and what is no good does not.
//!
//! The component here is built by sed: its source is a script of edits to the artifact of a guest. So
//! a build takes no time, has errors of its own, and can make something that is no component.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::harness::manifest::Scratch;
use crate::harness::{Host, Launch, eventually, guest, scratch};

/// Longer than a build, a compile and a swap take on a machine that does other things.
const WITHIN: Duration = Duration::from_secs(60);

/// What the guest answers to paths that it does not know, and edits of it of the same length.
const FIRST: &str = "no such path in hello";
const SECOND: &str = "answers from an edit!";
const THIRD: &str = "and from another one!";

fn edit(answer: &str) -> String {
    assert_eq!(answer.len(), FIRST.len());
    format!("s/{FIRST}/{answer}/\n")
}

/// An application of one component, with its source.
struct Project {
    dir: Scratch,
}

impl Project {
    fn new() -> Self {
        let project = Self { dir: scratch() };
        std::fs::create_dir_all(project.path("src")).unwrap();
        std::fs::create_dir_all(project.path("built")).unwrap();
        std::fs::copy(guest("hello"), project.path("base.wasm")).unwrap();
        project.save("src/edits.sed", "");
        project.save("application.toml", &manifest(""));
        project
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn save(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    async fn up(&self) -> Host {
        let manifest = self.path("application.toml");
        Launch::at(&manifest).argument("--watch").start().await
    }
}

fn manifest(more: &str) -> String {
    format!(
        "[application]\nname = \"watched\"\n\n\
         [component.edited]\nartifact = \"built/edited.wasm\"\n\
         build = {{ workdir = \"src\", command = \"LC_ALL=C sed -f edits.sed ../base.wasm > ../built/new && mv ../built/new ../built/edited.wasm\" }}\n\
         {more}\n\
         [[route]]\npath = \"/...\"\ncomponent = \"edited\"\n"
    )
}

async fn answer(host: &Host, path: &str) -> String {
    host.client().get(path).await.text()
}

async fn answers(host: &Host, path: &str, wanted: &str) {
    let what = format!("{path} is answered with {wanted:?}");
    eventually(&what, WITHIN, async || {
        (answer(host, path).await == wanted).then_some(())
    })
    .await;
}

async fn shows(host: &Host, wanted: &str) {
    let what = format!("{wanted:?} is shown");
    eventually(&what, WITHIN, async || {
        host.log().contains(wanted).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_saved_source_is_built_and_swapped_in() {
    let project = Project::new();
    let host = project.up().await;
    assert_eq!(answer(&host, "/greeting").await, FIRST);
    shows(&host, "watching").await;
    for edited in [SECOND, THIRD, FIRST] {
        let script = if edited == FIRST {
            String::new()
        } else {
            edit(edited)
        };
        let saved = Instant::now();
        project.save("src/edits.sed", &script);
        answers(&host, "/greeting", edited).await;
        println!("{:?} from the save to the first answer", saved.elapsed());
    }
    shows(&host, "edits.sed was saved, building ...").await;
    shows(&host, "serves after").await;
}

#[tokio::test]
async fn a_build_error_is_shown_and_the_earlier_revision_serves_on() {
    let project = Project::new();
    let host = project.up().await;
    shows(&host, "watching").await;
    project.save("src/edits.sed", "this is no edit\n");
    // In sed's own words.
    shows(&host, "sed: file edits.sed line 1").await;
    shows(&host, "still serves").await;
    assert_eq!(answer(&host, "/greeting").await, FIRST);
    project.save("src/edits.sed", &edit(SECOND));
    answers(&host, "/greeting", SECOND).await;
}

#[tokio::test]
async fn a_candidate_that_is_refused_is_shown_with_its_reason() {
    let project = Project::new();
    let host = project.up().await;
    shows(&host, "watching").await;
    // It begins with other bytes than WebAssembly does.
    project.save("src/edits.sed", "1s/^.asm/wasm!/\n");
    shows(&host, "still serves").await;
    shows(&host, "magic number").await;
    assert_eq!(answer(&host, "/greeting").await, FIRST);
}

#[tokio::test]
async fn what_is_saved_during_a_build_makes_one_more() {
    let project = Project::new();
    let host = project.up().await;
    shows(&host, "watching").await;
    for round in 0..20 {
        let text = edit(if round % 2 == 0 { SECOND } else { THIRD });
        project.save("src/edits.sed", &text);
        // Some of these come while the one before is built.
        answer(&host, "/greeting").await;
    }
    answers(&host, "/greeting", THIRD).await;
}

#[tokio::test]
async fn a_saved_manifest_is_applied_and_a_wrong_one_changes_nothing() {
    let project = Project::new();
    let host = project.up().await;
    shows(&host, "watching").await;
    let colour = |value: &str| manifest(&format!("environment = {{ COLOUR = \"{value}\" }}\n"));
    project.save("application.toml", &colour("blue"));
    answers(&host, "/env?name=COLOUR", "blue").await;
    project.save("application.toml", &manifest("colour = \"green\"\n"));
    shows(&host, "component.edited.colour").await;
    shows(&host, "nothing changes").await;
    assert_eq!(answer(&host, "/env?name=COLOUR").await, "blue");
    project.save("application.toml", &colour("green"));
    answers(&host, "/env?name=COLOUR", "green").await;
}

#[tokio::test]
async fn an_artifact_that_others_build_is_swapped_in_when_it_changes() {
    let project = Project::new();
    let text = manifest("");
    let (before, after) = text.split_once("build = ").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    project.save("application.toml", &format!("{before}{after}"));
    std::fs::copy(guest("hello"), project.path("built/edited.wasm")).unwrap();
    let host = project.up().await;
    shows(&host, "watching").await;
    let base = std::fs::read(guest("hello")).unwrap();
    let at = base
        .windows(FIRST.len())
        .position(|window| window == FIRST.as_bytes())
        .unwrap();
    let mut edited = base.clone();
    edited[at..at + FIRST.len()].copy_from_slice(SECOND.as_bytes());
    std::fs::write(project.path("built/new"), &edited).unwrap();
    std::fs::rename(project.path("built/new"), project.path("built/edited.wasm")).unwrap();
    answers(&host, "/greeting", SECOND).await;
}
