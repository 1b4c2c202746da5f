//! Dates of the proleptic Gregorian calendar, counted in days from 2000-01-01.
//!
//! A year is counted from March, so that the day that leap years add is its last; 400 of them are a
//! cycle of 146,097 days, which begins in March of a year that 400 divides.

use super::value::Date;

/// Days of 400 years.
const CYCLE_DAYS: i64 = 146_097;

/// Days from March 1 of the year 0 to January 1 of the year 2000.
const EPOCH_DAYS: i64 = 730_425;

/// Years that are dates: what the server takes, and about as much before.
const YEARS: std::ops::RangeInclusive<i32> = -4_712..=5_874_897;

/// Days before each month in a year from March.
const DAYS_BEFORE: [i64; 12] = [0, 31, 61, 92, 122, 153, 184, 214, 245, 275, 306, 337];

/// The days from 2000-01-01 to a date; `None` where it is no date.
pub(super) fn days_of_date((year, month, day): Date) -> Option<i32> {
    if !YEARS.contains(&year) || !(1..=days_of_month(year, month)?).contains(&day) {
        return None;
    }
    let from_march = usize::from((month + 9) % 12);
    let year = i64::from(year) - i64::from(month < 3);
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let days = year * 365 + year / 4 - year / 100 + DAYS_BEFORE[from_march] + i64::from(day) - 1;
    i32::try_from(cycle * CYCLE_DAYS + days - EPOCH_DAYS).ok()
}

/// The date that lies so many days after 2000-01-01; `None` for what the server means by infinite.
pub(super) fn date_of_days(days: i32) -> Option<Date> {
    if matches!(days, i32::MIN | i32::MAX) {
        return None;
    }
    let days = i64::from(days) + EPOCH_DAYS;
    let (cycle, day) = (days.div_euclid(CYCLE_DAYS), days.rem_euclid(CYCLE_DAYS));
    // The years begin a day later after each leap day, save the last one of the cycle.
    let leap_days = day / 1_460 - day / 36_524 + day / 146_096;
    let year = (day - leap_days) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let from_march = DAYS_BEFORE.iter().rposition(|before| *before <= day)?;
    let month = u8::try_from((from_march + 2) % 12 + 1).ok()?;
    let day = u8::try_from(day - DAYS_BEFORE[from_march] + 1).ok()?;
    let year = cycle * 400 + year + i64::from(month < 3);
    Some((i32::try_from(year).ok()?, month, day))
}

fn days_of_month(year: i32, month: u8) -> Option<u8> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    Some(match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_over_leap_years() {
        for (date, days) in [
            ((2000, 1, 1), 0),
            ((2000, 2, 29), 59),
            ((2000, 3, 1), 60),
            ((2001, 1, 1), 366),
            ((1999, 12, 31), -1),
            ((1970, 1, 1), -10_957),
            ((1900, 3, 1), -36_465),
            ((2100, 3, 1), 36_584),
        ] {
            assert_eq!(days_of_date(date), Some(days), "{date:?}");
            assert_eq!(date_of_days(days), Some(date), "{date:?}");
        }
        for no_date in [
            (2001, 2, 29),
            (1900, 2, 29),
            (2000, 13, 1),
            (2000, 0, 1),
            (2000, 4, 31),
        ] {
            assert_eq!(days_of_date(no_date), None, "{no_date:?}");
        }
        assert_eq!(date_of_days(i32::MAX), None);
    }

    #[test]
    fn every_day_of_nine_centuries_comes_back() {
        let first = days_of_date((1599, 1, 1)).unwrap();
        let last = days_of_date((2500, 1, 1)).unwrap();
        for day in first..=last {
            assert_eq!(date_of_days(day).and_then(days_of_date), Some(day));
        }
    }
}
