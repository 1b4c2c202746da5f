//! Values as components have them, and as the server sends and takes them: its binary formats, which
//! the sources of its types define (`src/backend/utils/adt`, each type's `_send` and `_recv`).

use std::error::Error;

use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, Kind, ToSql, Type, to_sql_checked};

use super::calendar::{date_of_days, days_of_date};
use super::decimal::{decimal_from_wire, decimal_to_wire};

type Failure = Box<dyn Error + Sync + Send>;

/// Microseconds of a day.
const DAY_MICROS: i64 = 86_400_000_000;

/// 2000-01-01, which the server counts from, in seconds of the Unix epoch.
const EPOCH_SECONDS: i64 = 946_684_800;

/// A date: year, month, day.
pub type Date = (i32, u8, u8);

/// A time of day: hour, minute, second, nanosecond.
pub type Time = (u8, u8, u8, u32);

/// An end of a range, and whether it belongs to the range; without one there is no end.
pub type Bound<T> = Option<(T, bool)>;

/// A lower and an upper end.
pub type Range<T> = (Bound<T>, Bound<T>);

/// A value.
#[derive(Debug, Clone, PartialEq)]
#[allow(
    missing_docs,
    reason = "the variants' names say it, and each format is explained above"
)]
pub enum Sql {
    Null,
    Boolean(bool),
    Int8(i8),
    Int16(i16),
    Int32(i32),
    Int64(i64),
    Float32(f32),
    Float64(f64),
    Text(String),
    Binary(Vec<u8>),
    Date(Date),
    Time(Time),
    DateTime(Date, Time),
    /// Seconds of the Unix epoch.
    Timestamp(i64),
    Uuid(String),
    Jsonb(Vec<u8>),
    Decimal(String),
    RangeInt32(Range<i32>),
    RangeInt64(Range<i64>),
    RangeDecimal(Range<String>),
    ArrayInt32(Vec<Option<i32>>),
    ArrayInt64(Vec<Option<i64>>),
    ArrayDecimal(Vec<Option<String>>),
    ArrayText(Vec<Option<String>>),
    Interval {
        micros: i64,
        days: i32,
        months: i32,
    },
    /// What has no form here, as the server sent it.
    Unsupported(Vec<u8>),
}

impl ToSql for Sql {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Failure> {
        if *self == Self::Null {
            return Ok(IsNull::Yes);
        }
        match self.wire(ty)? {
            Some(bytes) => out.extend_from_slice(&bytes),
            None => return Err(format!("{} is no value for {ty}", self.kind()).into()),
        }
        Ok(IsNull::No)
    }

