//! How the MP3 is encoded, from the component's environment.

use mp3lame_encoder::{Bitrate, Quality};

/// Constant bitrate or variable, and how much of it.
#[derive(Clone, Copy)]
pub enum Mp3Quality {
    /// So many bits per second, always.
    Constant(Bitrate),
    /// As many bits as it takes, by LAME's scale from V0 (best) to V9.
    Variable(Quality),
}

/// From 64 kbit/s on: the frames of less have no room for the length and the gapless information
/// that stand in front of the audio, and LAME leaves them out.
const BITRATES: [(&str, Bitrate); 11] = [
    ("64k", Bitrate::Kbps64),
    ("80k", Bitrate::Kbps80),
    ("96k", Bitrate::Kbps96),
    ("112k", Bitrate::Kbps112),
    ("128k", Bitrate::Kbps128),
    ("160k", Bitrate::Kbps160),
    ("192k", Bitrate::Kbps192),
    ("224k", Bitrate::Kbps224),
    ("256k", Bitrate::Kbps256),
    ("320k", Bitrate::Kbps320),
    ("", Bitrate::Kbps192),
];

const QUALITIES: [Quality; 10] = [
    Quality::Best,
    Quality::SecondBest,
    Quality::NearBest,
    Quality::VeryNice,
    Quality::Nice,
    Quality::Good,
    Quality::Decent,
    Quality::Ok,
    Quality::SecondWorst,
    Quality::Worst,
];

impl Mp3Quality {
    /// Reads `MP3_QUALITY`: `64k` to `320k` in MP3's own steps, or `v0` to `v9`. Empty is `192k`.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim().to_ascii_lowercase();
        if let Some((_, bitrate)) = BITRATES.iter().find(|(name, _)| *name == text) {
            return Ok(Self::Constant(*bitrate));
        }
        let level = text
            .strip_prefix('v')
            .and_then(|level| level.parse::<usize>().ok());
        level
            .and_then(|level| QUALITIES.get(level))
            .map(|quality| Self::Variable(*quality))
            .ok_or_else(|| {
                let steps: Vec<&str> = BITRATES
                    .iter()
                    .map(|(name, _)| *name)
                    .filter(|n| !n.is_empty())
                    .collect();
                format!(
                    "MP3_QUALITY is {text:?}; it must be one of {} or v0 to v9",
                    steps.join(", ")
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bitrates_and_qualities() {
        assert!(matches!(
            Mp3Quality::parse("192k"),
            Ok(Mp3Quality::Constant(Bitrate::Kbps192))
        ));
        assert!(matches!(
            Mp3Quality::parse(""),
            Ok(Mp3Quality::Constant(Bitrate::Kbps192))
        ));
        assert!(matches!(
            Mp3Quality::parse("V2"),
            Ok(Mp3Quality::Variable(Quality::NearBest))
        ));
        for wrong in ["v10", "193k", "192", "32k", "best"] {
            assert!(
                Mp3Quality::parse(wrong).is_err_and(|message| message.contains("320k or v0 to v9"))
            );
        }
    }
}
