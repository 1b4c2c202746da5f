//! A conversion by the real application, against native ffmpeg with the same encoder at the same
//! bitrate, in turns.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::app::{User, log_in};
use super::harness::{Client, artifacts, scratch};
use super::process::{Announces, Server, cpu_seconds_of, output_of};
use super::settings::Settings;
use super::start;
use super::table::{Aim, Row, Spread, Table, number};

/// How often the job is looked at: seldom enough that looking costs nothing beside converting.
const POLL: Duration = Duration::from_millis(250);

/// More than any machine takes for a minute of sound.
const LIMIT_PER_MINUTE: Duration = Duration::from_secs(60);

/// One conversion by the application.
struct Conversion {
    cpu_seconds: f64,
    elapsed: Duration,
    peak_mib: f64,
}

pub fn measure(settings: &Settings, table: &mut Table) {
    let figure = format!(
        "{} minutes of stereo AAC in mp4 to MP3, 192 kbit/s",
        settings.minutes
    );
    if let Err(why) = output_of(Command::new("ffmpeg").arg("-version")) {
        let why = format!("no ffmpeg to make the sample and to compare with: {why}");
        table.skip(&figure, "`wharf up`, the media application", &why);
        return;
    }
    let sample = sample(settings.minutes);
    let (mut ours, mut native) = (Vec::new(), Vec::new());
    for _ in 0..settings.conversions {
        ours.push(by_wharf(&sample, settings.minutes));
        native.push(by_ffmpeg(&sample));
    }
    let cpu = Spread::of(ours.iter().map(|each| each.cpu_seconds));
    let native = Spread::of(native);
    let elapsed = Spread::of(ours.iter().map(|each| each.elapsed.as_secs_f64()));
    let beside = format!(
        "{} s from the upload's first byte to `done`",
        number(elapsed.median())
    );
    let of = "`wharf up`: host's process, from upload to `done`";
    table.add(Row::new(&figure, of, &cpu, "s CPU").beside(beside).ratio(
        &cpu,
        &native,
        "native",
        Some(Aim(1.5)),
    ));
    let of = "`ffmpeg -vn -c:a libmp3lame -b:a 192k`";
    table.add(Row::new(&figure, of, &native, "s CPU"));
    let peak = Spread::of(ours.iter().map(|each| each.peak_mib));
    let beside = "VmHWM of the whole host; the converter's own memory is limited to 64 MiB";
    table.add(
        Row::new(
            "peak memory while converting it",
            "`wharf up`",
            &peak,
            "MiB",
        )
        .beside(beside),
    );
}

/// Noise and tones in two channels that differ: LAME finds no shortcut in it. Made once.
fn sample(minutes: u32) -> PathBuf {
    let dir = artifacts::output("samples");
    let path = dir.join(format!("bench-{minutes}-minutes.mp4"));
    if path.is_file() {
        return path;
    }
    let unfinished = dir.join(format!("unfinished-bench-{minutes}-minutes.mp4"));
    let noise =
        |seed: u32| format!("anoisesrc=color=pink:sample_rate=44100:amplitude=0.4:seed={seed}");
    let graph = "[0]tremolo=f=3:d=0.8[l0];[1]tremolo=f=5:d=0.8[r0];\
                 [2]volume=2[l1];[3]volume=2[r1];\
                 [l0][l1]amix=2[l];[r0][r1]amix=2[r];[l][r]join=inputs=2:channel_layout=stereo";
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-loglevel", "error", "-y"]);
    for source in [
        noise(1),
        noise(2),
        "sine=frequency=220:beep_factor=4:sample_rate=44100".to_owned(),
        "sine=frequency=330:beep_factor=3:sample_rate=44100".to_owned(),
    ] {
        command.args(["-f", "lavfi", "-i", &source]);
    }
    command
        .args(["-filter_complex", graph, "-t", &(minutes * 60).to_string()])
        .args(["-c:a", "aac", "-b:a", "160k"])
        .arg(&unfinished);
    artifacts::run(&mut command).unwrap_or_else(|error| panic!("{error}"));
    std::fs::rename(&unfinished, &path).expect("it is in the same directory");
    path
}

/// Seconds of user and system time.
fn by_ffmpeg(sample: &Path) -> f64 {
    let out = scratch();
    let mut command = Command::new("ffmpeg");
    command
        .args(["-nostdin", "-loglevel", "error", "-y", "-i"])
        .arg(sample)
        .args(["-vn", "-c:a", "libmp3lame", "-b:a", "192k"])
        .arg(out.path().join("native.mp3"))
        .stdin(Stdio::null());
    cpu_seconds_of(&mut command)
}

/// A new host converts it, as a user would have it: over its HTTP interface.
fn by_wharf(sample: &Path, minutes: u32) -> Conversion {
    let state = scratch();
    let manifest = artifacts::application();
    let server = || Server::start(&mut start::up(&manifest, &state), Announces::Json, None);
    // Compiling the components takes more memory than converting: the first start is for it alone.
    drop(server());
    let server = server();
    let bytes = std::fs::read(sample).expect("ffmpeg wrote it");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a thread can have a runtime");
    runtime.block_on(async {
        let user = somebody(Client::http1(server.address)).await;
        let (cpu_seconds, start) = (server.cpu_seconds(), Instant::now());
        let job = user.upload("bench.mp4", &bytes).await;
        let job = loop {
            tokio::time::sleep(POLL).await;
            let job = user.job(&job).await;
            if matches!(job["state"].as_str(), Some("done" | "failed")) {
                break job;
            }
            let limit = LIMIT_PER_MINUTE * minutes;
            assert!(start.elapsed() < limit, "not within {limit:?}: {job}");
        };
        assert_eq!(job["state"], "done", "{job}");
        Conversion {
            cpu_seconds: server.cpu_seconds() - cpu_seconds,
            elapsed: start.elapsed(),
            peak_mib: server.memory_mib("VmHWM:"),
        }
    })
}

/// Registers and logs in.
async fn somebody(client: Client) -> User {
    let (email, password) = ("bench@example.com", "a long passphrase of the bench");
    let body = serde_json::json!({ "email": email, "password": password }).to_string();
    client.post("/register", body).await.expect(201);
    let reply = log_in(&client, email, password).await.expect(200);
    let token = reply.json()["token"].as_str().expect("a token").to_owned();
    User {
        client,
        email: email.to_owned(),
        password: password.to_owned(),
        token,
    }
}