    /// Which fit is decided by the value, since a parameter's kind is known only then.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl Sql {
    /// The value as the server takes it for `ty`; `None` where it is of another kind.
    fn wire(&self, ty: &Type) -> Result<Option<Vec<u8>>, Failure> {
        let bytes = match self {
            Self::Null => return Ok(None),
            Self::Boolean(value) if *ty == Type::BOOL => vec![u8::from(*value)],
            Self::Int8(value) if *ty == Type::CHAR => value.to_be_bytes().to_vec(),
            Self::Int8(value) => return integer(i64::from(*value), ty),
            Self::Int16(value) => return integer(i64::from(*value), ty),
            Self::Int32(value) => return integer(i64::from(*value), ty),
            Self::Int64(value) => return integer(*value, ty),
            Self::Float32(value) if *ty == Type::FLOAT4 => value.to_be_bytes().to_vec(),
            Self::Float32(value) if *ty == Type::FLOAT8 => f64::from(*value).to_be_bytes().to_vec(),
            Self::Float64(value) if *ty == Type::FLOAT8 => value.to_be_bytes().to_vec(),
            Self::Text(value) if is_text(ty) => value.clone().into_bytes(),
            Self::Binary(value) if *ty == Type::BYTEA => value.clone(),
            Self::Date(value) if *ty == Type::DATE => days(*value)?.to_be_bytes().to_vec(),
            Self::Time(value) if *ty == Type::TIME => micros(*value)?.to_be_bytes().to_vec(),
            Self::DateTime(date, time) if is_timestamp(ty) => {
                let micros = i64::from(days(*date)?) * DAY_MICROS + micros(*time)?;
                micros.to_be_bytes().to_vec()
            }
            Self::Timestamp(seconds) if is_timestamp(ty) => {
                let micros = seconds
                    .checked_sub(EPOCH_SECONDS)
                    .and_then(|s| s.checked_mul(1_000_000));
                let micros = micros.ok_or("the timestamp is out of range")?;
                micros.to_be_bytes().to_vec()
            }
            Self::Uuid(value) if *ty == Type::UUID => uuid_to_wire(value)?,
            Self::Jsonb(value) if *ty == Type::JSONB => [&[1], value.as_slice()].concat(),
            Self::Jsonb(value) if *ty == Type::JSON => value.clone(),
            Self::Decimal(value) if *ty == Type::NUMERIC => decimal_to_wire(value)?,
            Self::RangeInt32(range) if *ty == Type::INT4_RANGE => {
                range_to_wire(range, |end| Ok(end.to_be_bytes().to_vec()))?
            }
            Self::RangeInt64(range) if *ty == Type::INT8_RANGE => {
                range_to_wire(range, |end| Ok(end.to_be_bytes().to_vec()))?
            }
            Self::RangeDecimal(range) if *ty == Type::NUM_RANGE => {
                range_to_wire(range, |end| decimal_to_wire(end))?
            }
            Self::ArrayInt32(values) if *ty == Type::INT4_ARRAY => {
                array_to_wire(&Type::INT4, values, |value| {
                    Ok(value.to_be_bytes().to_vec())
                })?
            }
            Self::ArrayInt64(values) if *ty == Type::INT8_ARRAY => {
                array_to_wire(&Type::INT8, values, |value| {
                    Ok(value.to_be_bytes().to_vec())
                })?
            }
            Self::ArrayDecimal(values) if *ty == Type::NUMERIC_ARRAY => {
                array_to_wire(&Type::NUMERIC, values, |value| decimal_to_wire(value))?
            }
            Self::ArrayText(values) => match ty.kind() {
                Kind::Array(element) if is_text(element) => {
                    array_to_wire(element, values, |value| Ok(value.clone().into_bytes()))?
                }
                _ => return Ok(None),
            },
            Self::Interval {
                micros,
                days,
                months,
            } if *ty == Type::INTERVAL => [
                micros.to_be_bytes().as_slice(),
                days.to_be_bytes().as_slice(),
                months.to_be_bytes().as_slice(),
            ]
            .concat(),
            _ => return Ok(None),
        };
        Ok(Some(bytes))
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Int8(_) | Self::Int16(_) | Self::Int32(_) | Self::Int64(_) => "an integer",
            Self::Float32(_) | Self::Float64(_) => "a floating-point number",
            Self::Text(_) => "a string",
            Self::Binary(_) => "binary data",
            Self::Date(_) => "a date",
            Self::Time(_) => "a time",
            Self::DateTime(..) => "a date with a time",
            Self::Timestamp(_) => "a timestamp",
            Self::Uuid(_) => "a UUID",
            Self::Jsonb(_) => "JSON",
            Self::Decimal(_) => "a decimal",
            Self::RangeInt32(_) | Self::RangeInt64(_) | Self::RangeDecimal(_) => "a range",
            Self::ArrayInt32(_)
            | Self::ArrayInt64(_)
            | Self::ArrayDecimal(_)
            | Self::ArrayText(_) => "an array",
            Self::Interval { .. } => "an interval",
            Self::Unsupported(_) => "data of an unsupported type",
        }
    }

    /// What it counts as in a result, in bytes: its own, and about what any value takes.
    pub(super) fn bytes(&self) -> usize {
        let texts = |texts: &[Option<String>]| {
            texts
                .iter()
                .map(|text| 32 + text.as_ref().map_or(0, String::len))
                .sum()
        };
        32 + match self {
            Self::Text(text) | Self::Uuid(text) | Self::Decimal(text) => text.len(),
            Self::Binary(bytes) | Self::Jsonb(bytes) | Self::Unsupported(bytes) => bytes.len(),
            Self::ArrayInt32(values) => 8 * values.len(),
            Self::ArrayInt64(values) => 16 * values.len(),
            Self::ArrayDecimal(values) | Self::ArrayText(values) => texts(values),
            _ => 0,
        }
    }
}

