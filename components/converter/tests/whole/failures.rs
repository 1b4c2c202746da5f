//! What the converter says about files that it cannot convert, in the user's words.

use converter::failure::Failure;
use converter::job::Outcome;

use crate::support::{Clip, Memory};

/// The sentence that `media.failed` carries; the job must end in one and leave nothing behind.
fn sentence(file: Vec<u8>, name: &str) -> String {
    let memory = Memory::with_upload(file);
    let outcome = memory.run(name);
    assert!(
        matches!(outcome, Ok(Outcome::Failed(_))),
        "{name}: {outcome:?}"
    );
    let failed = memory.messages("media.failed");
    assert_eq!(failed.len(), 1, "{name}");
    assert_eq!(failed[0]["name"], name);
    assert!(memory.messages("media.converted").is_empty());
    assert!(
        memory.results.borrow().is_empty(),
        "{name} leaves something behind"
    );
    failed[0]["error"].as_str().unwrap().to_owned()
}

fn clip() -> Clip {
    Clip::new(44_100, 2, 44_100 * 3)
}

/// Bytes without any structure, the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 24) as u8
    };
    (0..len).map(byte).collect()
}

#[test]
fn what_is_not_media() {
    let not_media = Failure::NotMedia.to_string();
    assert_eq!(not_media, "This file is not a media file that we can read.");
    let text = b"Dear reader, this is a letter.\n".repeat(20_000);
    let mut picture = b"\x89PNG\r\n\x1a\n".to_vec();
    picture.extend(noise(300_000));
    let mut avi = b"RIFF\xff\xff\0\0AVI LIST".to_vec();
    avi.extend(noise(100_000));
    for (file, name) in [
        (text, "letter.txt"),
        (noise(500_000), "noise.mp4"),
        (picture, "picture.png"),
        (avi, "old.avi"),
        (Vec::new(), "empty.mp4"),
        (b"RIFF".to_vec(), "short.wav"),
        (vec![0; 100_000], "zeros.mp3"),
        (
            b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec(),
            "nothing-but-a-type.mp4",
        ),
    ] {
        assert_eq!(sentence(file, name), not_media, "{name}");
    }
}

#[test]
fn what_has_no_audio() {
    let picture = "-f lavfi -i testsrc=size=64x64:rate=10:duration=1 -map 1:v";
    for (name, codec) in [
        ("a.mp4", "mpeg4"),
        ("a.mkv", "mpeg4"),
        ("a.webm", "libvpx"),
        ("a.mov", "mpeg4"),
    ] {
        let film = clip().packed(name, &format!("{picture} -c:v {codec}"));
        assert_eq!(sentence(film, name), "This file has no audio track.");
    }
}

#[test]
fn what_is_not_supported_is_named() {
    let surround = Clip::new(48_000, 6, 48_000);
    let aac = "-channel_layout 5.1 -c:a aac";
    let expected = "The audio format is not supported: AAC with 6 channels.";
    assert_eq!(sentence(surround.packed("a.mp4", aac), "a.mp4"), expected);
    assert_eq!(sentence(surround.packed("a.mkv", aac), "a.mkv"), expected);
    for (name, arguments, format) in [
        ("ac3.mp4", "-c:a ac3", "AC-3 (Dolby Digital)"),
        ("ac3.mkv", "-c:a ac3", "AC-3 (Dolby Digital)"),
        ("eac3.mp4", "-c:a eac3", "E-AC-3 (Dolby Digital Plus)"),
        ("tta.mka", "-c:a tta", "TTA"),
        ("dts.mkv", "-c:a dca -strict -2", "DTS"),
        ("speex.ogg", "-c:a libspeex -ar 32000", "Speex"),
    ] {
        let said = sentence(clip().packed(name, arguments), name);
        let expected = format!("The audio format is not supported: {format}.");
        assert_eq!(said, expected, "{name}");
    }
}

