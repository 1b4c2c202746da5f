//! From as many channels as the decoder gives to the one or two that an MP3 has.
//!
//! Mono stays mono and stereo stays stereo, untouched. More channels are mixed to stereo with the
//! coefficients of ITU-R BS.775: centre and surrounds at -3 dB on their side, no LFE, all of it
//! scaled so that full scale in every channel at once does not clip.

use symphonia::core::audio::{Channels, Position};

/// -3 dB.
const HALF_POWER: f32 = std::f32::consts::FRAC_1_SQRT_2;

/// How one input channel goes into left and right.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Gain {
    left: f32,
    right: f32,
}

const LEFT: Gain = Gain {
    left: 1.0,
    right: 0.0,
};
const RIGHT: Gain = Gain {
    left: 0.0,
    right: 1.0,
};
const CENTRE: Gain = Gain {
    left: HALF_POWER,
    right: HALF_POWER,
};
const SURROUND_LEFT: Gain = Gain {
    left: HALF_POWER,
    right: 0.0,
};
const SURROUND_RIGHT: Gain = Gain {
    left: 0.0,
    right: HALF_POWER,
};
/// A surround channel in the middle of the back: half of its power on either side, at -3 dB.
const SURROUND_BACK: Gain = Gain {
    left: 0.5,
    right: 0.5,
};
const SILENT: Gain = Gain {
    left: 0.0,
    right: 0.0,
};

/// One or two planes of samples, the only shape that leaves this module.
#[derive(Debug, Default)]
pub struct Sound {
    /// The left channel, or the only one.
    pub left: Vec<f32>,
    /// The right channel; empty where there is one channel.
    pub right: Vec<f32>,
}

impl Sound {
    /// How many samples each channel has.
    pub fn frames(&self) -> usize {
        self.left.len()
    }

    /// Puts so many samples of silence in front.
    pub fn delay(&mut self, frames: usize) {
        let planes = [&mut self.left, &mut self.right];
        for plane in planes
            .into_iter()
            .filter(|plane| frames > 0 && !plane.is_empty())
        {
            plane.splice(0..0, std::iter::repeat_n(0.0, frames));
        }
    }

    /// Forgets the samples and keeps the memory.
    pub fn clear(&mut self) {
        self.left.clear();
        self.right.clear();
    }
}

/// The order in which a decoder gives its channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By position, as symphonia's decoders do (the order of a WAVE file's channel mask).
    Positions,
    /// As Vorbis and Opus streams have them (RFC 7845, section 5.1.1.2).
    Vorbis,
}

/// A mix from some channels to one or two.
#[derive(Debug, Clone)]
pub struct Mix {
    gains: Vec<Gain>,
}

impl Mix {
    /// The mix for these channels, or `None` if there are none.
    pub fn new(channels: &Channels, order: Order) -> Option<Self> {
        let mut gains: Vec<Gain> = match (channels, order) {
            (_, _) if channels.count() == 0 => return None,
            (_, Order::Vorbis) => vorbis(channels.count()),
            (Channels::Positioned(positions), Order::Positions) => {
                positions.iter().map(positioned).collect()
            }
            (_, Order::Positions) => counted(channels.count()),
        };
        if gains.len() > 2 {
            let loudest = |side: fn(&Gain) -> f32| gains.iter().map(side).sum::<f32>();
            let full_scale = loudest(|gain| gain.left)
                .max(loudest(|gain| gain.right))
                .max(1.0);
            for gain in &mut gains {
                gain.left /= full_scale;
                gain.right /= full_scale;
            }
        }
        Some(Self { gains })
    }

    /// How many channels come out: 1 or 2.
    pub fn outputs(&self) -> u8 {
        if self.gains.len() == 1 { 1 } else { 2 }
    }

    /// Mixes `planes` (one for each input channel, of the same length) into `into`, which is
    /// cleared first. One and two channels are moved, not copied.
    pub fn apply(&self, planes: &mut [Vec<f32>], into: &mut Sound) {
        into.clear();
        match (self.gains.len(), planes) {
            (1, [mono, ..]) => std::mem::swap(mono, &mut into.left),
            (2, [left, right, ..]) => {
                std::mem::swap(left, &mut into.left);
                std::mem::swap(right, &mut into.right);
            }
            (_, planes) => {
                let frames = planes.first().map_or(0, Vec::len);
                into.left.resize(frames, 0.0);
                into.right.resize(frames, 0.0);
                for (gain, plane) in self.gains.iter().zip(planes.iter()) {
                    add(&mut into.left, plane, gain.left);
                    add(&mut into.right, plane, gain.right);
                }
            }
        }
    }
}

fn add(into: &mut [f32], plane: &[f32], gain: f32) {
    if gain != 0.0 {
        into.iter_mut()
            .zip(plane)
            .for_each(|(sum, sample)| *sum += gain * sample);
    }
}

