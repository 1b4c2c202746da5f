//! The page in a real browser: sign up, upload, see progress, play, download, and the error for a
//! file that is not a video.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::{artifacts, root};
use crate::media::{App, source};

/// Installs the driver exactly as the lock file has it, once.
fn driver() -> std::path::PathBuf {
    let dir = root().join("tests/browser");
    let installed = dir.join("node_modules/.package-lock.json");
    let lock = dir.join("package-lock.json");
    let modified = |path: &Path| {
        std::fs::metadata(path)
            .and_then(|data| data.modified())
            .ok()
    };
    if modified(&installed) < modified(&lock) {
        let mut command = Command::new("npm");
        command
            .args(["ci", "--no-audit", "--no-fund"])
            .current_dir(&dir);
        artifacts::run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    }
    dir.join("media.mjs")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_signs_up_uploads_listens_and_downloads() {
    artifacts::tools();
    let script = driver();
    let app = App::shared().await;
    let files = artifacts::output("browser-files");
    let clip = files.join("holiday.mp4");
    let not_media = files.join("shopping-list.mp4");
    std::fs::write(&clip, source()).unwrap();
    std::fs::write(
        &not_media,
        "bread, butter, and no video at all\n".repeat(100),
    )
    .unwrap();
    let long = files.join("concert.flac");
    std::fs::write(&long, crate::media::long(240)).unwrap();
    let mut command = tokio::process::Command::new("node");
    command
        .arg(script)
        .arg(format!("http://{}/", app.host.http))
        .arg(artifacts::output("screenshots"))
        .args([&clip, &long, &not_media])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let limit = std::time::Duration::from_secs(240);
    let output = tokio::time::timeout(limit, command.output()).await;
    let output = output
        .expect("the browser ends in time")
        .expect("node is installed");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    let downloaded = artifacts::output("screenshots").join("holiday.mp3");
    let sound = crate::media::Sound::decode(&std::fs::read(downloaded).unwrap());
    crate::media::Sound::decode(&source()).assert_same(&sound, "what the browser downloaded");
}
