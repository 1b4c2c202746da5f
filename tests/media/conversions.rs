//! Every format that the application takes becomes an MP3 of the same length and sound; what it does
//! not take fails with a sentence.

use super::samples::SECONDS;
use super::sound::Sound;
use super::{App, Sample, User};

async fn converts(sample: Sample) {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let bytes = sample.bytes();
    let (job, mp3) = user.convert(sample.name, &bytes).await;
    assert_eq!(job["name"], sample.name);
    assert_eq!(job["progress"], 1.0);
    assert_eq!(job["size_bytes"], bytes.len());
    let duration = job["duration_seconds"].as_f64().expect("a duration");
    assert!(
        (duration - sample.seconds).abs() <= 0.1,
        "{}: {duration} s",
        sample.name
    );
    assert_mp3(&mp3, sample.name);
    Sound::decode(&bytes).assert_same(&Sound::decode(&mp3), sample.name);
}

/// It starts like an MP3 with a Xing or Info header that LAME wrote, perhaps behind an ID3 tag.
fn assert_mp3(bytes: &[u8], name: &str) {
    let start = &bytes[..bytes.len().min(8192)];
    let has = |word: &[u8]| start.windows(word.len()).any(|window| window == word);
    assert!(
        start.starts_with(b"ID3") || start[0] == 0xff,
        "{name}: not an MP3"
    );
    assert!(has(b"Xing") || has(b"Info"), "{name}: no Xing header");
    assert!(has(b"LAME"), "{name}: no LAME tag, so no gapless playback");
}

macro_rules! converts {
    ($($name:ident: $sample:expr,)+) => {
        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            converts($sample).await;
        })+
    };
}

converts! {
    mp4_with_aac_and_its_index_at_the_end:
        Sample::video("clip.mp4", "-c:v mpeg4 -c:a aac -b:a 160k"),
    mp4_with_its_index_in_front:
        Sample::video("fast.mp4", "-c:v mpeg4 -c:a aac -b:a 160k -movflags +faststart"),
    mp4_in_fragments:
        Sample::video(
            "fragments.mp4",
            "-c:v mpeg4 -c:a aac -b:a 160k -movflags +frag_keyframe+empty_moov+default_base_moof",
        ),
    mov_with_pcm:
        Sample::video("clip.mov", "-c:v mpeg4 -c:a pcm_s16le"),
    m4a_with_alac:
        Sample::sound("clip.m4a", "-c:a alac"),
    mp4_with_mp3:
        Sample::video("mp3.mp4", "-c:v mpeg4 -c:a libmp3lame -b:a 192k"),
    mkv_with_aac:
        Sample::video("aac.mkv", "-c:v mpeg4 -c:a aac -b:a 160k"),
    mkv_with_vorbis:
        Sample::video("vorbis.mkv", "-c:v mpeg4 -c:a libvorbis -q:a 6"),
    webm_with_opus:
        Sample {
            rate: 48_000,
            ..Sample::video("clip.webm", "-c:v libvpx -deadline realtime -c:a libopus -b:a 128k")
        },
    ogg_with_vorbis:
        Sample::sound("clip.ogg", "-c:a libvorbis -q:a 6"),
    ogg_with_opus:
        Sample { rate: 48_000, ..Sample::sound("clip.opus", "-c:a libopus -b:a 128k") },
    flac:
        Sample::sound("clip.flac", "-c:a flac"),
    wav:
        Sample::sound("clip.wav", "-c:a pcm_s16le"),
    mp3:
        Sample::sound("clip.mp3", "-c:a libmp3lame -b:a 192k"),
    mono:
        Sample { channels: 1, ..Sample::sound("mono.wav", "-c:a pcm_s16le") },
    a_rate_that_mp3_does_not_have:
        Sample { rate: 96_000, ..Sample::sound("high.wav", "-c:a pcm_s24le") },
    a_low_rate:
        Sample { rate: 11_025, ..Sample::sound("low.wav", "-c:a pcm_s16le") },
    more_channels_are_mixed_down:
        Sample::sound("surround.flac", "-af pan=5.1|FL=c0|FR=c1|FC=0*c0|LFE=0*c0|BL=0*c0|BR=0*c1 -ac 6 -c:a flac"),
}