fn positioned(position: Position) -> Gain {
    const SIDES: [(Position, Gain); 11] = [
        (Position::FRONT_LEFT, LEFT),
        (Position::FRONT_RIGHT, RIGHT),
        (Position::FRONT_CENTER, CENTRE),
        (Position::FRONT_LEFT_CENTER, LEFT),
        (Position::FRONT_RIGHT_CENTER, RIGHT),
        (Position::REAR_LEFT, SURROUND_LEFT),
        (Position::SIDE_LEFT, SURROUND_LEFT),
        (Position::REAR_RIGHT, SURROUND_RIGHT),
        (Position::SIDE_RIGHT, SURROUND_RIGHT),
        (Position::REAR_CENTER, SURROUND_BACK),
        (Position::LFE1, SILENT),
    ];
    // What hangs from the ceiling or stands beside the stage is left out.
    SIDES
        .iter()
        .find(|(known, _)| *known == position)
        .map_or(SILENT, |(_, gain)| *gain)
}

/// Channels without positions, by the order that WAVE files have them in for this count.
fn counted(count: usize) -> Vec<Gain> {
    let known: &[Gain] = match count {
        1 => &[CENTRE],
        2 => &[LEFT, RIGHT],
        3 => &[LEFT, RIGHT, CENTRE],
        4 => &[LEFT, RIGHT, SURROUND_LEFT, SURROUND_RIGHT],
        5 => &[LEFT, RIGHT, CENTRE, SURROUND_LEFT, SURROUND_RIGHT],
        6 => &[LEFT, RIGHT, CENTRE, SILENT, SURROUND_LEFT, SURROUND_RIGHT],
        7 => &[
            LEFT,
            RIGHT,
            CENTRE,
            SILENT,
            SURROUND_BACK,
            SURROUND_LEFT,
            SURROUND_RIGHT,
        ],
        _ => &[
            LEFT,
            RIGHT,
            CENTRE,
            SILENT,
            SURROUND_LEFT,
            SURROUND_RIGHT,
            SURROUND_LEFT,
            SURROUND_RIGHT,
        ],
    };
    (0..count)
        .map(|at| known.get(at).copied().unwrap_or(SILENT))
        .collect()
}

fn vorbis(count: usize) -> Vec<Gain> {
    let known: &[Gain] = match count {
        1 => &[CENTRE],
        2 => &[LEFT, RIGHT],
        3 => &[LEFT, CENTRE, RIGHT],
        4 => &[LEFT, RIGHT, SURROUND_LEFT, SURROUND_RIGHT],
        5 => &[LEFT, CENTRE, RIGHT, SURROUND_LEFT, SURROUND_RIGHT],
        6 => &[LEFT, CENTRE, RIGHT, SURROUND_LEFT, SURROUND_RIGHT, SILENT],
        7 => &[
            LEFT,
            CENTRE,
            RIGHT,
            SURROUND_LEFT,
            SURROUND_RIGHT,
            SURROUND_BACK,
            SILENT,
        ],
        _ => &[
            LEFT,
            CENTRE,
            RIGHT,
            SURROUND_LEFT,
            SURROUND_RIGHT,
            SURROUND_LEFT,
            SURROUND_RIGHT,
            SILENT,
        ],
    };
    (0..count)
        .map(|at| known.get(at).copied().unwrap_or(SILENT))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mixed(channels: &Channels, order: Order, levels: &[f32]) -> (f32, f32) {
        let mix = Mix::new(channels, order).unwrap();
        let mut planes: Vec<Vec<f32>> = levels.iter().map(|level| vec![*level; 4]).collect();
        let mut sound = Sound::default();
        mix.apply(&mut planes, &mut sound);
        assert_eq!(sound.frames(), 4);
        (sound.left[0], sound.right.first().copied().unwrap_or(0.0))
    }

    #[test]
    fn mono_and_stereo_pass_untouched() {
        assert_eq!(
            mixed(&Channels::Discrete(1), Order::Positions, &[0.3]),
            (0.3, 0.0)
        );
        assert_eq!(
            mixed(&Channels::Discrete(2), Order::Positions, &[0.3, -0.4]),
            (0.3, -0.4)
        );
    }

    #[test]
    fn surround_has_the_itu_proportions_and_cannot_clip() {
        let channels = Channels::Positioned(
            Position::FRONT_LEFT
                | Position::FRONT_RIGHT
                | Position::FRONT_CENTER
                | Position::LFE1
                | Position::REAR_LEFT
                | Position::REAR_RIGHT,
        );
        let (left, right) = mixed(&channels, Order::Positions, &[1.0; 6]);
        assert!((left - 1.0).abs() < 1e-6 && (right - 1.0).abs() < 1e-6);
        let (only_left, _) = mixed(&channels, Order::Positions, &[1.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let (centre, _) = mixed(&channels, Order::Positions, &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        let (bass, _) = mixed(&channels, Order::Positions, &[0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert!((centre / only_left - HALF_POWER).abs() < 1e-6);
        assert_eq!(bass, 0.0);
    }

    #[test]
    fn vorbis_order_puts_the_centre_second() {
        let channels = Channels::Discrete(6);
        let (left, right) = mixed(&channels, Order::Vorbis, &[0.0, 0.0, 1.0, 0.0, 0.0, 0.0]);
        assert!(left == 0.0 && right > 0.0);
        assert!(Mix::new(&Channels::None, Order::Vorbis).is_none());
    }
}