impl<'a> FromSql<'a> for Sql {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, Failure> {
        let mut wire = Wire(raw);
        Ok(match *ty {
            Type::BOOL => Self::Boolean(wire.array::<1>()? != [0]),
            Type::CHAR => Self::Int8(i8::from_be_bytes(wire.array()?)),
            Type::INT2 => Self::Int16(i16::from_be_bytes(wire.array()?)),
            Type::INT4 => Self::Int32(i32::from_be_bytes(wire.array()?)),
            Type::INT8 => Self::Int64(i64::from_be_bytes(wire.array()?)),
            Type::FLOAT4 => Self::Float32(f32::from_be_bytes(wire.array()?)),
            Type::FLOAT8 => Self::Float64(f64::from_be_bytes(wire.array()?)),
            Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME => Self::Text(text(raw)?),
            Type::BYTEA => Self::Binary(raw.to_vec()),
            Type::DATE => Self::Date(date(i32::from_be_bytes(wire.array()?))?),
            Type::TIME => Self::Time(time(i64::from_be_bytes(wire.array()?))),
            Type::TIMESTAMP | Type::TIMESTAMPTZ => {
                let micros = i64::from_be_bytes(wire.array()?);
                let days = i32::try_from(micros.div_euclid(DAY_MICROS));
                let date = days
                    .map_err(|_| "the time is infinite".into())
                    .and_then(date)?;
                Self::DateTime(date, time(micros.rem_euclid(DAY_MICROS)))
            }
            Type::UUID => Self::Uuid(uuid_from_wire(wire.array()?)),
            Type::JSONB => Self::Jsonb(wire.0.get(1..).unwrap_or_default().to_vec()),
            Type::NUMERIC => Self::Decimal(decimal_from_wire(raw)?),
            Type::INT4_RANGE => Self::RangeInt32(range_from_wire(&mut wire, |end| {
                Ok(i32::from_be_bytes(Wire(end).array()?))
            })?),
            Type::INT8_RANGE => Self::RangeInt64(range_from_wire(&mut wire, |end| {
                Ok(i64::from_be_bytes(Wire(end).array()?))
            })?),
            Type::NUM_RANGE => Self::RangeDecimal(range_from_wire(&mut wire, decimal_from_wire)?),
            Type::INT4_ARRAY => Self::ArrayInt32(array_from_wire(&mut wire, |value| {
                Ok(i32::from_be_bytes(Wire(value).array()?))
            })?),
            Type::INT8_ARRAY => Self::ArrayInt64(array_from_wire(&mut wire, |value| {
                Ok(i64::from_be_bytes(Wire(value).array()?))
            })?),
            Type::NUMERIC_ARRAY => {
                Self::ArrayDecimal(array_from_wire(&mut wire, decimal_from_wire)?)
            }
            Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => {
                Self::ArrayText(array_from_wire(&mut wire, text)?)
            }
            Type::INTERVAL => Self::Interval {
                micros: i64::from_be_bytes(wire.array()?),
                days: i32::from_be_bytes(wire.array()?),
                months: i32::from_be_bytes(wire.array()?),
            },
            _ => Self::Unsupported(raw.to_vec()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Failure> {
        Ok(Self::Null)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// What is left to be read.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Failure> {
        let (first, rest) = self
            .0
            .split_first_chunk()
            .ok_or("the server's value is too short")?;
        self.0 = rest;
        Ok(*first)
    }

    fn int(&mut self) -> Result<i32, Failure> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A value behind its length; `None` where the length is that of null.
    fn sized(&mut self) -> Result<Option<&'a [u8]>, Failure> {
        let Ok(length) = usize::try_from(self.int()?) else {
            return Ok(None);
        };
        let (value, rest) = self
            .0
            .split_at_checked(length)
            .ok_or("the server's value is too short")?;
        self.0 = rest;
        Ok(Some(value))
    }
}

fn is_text(ty: &Type) -> bool {
    matches!(
        *ty,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON
    ) || matches!(ty.kind(), Kind::Enum(_))
        || matches!(ty.name(), "citext" | "ltree" | "lquery" | "ltxtquery")
}

fn is_timestamp(ty: &Type) -> bool {
    matches!(*ty, Type::TIMESTAMP | Type::TIMESTAMPTZ)
}

/// An integer for a column of any width that it fits into.
fn integer(value: i64, ty: &Type) -> Result<Option<Vec<u8>>, Failure> {
    Ok(Some(match *ty {
        Type::INT2 => i16::try_from(value)?.to_be_bytes().to_vec(),
        Type::INT4 => i32::try_from(value)?.to_be_bytes().to_vec(),
        Type::INT8 => value.to_be_bytes().to_vec(),
        _ => return Ok(None),
    }))
}

fn text(raw: &[u8]) -> Result<String, Failure> {
    Ok(std::str::from_utf8(raw)?.to_owned())
}

fn days(date: Date) -> Result<i32, Failure> {
    days_of_date(date).ok_or_else(|| format!("{date:?} is no date").into())
}

fn date(days: i32) -> Result<Date, Failure> {
    date_of_days(days).ok_or_else(|| "the date is infinite".into())
}

fn micros((hour, minute, second, nanos): Time) -> Result<i64, Failure> {
    if hour > 23 || minute > 59 || second > 59 || nanos > 999_999_999 {
        return Err(format!("{hour}:{minute}:{second}.{nanos:09} is no time").into());
    }
    let seconds = i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second);
    Ok(seconds * 1_000_000 + i64::from(nanos / 1000))
}

fn time(micros: i64) -> Time {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let part = |number: i64| u8::try_from(number).unwrap_or(u8::MAX);
    let nanos = u32::try_from(rest * 1000).unwrap_or(0);
    (
        part(seconds / 3600),
        part(seconds / 60 % 60),
        part(seconds % 60),
        nanos,
    )
}

fn uuid_to_wire(text: &str) -> Result<Vec<u8>, Failure> {
    let digits: Vec<u8> = text
        .bytes()
        .filter(|b| !matches!(b, b'-' | b'{' | b'}'))
        .collect();
    let wrong = || format!("{text:?} is no UUID");
    let digits = std::str::from_utf8(&digits).map_err(|_| wrong())?;
    if digits.len() != 32 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong().into());
    }
    Ok(u128::from_str_radix(digits, 16)?.to_be_bytes().to_vec())
}