async fn fails(name: &str, bytes: &[u8], words: &[&str]) {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let why = user.failure(name, bytes).await;
    let lower = why.to_lowercase();
    for word in words {
        assert!(
            lower.contains(&word.to_lowercase()),
            "{name}: no {word:?} in {why:?}"
        );
    }
    // A sentence for a person, not a dump.
    assert!(
        why.len() < 200 && !why.contains("Error") && !why.contains('{'),
        "{name}: {why}"
    );
    assert!(!why.contains('\n'), "{name}: {why}");
    let id = user.jobs().await[0]["id"].as_str().unwrap().to_owned();
    let refused = user.get(&format!("/download?fid={id}")).await;
    assert_eq!(refused.status, 404, "{name}: nothing to download");
    assert!(
        app.host.metrics().await.sum("wharf_traps_total", &[]) == 0.0,
        "{name}: a trap"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_media_fails_with_a_sentence() {
    fails(
        "notes.mp4",
        "just a text, whatever its name says. "
            .repeat(500)
            .as_bytes(),
        &[],
    )
    .await;
    let noise: Vec<u8> = (0..100_000_u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    fails("noise.mkv", &noise, &[]).await;
    fails("tiny.wav", b"R", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_without_sound_fails_with_a_sentence() {
    let silent = Sample::video("silent.mp4", "-map 1:v -c:v mpeg4");
    fails("silent.mp4", &silent.bytes(), &["audio"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_files_fail_with_a_sentence() {
    let whole = super::source();
    fails("truncated.mp4", &whole[..whole.len() / 2], &[]).await;
    let fast = Sample::video(
        "fast.mp4",
        "-c:v mpeg4 -c:a aac -b:a 160k -movflags +faststart",
    );
    let fast = fast.bytes();
    fails("truncated-fast.mp4", &fast[..fast.len() / 2], &[]).await;
    let flac = Sample::sound("clip.flac", "-c:a flac").bytes();
    fails("truncated.flac", &flac[..flac.len() / 2], &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aac_with_six_channels_is_named_as_not_supported() {
    let surround = Sample::video(
        "surround.mp4",
        "-af pan=5.1|FL=c0|FR=c1|FC=c0|LFE=c0|BL=c0|BR=c1 -ac 6 -c:v mpeg4 -c:a aac",
    );
    fails(
        "surround.mp4",
        &surround.bytes(),
        &["not supported", "AAC", "6 channels"],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_codec_is_named_as_not_supported() {
    let ac3 = Sample::video("ac3.mkv", "-c:v mpeg4 -c:a ac3");
    fails("ac3.mkv", &ac3.bytes(), &["not supported"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_final_and_told_once() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let id = user
        .upload("notes.txt", b"not media at all, only words")
        .await;
    let job = user.settled(&id).await;
    assert_eq!(job["state"], "failed");
    let notices = crate::harness::eventually(
        "the notice",
        std::time::Duration::from_secs(20),
        async || {
            let notices = user.notices_of(&id).await;
            (!notices.is_empty()).then_some(notices)
        },
    )
    .await;
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0]["outcome"], "failed");
    let metrics = app.host.metrics().await;
    assert_eq!(metrics.sum("wharf_dead_letters_total", &[]), 0.0);
    assert_eq!(
        metrics.sum("wharf_retries_total", &[("subject", "media.uploaded")]),
        0.0,
        "what can never succeed is not retried"
    );
}

#[test]
fn the_usual_sample_is_as_long_as_it_says() {
    let sound = Sound::decode(&super::source());
    assert!(
        (sound.seconds() - SECONDS).abs() < 0.1,
        "{}",
        sound.seconds()
    );
}