#[test]
fn what_ends_early() {
    let truncated = "The file ends early: it seems to be truncated.";
    let clip = clip();
    let film = "-c:v mpeg4 -c:a aac";
    let files = [
        ("moov-last.mp4", clip.filmed("a.mp4", film)),
        (
            "moov-first.mp4",
            clip.filmed("a.mp4", &format!("{film} -movflags +faststart")),
        ),
        (
            "fragments.mp4",
            clip.filmed(
                "a.mp4",
                &format!("{film} -g 5 -movflags +frag_keyframe+empty_moov"),
            ),
        ),
        ("a.mkv", clip.filmed("a.mkv", "-c:v mpeg4 -c:a aac")),
        ("a.webm", clip.filmed("a.webm", "-c:v libvpx -c:a libopus")),
        ("a.wav", clip.wav()),
        ("a.flac", clip.packed("a.flac", "-c:a flac")),
        ("a.ogg", clip.packed("a.ogg", "-c:a libvorbis")),
        ("a.opus", clip.packed("a.opus", "-c:a libopus")),
        ("a.mp3", clip.packed("a.mp3", "-c:a libmp3lame")),
        ("alac.m4a", clip.packed("a.m4a", "-c:a alac")),
        ("a.aiff", clip.packed("a.aiff", "")),
        ("a.caf", clip.packed("a.caf", "")),
    ];
    for (name, file) in files {
        for percent in [70, 40] {
            let mut cut = file.clone();
            cut.truncate(file.len() * percent / 100);
            assert_eq!(sentence(cut, name), truncated, "{percent} % of {name}");
        }
    }
}

#[test]
fn damage_in_the_middle_is_passed_over_in_time() {
    let clip = Clip::new(44_100, 2, 44_100 * 6);
    for (name, mut file) in [
        ("a.m4a", clip.packed("a.m4a", "-c:a aac -b:a 192k")),
        ("a.mp3", clip.packed("a.mp3", "-c:a libmp3lame -b:a 192k")),
        ("a.flac", clip.packed("a.flac", "-c:a flac")),
        ("a.ogg", clip.packed("a.ogg", "-c:a libvorbis")),
    ] {
        let middle = file.len() / 2;
        file[middle..middle + 3000].copy_from_slice(&noise(3000));
        let memory = Memory::with_upload(file);
        assert_eq!(memory.run(name).unwrap(), Outcome::Converted, "{name}");
        let said = memory.messages("media.converted")[0]["duration_seconds"]
            .as_f64()
            .unwrap();
        assert!((said - clip.seconds()).abs() < 0.4, "{name}: {said}");
    }
}

#[test]
fn too_much_damage_is_damage() {
    let mut file = clip().packed("a.m4a", "-c:a aac -b:a 192k");
    let mdat = file
        .windows(4)
        .position(|window| window == b"mdat")
        .unwrap()
        + 4;
    let moov = file
        .windows(4)
        .position(|window| window == b"moov")
        .unwrap()
        - 4;
    let junk = noise(moov - mdat);
    file[mdat..moov].copy_from_slice(&junk);
    let said = sentence(file, "a.m4a");
    assert_eq!(
        said,
        "The audio of this file is damaged: too much of it cannot be decoded."
    );
}

#[test]
fn no_file_makes_it_panic() {
    let clip = Clip::new(44_100, 2, 20_000);
    let files = [
        clip.filmed("a.mp4", "-c:v mpeg4 -c:a aac"),
        clip.filmed("a.webm", "-c:v libvpx -c:a libopus"),
        clip.packed("a.ogg", "-c:a libvorbis"),
        clip.packed("a.flac", "-c:a flac"),
        clip.packed("a.mp3", "-c:a libmp3lame"),
        clip.wav(),
    ];
    let junk = noise(4096);
    for (which, file) in files.iter().enumerate() {
        for round in 0..40 {
            let mut broken = file.clone();
            for hit in 0..=round % 5 {
                let byte = usize::from(junk[round * 11 + hit]) << 8
                    | usize::from(junk[round * 7 + hit + 1]);
                // Headers are where damage is worst, so half of the hits go there.
                let span = if hit % 2 == 0 {
                    600.min(broken.len())
                } else {
                    broken.len()
                };
                broken[byte % span] = junk[round * 13 + hit];
            }
            let memory = Memory::with_upload(broken);
            let outcome =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| memory.run("a")));
            assert!(outcome.is_ok(), "file {which}, round {round}");
        }
    }
}