fn uuid_from_wire(bytes: [u8; 16]) -> String {
    let digits = format!("{:032x}", u128::from_be_bytes(bytes));
    let parts = [
        &digits[..8],
        &digits[8..12],
        &digits[12..16],
        &digits[16..20],
        &digits[20..],
    ];
    parts.join("-")
}

fn sized_to_wire(out: &mut Vec<u8>, value: &[u8]) -> Result<(), Failure> {
    out.extend(i32::try_from(value.len())?.to_be_bytes());
    out.extend(value);
    Ok(())
}

/// Bits of a range's first byte (`src/include/utils/rangetypes.h`).
const RANGE_EMPTY: u8 = 0x01;
const LOWER_INCLUSIVE: u8 = 0x02;
const UPPER_INCLUSIVE: u8 = 0x04;
const LOWER_INFINITE: u8 = 0x08;
const UPPER_INFINITE: u8 = 0x10;

fn range_to_wire<T>(
    (lower, upper): &Range<T>,
    wire: impl Fn(&T) -> Result<Vec<u8>, Failure>,
) -> Result<Vec<u8>, Failure> {
    let mut out = vec![0];
    for (bound, inclusive, infinite) in [
        (lower, LOWER_INCLUSIVE, LOWER_INFINITE),
        (upper, UPPER_INCLUSIVE, UPPER_INFINITE),
    ] {
        match bound {
            None => out[0] |= infinite,
            Some((end, belongs)) => {
                out[0] |= if *belongs { inclusive } else { 0 };
                sized_to_wire(&mut out, &wire(end)?)?;
            }
        }
    }
    Ok(out)
}

/// An empty range has no form of its own here: it is given as one from and to zero that has neither.
fn range_from_wire<T>(
    wire: &mut Wire<'_>,
    value: impl Fn(&[u8]) -> Result<T, Failure>,
) -> Result<Range<T>, Failure> {
    let [flags] = wire.array()?;
    if flags & RANGE_EMPTY != 0 {
        return Err("an empty range cannot be given: select isempty() of it".into());
    }
    let mut bound = |inclusive: u8, infinite: u8| -> Result<Bound<T>, Failure> {
        if flags & infinite != 0 {
            return Ok(None);
        }
        let end = wire.sized()?.ok_or("the server's range has no end")?;
        Ok(Some((value(end)?, flags & inclusive != 0)))
    };
    let lower = bound(LOWER_INCLUSIVE, LOWER_INFINITE)?;
    Ok((lower, bound(UPPER_INCLUSIVE, UPPER_INFINITE)?))
}

fn array_to_wire<T>(
    element: &Type,
    values: &[Option<T>],
    wire: impl Fn(&T) -> Result<Vec<u8>, Failure>,
) -> Result<Vec<u8>, Failure> {
    let dimensions = i32::from(!values.is_empty());
    let has_null = i32::from(values.iter().any(Option::is_none));
    let mut out = Vec::new();
    out.extend(dimensions.to_be_bytes());
    out.extend(has_null.to_be_bytes());
    out.extend(element.oid().to_be_bytes());
    if values.is_empty() {
        return Ok(out);
    }
    out.extend(i32::try_from(values.len())?.to_be_bytes());
    // Arrays count from 1.
    out.extend(1_i32.to_be_bytes());
    for value in values {
        match value {
            None => out.extend((-1_i32).to_be_bytes()),
            Some(value) => sized_to_wire(&mut out, &wire(value)?)?,
        }
    }
    Ok(out)
}

fn array_from_wire<T>(
    wire: &mut Wire<'_>,
    value: impl Fn(&[u8]) -> Result<T, Failure>,
) -> Result<Vec<Option<T>>, Failure> {
    let (dimensions, _has_null, _element) = (wire.int()?, wire.int()?, wire.int()?);
    if dimensions > 1 {
        return Err("an array of more than one dimension cannot be given".into());
    }
    if dimensions == 0 {
        return Ok(Vec::new());
    }
    let (length, _from) = (wire.int()?, wire.int()?);
    let mut values = Vec::new();
    for _ in 0..length {
        values.push(wire.sized()?.map(&value).transpose()?);
    }
    Ok(values)
}
