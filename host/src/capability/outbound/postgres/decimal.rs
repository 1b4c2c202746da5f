//! `numeric`: digits of base 10,000, the weight of the first, a sign, and how many decimal digits stand
//! behind the point.

use std::error::Error;

type Failure = Box<dyn Error + Sync + Send>;

const NEGATIVE: u16 = 0x4000;
const NAN: u16 = 0xC000;
const POSITIVE_INFINITY: u16 = 0xD000;
const NEGATIVE_INFINITY: u16 = 0xF000;

/// Most decimal digits before and behind the point (PostgreSQL, 8.1.2).
const DIGITS_MAX: usize = 16_383;

/// Decimal digits of one digit.
const GROUP: usize = 4;

/// The decimal text as the server takes it.
pub(super) fn decimal_to_wire(text: &str) -> Result<Vec<u8>, Failure> {
    let special = match text {
        "NaN" => Some(NAN),
        "Infinity" => Some(POSITIVE_INFINITY),
        "-Infinity" => Some(NEGATIVE_INFINITY),
        _ => None,
    };
    if let Some(sign) = special {
        return Ok(wire(&[], 0, sign, 0));
    }
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => (NEGATIVE, &text[1..]),
        Some(b'+') => (0, &text[1..]),
        _ => (0, text),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let are_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.len() + fraction.len() == 0 || !are_digits(whole) || !are_digits(fraction) {
        return Err(format!("{text:?} is no decimal number").into());
    }
    let whole = whole.trim_start_matches('0');
    if whole.len() > DIGITS_MAX || fraction.len() > DIGITS_MAX {
        return Err("the decimal number has too many digits".into());
    }
    // Groups of four are counted from the point in both directions.
    let before = whole.len().div_ceil(GROUP);
    let padded = format!("{whole:0>width$}", width = before * GROUP);
    let behind = fraction.len().div_ceil(GROUP);
    let fraction_padded = format!("{fraction:0<width$}", width = behind * GROUP);
    let all = padded + &fraction_padded;
    let groups: Vec<i16> = (0..before + behind)
        .map(|index| all[index * GROUP..][..GROUP].parse())
        .collect::<Result<_, _>>()?;
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let significant = groups.len() - groups.iter().rev().take_while(|group| **group == 0).count();
    let weight = i16::try_from(before as i64 - 1 - leading as i64)?;
    let scale = u16::try_from(fraction.len())?;
    if leading >= significant {
        return Ok(wire(&[], 0, 0, scale));
    }
    Ok(wire(&groups[leading..significant], weight, sign, scale))
}

fn wire(groups: &[i16], weight: i16, sign: u16, scale: u16) -> Vec<u8> {
    let count = groups.len() as u16;
    let mut out = Vec::with_capacity(8 + 2 * groups.len());
    out.extend(count.to_be_bytes());
    out.extend(weight.to_be_bytes());
    out.extend(sign.to_be_bytes());
    out.extend(scale.to_be_bytes());
    for group in groups {
        out.extend(group.to_be_bytes());
    }
    out
}

/// What the server sent, as decimal text.
pub(super) fn decimal_from_wire(raw: &[u8]) -> Result<String, Failure> {
    let mut words = raw
        .chunks_exact(2)
        .map(|word| u16::from_be_bytes([word[0], word[1]]));
    let mut word = || words.next().ok_or("the server's number is too short");
    let (count, weight, sign, scale) = (word()?, word()? as i16, word()?, word()?);
    match sign {
        NAN => return Ok("NaN".to_owned()),
        POSITIVE_INFINITY => return Ok("Infinity".to_owned()),
        NEGATIVE_INFINITY => return Ok("-Infinity".to_owned()),
        _ => {}
    }
    let groups = (0..count)
        .map(|_| word())
        .collect::<Result<Vec<u16>, _>>()?;
    let weight = i32::from(weight);
    let group = |place: i32| {
        let index = usize::try_from(weight - place).ok();
        index
            .and_then(|index| groups.get(index))
            .copied()
            .unwrap_or(0)
    };
    let mut text = String::new();
    for place in (0..=weight).rev() {
        text += &format!("{:04}", group(place));
    }
    let whole = text.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let mut out = if sign == NEGATIVE {
        format!("-{whole}")
    } else {
        whole.to_owned()
    };
    let scale = usize::from(scale);
    if scale > 0 {
        let mut fraction = String::new();
        for place in 1..=scale.div_ceil(GROUP) {
            fraction += &format!("{:04}", group(-(place as i32)));
        }
        out.push('.');
        out += &fraction[..scale];
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_comes_back_as_it_went() {
        for text in [
            "0",
            "0.00",
            "1",
            "-1",
            "10000",
            "12345678.9",
            "0.0001",
            "-0.00010",
            "123456789.987654321",
            "99999999999999999999999999999999.5",
            "100000000",
            "0.00000000012",
            "NaN",
            "Infinity",
            "-Infinity",
        ] {
            let back = decimal_from_wire(&decimal_to_wire(text).unwrap()).unwrap();
            assert_eq!(back, text);
        }
        let back = |text| decimal_from_wire(&decimal_to_wire(text).unwrap()).unwrap();
        assert_eq!(back("+007.50"), "7.50");
        assert_eq!(back(".5"), "0.5");
        assert_eq!(back("-0"), "0");
    }

    #[test]
    fn what_is_no_decimal_is_refused() {
        for text in ["", ".", "-", "1e5", "1,5", " 1", "0x1", "1.2.3", "\u{661}"] {
            assert!(decimal_to_wire(text).is_err(), "{text:?}");
        }
    }
}
