//! What people call an audio format, for the sentence that says that it is not supported.

use symphonia::core::codecs::audio::{AudioCodecParameters, well_known::*};

/// The name of what these parameters describe, such as `AAC with 6 channels`.
pub fn of_params(params: &AudioCodecParameters) -> String {
    if params.codec == CODEC_ID_AAC {
        return aac(params);
    }
    let name = match params.codec {
        CODEC_ID_AC3 => "AC-3 (Dolby Digital)",
        CODEC_ID_EAC3 => "E-AC-3 (Dolby Digital Plus)",
        CODEC_ID_AC4 => "AC-4",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_TRUEHD => "Dolby TrueHD",
        CODEC_ID_WMA => "Windows Media Audio",
        CODEC_ID_SPEEX => "Speex",
        CODEC_ID_MUSEPACK => "Musepack",
        CODEC_ID_WAVPACK => "WavPack",
        CODEC_ID_TTA => "TTA",
        CODEC_ID_OPUS => "Opus",
        CODEC_ID_VORBIS => "Vorbis",
        CODEC_ID_FLAC => "FLAC",
        CODEC_ID_ALAC => "ALAC",
        CODEC_ID_MP1 | CODEC_ID_MP2 | CODEC_ID_MP3 => "MPEG audio",
        _ => "an unknown codec",
    };
    let channels = params
        .channels
        .as_ref()
        .map_or(0, |channels| channels.count());
    with_channels(name, channels as u64)
}

/// The name behind the four characters of an MP4 sample entry.
pub fn of_mp4(format: [u8; 4]) -> String {
    let name = match &format {
        b"mp4a" => "AAC",
        b"ac-3" => "AC-3 (Dolby Digital)",
        b"ec-3" => "E-AC-3 (Dolby Digital Plus)",
        b"ac-4" => "AC-4",
        b"dtsc" | b"dtsh" | b"dtsl" | b"dtse" => "DTS",
        b"mlpa" => "Dolby TrueHD",
        b"samr" | b"sawb" => "AMR",
        b"enca" => "encrypted audio",
        b"mha1" | b"mhm1" => "MPEG-H",
        b"QDM2" | b"QDMC" => "QDesign Music",
        _ => return printable(&String::from_utf8_lossy(&format)),
    };
    name.to_owned()
}

/// The name behind a Matroska codec identifier.
pub fn of_mkv(codec: &str, channels: u64) -> String {
    let name = match codec {
        _ if codec.starts_with("A_AAC") => "AAC",
        _ if codec.starts_with("A_AC3") => "AC-3 (Dolby Digital)",
        _ if codec.starts_with("A_EAC3") => "E-AC-3 (Dolby Digital Plus)",
        _ if codec.starts_with("A_DTS") => "DTS",
        _ if codec.starts_with("A_TRUEHD") => "Dolby TrueHD",
        "A_WAVPACK4" => "WavPack",
        "A_TTA1" => "TTA",
        _ => return printable(codec.strip_prefix("A_").unwrap_or(codec)),
    };
    with_channels(name, channels)
}

fn with_channels(name: &str, channels: u64) -> String {
    if channels > 2 {
        format!("{name} with {channels} channels")
    } else {
        name.to_owned()
    }
}

/// A name that came out of the file, fit to be shown.
fn printable(name: &str) -> String {
    let clean: String = name
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .take(24)
        .collect();
    if clean.trim().is_empty() {
        "an unknown codec".to_owned()
    } else {
        clean.trim().to_owned()
    }
}

/// The flavour and channels of AAC, from the AudioSpecificConfig (ISO/IEC 14496-3, 1.6.2.1).
fn aac(params: &AudioCodecParameters) -> String {
    let config = params.extra_data.as_deref().unwrap_or_default();
    let bits = config
        .iter()
        .take(8)
        .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte))
        .checked_shl(8 * (8 - config.len().min(8) as u32))
        .unwrap_or(0);
    let take = |from: u32, len: u32| (bits >> (64 - from - len)) & ((1 << len) - 1);
    let (object, mut at) = match take(0, 5) {
        31 => (32 + take(5, 6), 11),
        object => (object, 5),
    };
    at += if take(at, 4) == 15 { 28 } else { 4 };
    let channels = match take(at, 4) {
        0 => params
            .channels
            .as_ref()
            .map_or(0, |channels| channels.count() as u64),
        7 => 8,
        count => count,
    };
    let name = match object {
        1 => "AAC Main",
        3 => "AAC-SSR",
        4 => "AAC-LTP",
        5 => "HE-AAC",
        29 => "HE-AAC version 2",
        23 => "AAC-LD",
        39 => "AAC-ELD",
        42 => "xHE-AAC",
        _ => "AAC",
    };
    with_channels(name, channels)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aac_named(config: &[u8]) -> String {
        let mut params = AudioCodecParameters::new();
        params
            .for_codec(CODEC_ID_AAC)
            .with_extra_data(config.into());
        of_params(&params)
    }

    #[test]
    fn aac_by_its_configuration() {
        assert_eq!(aac_named(&[0x12, 0x10]), "AAC");
        assert_eq!(aac_named(&[0x11, 0xb0]), "AAC with 6 channels");
        assert_eq!(aac_named(&[0x2b, 0x92, 0x08, 0x00]), "HE-AAC");
        assert_eq!(aac_named(&[]), "AAC");
    }

    #[test]
    fn names_out_of_files_are_cleaned() {
        assert_eq!(of_mp4(*b"\0\x01\x02\x03"), "an unknown codec");
        assert_eq!(of_mp4(*b"zzzz"), "zzzz");
        assert_eq!(of_mkv("A_DTS/LOSSLESS", 6), "DTS with 6 channels");
        assert_eq!(of_mkv("A_<b>\u{1f600}", 2), "<b>");
    }
}
