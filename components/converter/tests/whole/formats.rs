//! Every format that the converter promises, from a made signal through ffmpeg's muxers to an MP3
//! and back, compared with the signal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::{self, Clip, JOB, Memory, correlation, decoded};

/// Converts, and checks the MP3 against the clip: length within 50 ms, correlation above 0.99 at a
/// shift of no more than `lag_max` samples. Gives the difference in samples and the worst shift.
fn check(clip: &Clip, file: Vec<u8>, name: &str, lag_max: i64) -> (i64, i64) {
    let memory = Memory::with_upload(file);
    let outcome = memory.run(name);
    assert!(
        matches!(outcome, Ok(converter::job::Outcome::Converted)),
        "{name}: {outcome:?}"
    );
    let mp3 = memory.mp3();
    let converted = memory.messages("media.converted");
    assert_eq!(converted.len(), 1);
    assert_eq!(converted[0]["blob"], format!("{JOB}.mp3"));
    assert_eq!(converted[0]["name"], name);
    assert_eq!(converted[0]["size_bytes"], mp3.len());
    let said = converted[0]["duration_seconds"].as_f64().unwrap();
    assert!(
        (said - clip.seconds()).abs() < 0.05,
        "{name}: {said} s of {}",
        clip.seconds()
    );

    let planes = decoded(&mp3, clip.planes.len().min(2));
    let difference = planes[0].len() as i64 - clip.frames() as i64;
    assert!(
        difference.abs() < i64::from(clip.rate) / 20,
        "{name}: {difference} samples too long"
    );
    let mut worst = 0;
    for (plane, source) in planes.iter().zip(&clip.planes) {
        let (alike, lag) = correlation(source, plane, lag_max);
        assert!(alike > 0.99, "{name}: correlation {alike} at {lag}");
        worst = if lag.abs() > i64::abs(worst) {
            lag
        } else {
            worst
        };
    }
    println!("{name}: {difference:+} samples, shifted by {worst}");
    (difference, worst)
}

fn stereo() -> Clip {
    Clip::new(44_100, 2, 44_100 * 4 + 777)
}

#[test]
fn wav_is_exact_to_the_sample() {
    for (rate, frames) in [
        (44_100, 44_100 * 3 + 1),
        (48_000, 100_000),
        (32_000, 1),
        (22_050, 5_000),
    ] {
        let clip = Clip::new(rate, 2, frames);
        let memory = Memory::with_upload(clip.wav());
        memory.run("a.wav").unwrap();
        assert_eq!(
            decoded(&memory.mp3(), 2)[0].len(),
            frames,
            "{frames} samples at {rate} Hz"
        );
        let said = memory.messages("media.converted")[0]["duration_seconds"]
            .as_f64()
            .unwrap();
        assert!((said - clip.seconds()).abs() < 1e-9);
    }
    assert_eq!(check(&stereo(), stereo().wav(), "clip.wav", 8), (0, 0));
    let mono = Clip::new(16_000, 1, 50_001);
    assert_eq!(check(&mono, mono.wav(), "mono.wav", 8), (0, 0));
}

#[test]
fn lossless_files_are_exact_to_the_sample() {
    let clip = stereo();
    assert_eq!(
        check(&clip, clip.packed("a.flac", "-c:a flac"), "a.flac", 8),
        (0, 0)
    );
    assert_eq!(
        check(&clip, clip.packed("a.m4a", "-c:a alac"), "alac.m4a", 8),
        (0, 0)
    );
    assert_eq!(check(&clip, clip.packed("a.aiff", ""), "a.aiff", 8), (0, 0));
    assert_eq!(
        check(&clip, clip.packed("a.caf", "-c:a pcm_s16be"), "a.caf", 8),
        (0, 0)
    );
    assert_eq!(
        check(
            &clip,
            clip.filmed("a.mov", "-c:v mpeg4 -c:a pcm_s16le"),
            "pcm.mov",
            8
        ),
        (0, 0)
    );
    assert_eq!(
        check(
            &clip,
            clip.filmed("a.mkv", "-c:v mpeg4 -c:a flac"),
            "flac.mkv",
            8
        ),
        (0, 0)
    );
}

#[test]
fn aac_in_mp4_has_its_edit_list_honoured() {
    let clip = stereo();
    let aac = "-c:v mpeg4 -c:a aac -b:a 192k";
    assert_eq!(
        check(&clip, clip.filmed("a.mp4", aac), "a.mp4", 2100),
        (0, 0)
    );
    let fast = format!("{aac} -movflags +faststart");
    assert_eq!(
        check(&clip, clip.filmed("a.mp4", &fast), "faststart.mp4", 2100),
        (0, 0)
    );
    assert_eq!(
        check(&clip, clip.filmed("a.mov", aac), "a.mov", 2100),
        (0, 0)
    );
    assert_eq!(
        check(
            &clip,
            clip.packed("a.m4a", "-c:a aac -b:a 192k"),
            "a.m4a",
            2100
        ),
        (0, 0)
    );
    let fragments = format!("{aac} -g 5 -movflags +frag_keyframe+empty_moov");
    let delayed = clip.filmed("a.mp4", &format!("{fragments}+delay_moov"));
    let (longer, shift) = check(&clip, delayed, "fragmented.mp4", 2100);
    assert!(longer < 1024 && shift == 0, "{longer} {shift}");
    // Without the edit list nothing in the file tells the priming from the sound.
    let (_, shift) = check(
        &clip,
        clip.filmed("a.mp4", &fragments),
        "no-edits.mp4",
        2100,
    );
    assert!(shift <= 1024, "{shift}");
    let mono = Clip::new(48_000, 1, 150_000);
    assert_eq!(
        check(&mono, mono.filmed("m.mp4", aac), "mono.mp4", 2100),
        (0, 0)
    );
}

#[test]
fn a_cut_in_the_edit_list_is_cut() {
    let clip = Clip::new(48_000, 2, 48_000 * 5);
    // Copying from the middle keeps the packets around it and says in the edit list what counts.
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("all.m4a"), clip.packed("a.m4a", "-c:a aac -b:a 192k")).unwrap();
    support::ffmpeg(&[
        "-ss",
        "1.5",
        "-i",
        &path("all.m4a"),
        "-t",
        "2",
        "-c",
        "copy",
        &path("cut.m4a"),
    ]);
    let planes = clip
        .planes
        .iter()
        .map(|plane| plane[72_000..168_000].to_vec())
        .collect();
    let expected = Clip {
        rate: 48_000,
        planes,
    };
    let (_, shift) = check(
        &expected,
        std::fs::read(path("cut.m4a")).unwrap(),
        "cut.m4a",
        1100,
    );
    assert!(shift.abs() <= 1024, "ffmpeg cuts at packets: {shift}");
}

#[test]
fn matroska_and_webm_are_trimmed_at_both_ends() {
    let clip = Clip::new(48_000, 2, 48_000 * 4 + 777);
    let webm = clip.filmed("a.webm", "-c:v libvpx -c:a libopus -b:a 192k");
    let (longer, shift) = check(&clip, webm, "opus.webm", 700);
    assert!(longer.abs() <= 48 && shift.abs() <= 1, "{longer} {shift}");
    let (_, shift) = check(
        &clip,
        clip.filmed("a.mkv", "-c:v mpeg4 -c:a libvorbis -q:a 6"),
        "vorbis.mkv",
        700,
    );
    assert!(shift.abs() <= 1, "{shift}");
    let (_, shift) = check(
        &clip,
        clip.filmed("a.mkv", "-c:v mpeg4 -c:a aac -b:a 192k"),
        "aac.mkv",
        2100,
    );
    assert!(shift.abs() <= 1024, "{shift}");
    let (_, shift) = check(
        &clip,
        clip.filmed("a.mkv", "-c:v mpeg4 -c:a libmp3lame -b:a 192k"),
        "mp3.mkv",
        2400,
    );
    assert!(shift.abs() <= 1200, "{shift}");
}

#[test]
fn ogg_and_opus() {
    let clip = Clip::new(48_000, 2, 48_000 * 4 + 777);
    assert_eq!(
        check(
            &clip,
            clip.packed("a.ogg", "-c:a libvorbis -q:a 6"),
            "vorbis.ogg",
            700
        ),
        (0, 0)
    );
    assert_eq!(
        check(
            &clip,
            clip.packed("a.opus", "-c:a libopus -b:a 192k"),
            "a.opus",
            700
        ),
        (0, 0)
    );
    assert_eq!(
        check(
            &clip,
            clip.packed("a.ogg", "-c:a flac -f ogg"),
            "flac.ogg",
            700
        ),
        (0, 0)
    );
    let mp4 = clip.packed("a.mp4", "-c:a libopus -b:a 192k -strict -2");
    assert_eq!(check(&clip, mp4, "opus.mp4", 700), (0, 0));
    let mono = Clip::new(48_000, 1, 100_001);
    assert_eq!(
        check(
            &mono,
            mono.packed("a.opus", "-c:a libopus -b:a 96k"),
            "mono.opus",
            700
        ),
        (0, 0)
    );
}

#[test]
fn mp3_by_itself_and_in_mp4() {
    let clip = stereo();
    let (longer, shift) = check(
        &clip,
        clip.packed("a.mp3", "-c:a libmp3lame -b:a 192k"),
        "a.mp3",
        1200,
    );
    assert!(longer == 0 && shift == 0, "{longer} {shift}");
    let (longer, shift) = check(
        &clip,
        clip.filmed("a.mp4", "-c:v mpeg4 -c:a libmp3lame -b:a 192k"),
        "mp3.mp4",
        1200,
    );
    assert!(longer.abs() <= 1152 && shift.abs() <= 1, "{longer} {shift}");
    check(
        &clip,
        clip.packed("a.aac", "-c:a aac -b:a 192k"),
        "adts.aac",
        2100,
    );
}

#[test]
fn rates_that_an_mp3_cannot_have_are_resampled() {
    for rate in [96_000, 88_200, 6_000] {
        let clip = Clip::new(rate, 2, rate as usize * 2);
        let memory = Memory::with_upload(clip.wav());
        memory.run("a.wav").unwrap();
        let target = converter::resample::target_rate(rate);
        let expected = Clip::new(target, 2, target as usize * 2);
        let planes = decoded(&memory.mp3(), 2);
        assert_eq!(planes[0].len(), expected.frames());
        let (alike, lag) = correlation(&expected.planes[0], &planes[0], 4);
        assert!(alike > 0.99 && lag == 0, "{rate}: {alike} {lag}");
    }
}

#[test]
fn more_than_two_channels_are_mixed_down() {
    let clip = Clip::new(48_000, 6, 100_000);
    for (name, arguments) in [
        ("a.flac", "-c:a flac"),
        ("a.ogg", "-c:a libvorbis -q:a 8"),
        ("a.opus", "-c:a libopus -b:a 400k -mapping_family 1"),
    ] {
        let memory =
            Memory::with_upload(clip.packed(name, &format!("-channel_layout 5.1 {arguments}")));
        memory.run(name).unwrap();
        let planes = decoded(&memory.mp3(), 2);
        // 5.1 in a WAVE file is L R C LFE Ls Rs.
        for (side, plane) in planes.iter().enumerate() {
            let mixed: Vec<f32> = (0..clip.frames())
                .map(|i| {
                    clip.planes[side][i] + 0.707 * (clip.planes[2][i] + clip.planes[4 + side][i])
                })
                .collect();
            let (alike, lag) = correlation(&mixed, plane, 4);
            assert!(
                alike > 0.99 && lag == 0,
                "{name} side {side}: {alike} {lag}"
            );
        }
    }
}

#[test]
fn variable_bitrate_and_low_bitrates() {
    let clip = stereo();
    for quality in ["v2", "v9", "64k", "320k"] {
        let memory = Memory::with_upload(clip.wav());
        memory.run_at("a.wav", quality).unwrap();
        assert_eq!(
            decoded(&memory.mp3(), 2)[0].len(),
            clip.frames(),
            "{quality}"
        );
    }
}

#[test]
fn tags_come_from_the_source_or_the_name() {
    let clip = Clip::new(44_100, 2, 44_100);
    let tagged = clip.packed(
        "a.m4a",
        "-c:a aac -metadata title=Über -metadata artist=Somebody -metadata track=3",
    );
    for (file, name, texts) in [
        (
            tagged,
            "x.m4a",
            vec![
                "TIT2\0\0\0\x06\0\0\x03Über",
                "TPE1\0\0\0\x09\0\0\x03Somebody",
                "TRCK",
            ],
        ),
        (
            clip.wav(),
            "My holiday.wav",
            vec!["TIT2\0\0\0\x0b\0\0\x03My holiday"],
        ),
    ] {
        let memory = Memory::with_upload(file);
        memory.run(name).unwrap();
        let mp3 = memory.mp3();
        for text in texts {
            assert!(
                mp3[..400]
                    .windows(text.len())
                    .any(|window| window == text.as_bytes()),
                "{name}: {text:?}"
            );
        }
    }
}

#[test]
fn most_of_a_video_is_never_fetched() {
    let clip = Clip::new(44_100, 2, 44_100 * 2);
    let raw = "-c:v rawvideo -pix_fmt yuv420p -vf scale=1280:960 -c:a aac";
    let film = clip.filmed("a.mov", raw);
    let fetched = Arc::new(AtomicU64::new(0));
    let reader = support::Counting {
        bytes: film.clone(),
        fetched: Arc::clone(&fetched),
    };
    let (mut input, _) = converter::input::Input::open(reader, "a.mov").unwrap();
    let mut sound = converter::mix::Sound::default();
    while input.next(&mut sound).unwrap() {}
    let (fetched, all) = (fetched.load(Ordering::Relaxed), film.len() as u64);
    assert!(fetched < all / 2, "{fetched} of {all} bytes");
}
