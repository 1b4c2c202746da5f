//! Values of each version of the interface, from and to the host's.

use super::{four, rdbms_types as two, three};
use crate::capability::outbound::postgres::{Bound, QueryError, Range, Sql, Table};

/// Kinds that all versions have.
macro_rules! parameters {
    ($version:ident, $given:ident, { $($more:tt)* }) => {
        impl TryFrom<$version::ParameterValue> for Sql {
            type Error = String;

            fn try_from($given: $version::ParameterValue) -> Result<Self, String> {
                use $version::ParameterValue as Given;
                Ok(match $given {
                    Given::Boolean(value) => Self::Boolean(value),
                    Given::Int8(value) => Self::Int8(value),
                    Given::Int16(value) => Self::Int16(value),
                    Given::Int32(value) => Self::Int32(value),
                    Given::Int64(value) => Self::Int64(value),
                    Given::Floating32(value) => Self::Float32(value),
                    Given::Floating64(value) => Self::Float64(value),
                    Given::Str(value) => Self::Text(value),
                    Given::Binary(value) => Self::Binary(value),
                    Given::DbNull => Self::Null,
                    $($more)*
                })
            }
        }
    };
}

parameters!(two, given, {
    Given::Uint8(_) | Given::Uint16(_) | Given::Uint32(_) | Given::Uint64(_) => {
        return Err("PostgreSQL has no unsigned integers".to_owned());
    }
});

parameters!(three, given, {
    Given::Date(date) => Self::Date(date),
    Given::Time(time) => Self::Time(time),
    Given::Datetime((year, month, day, hour, minute, second, nanos)) => {
        Self::DateTime((year, month, day), (hour, minute, second, nanos))
    }
    Given::Timestamp(seconds) => Self::Timestamp(seconds),
});

parameters!(four, given, {
    Given::Date(date) => Self::Date(date),
    Given::Time(time) => Self::Time(time),
    Given::Datetime((year, month, day, hour, minute, second, nanos)) => {
        Self::DateTime((year, month, day), (hour, minute, second, nanos))
    }
    Given::Timestamp(seconds) => Self::Timestamp(seconds),
    Given::Uuid(text) => Self::Uuid(text),
    Given::Jsonb(json) => Self::Jsonb(json),
    Given::Decimal(text) => Self::Decimal(text),
    Given::RangeInt32(range) => Self::RangeInt32(range_of(range)),
    Given::RangeInt64(range) => Self::RangeInt64(range_of(range)),
    Given::RangeDecimal(range) => Self::RangeDecimal(range_of(range)),
    Given::ArrayInt32(values) => Self::ArrayInt32(values),
    Given::ArrayInt64(values) => Self::ArrayInt64(values),
    Given::ArrayDecimal(values) => Self::ArrayDecimal(values),
    Given::ArrayStr(values) => Self::ArrayText(values),
    Given::Interval(interval) => Self::Interval {
        micros: interval.micros,
        days: interval.days,
        months: interval.months,
    },
});

type GivenBound<T> = Option<(T, four::RangeBoundKind)>;

fn range_of<T>((lower, upper): (GivenBound<T>, GivenBound<T>)) -> Range<T> {
    let bound = |bound: GivenBound<T>| {
        bound.map(|(end, kind)| (end, kind == four::RangeBoundKind::Inclusive))
    };
    (bound(lower), bound(upper))
}

fn given_range<T>((lower, upper): Range<T>) -> (GivenBound<T>, GivenBound<T>) {
    let kind = |belongs| match belongs {
        true => four::RangeBoundKind::Inclusive,
        false => four::RangeBoundKind::Exclusive,
    };
    let bound = |bound: Bound<T>| bound.map(|(end, belongs)| (end, kind(belongs)));
    (bound(lower), bound(upper))
}

macro_rules! values {
    ($version:ident, { $($more:tt)* }) => {
        impl From<Sql> for $version::DbValue {
            fn from(value: Sql) -> Self {
                match value {
                    Sql::Null => Self::DbNull,
                    Sql::Boolean(value) => Self::Boolean(value),
                    Sql::Int8(value) => Self::Int8(value),
                    Sql::Int16(value) => Self::Int16(value),
                    Sql::Int32(value) => Self::Int32(value),
                    Sql::Int64(value) => Self::Int64(value),
                    Sql::Float32(value) => Self::Floating32(value),
                    Sql::Float64(value) => Self::Floating64(value),
                    Sql::Text(value) => Self::Str(value),
                    Sql::Binary(value) => Self::Binary(value),
                    $($more)*
                }
            }
        }

        impl From<Table> for $version::RowSet {
            fn from(table: Table) -> Self {
                let columns = table.columns.into_iter().map(|(name, ty)| $version::Column {
                    name,
                    data_type: ty.name().into(),
                });
                let row = |values: Vec<Sql>| values.into_iter().map(Into::into).collect();
                Self {
                    columns: columns.collect(),
                    rows: table.rows.into_iter().map(row).collect(),
                }
            }
        }
    };
}

values!(two, { _ => Self::Unsupported, });

values!(three, {
    Sql::Date(date) => Self::Date(date),
    Sql::Time(time) => Self::Time(time),
    Sql::DateTime((year, month, day), (hour, minute, second, nanos)) => {
        Self::Datetime((year, month, day, hour, minute, second, nanos))
    }
    Sql::Timestamp(seconds) => Self::Timestamp(seconds),
    _ => Self::Unsupported,
});

values!(four, {
    Sql::Date(date) => Self::Date(date),
    Sql::Time(time) => Self::Time(time),
    Sql::DateTime((year, month, day), (hour, minute, second, nanos)) => {
        Self::Datetime((year, month, day, hour, minute, second, nanos))
    }
    Sql::Timestamp(seconds) => Self::Timestamp(seconds),
    Sql::Uuid(text) => Self::Uuid(text),
    Sql::Jsonb(json) => Self::Jsonb(json),
    Sql::Decimal(text) => Self::Decimal(text),
    Sql::RangeInt32(range) => Self::RangeInt32(given_range(range)),
    Sql::RangeInt64(range) => Self::RangeInt64(given_range(range)),
    Sql::RangeDecimal(range) => Self::RangeDecimal(given_range(range)),
    Sql::ArrayInt32(values) => Self::ArrayInt32(values),
    Sql::ArrayInt64(values) => Self::ArrayInt64(values),
    Sql::ArrayDecimal(values) => Self::ArrayDecimal(values),
    Sql::ArrayText(values) => Self::ArrayStr(values),
    Sql::Interval { micros, days, months } => {
        Self::Interval(four::Interval { micros, days, months })
    }
    Sql::Unsupported(bytes) => Self::Unsupported(bytes),
});

/// Types by the names that the server has for them.
macro_rules! types {
    ($version:ident, $name:ident, { $($more:tt)* }) => {
        impl From<&str> for $version::DbDataType {
            fn from($name: &str) -> Self {
                match $name {
                    "bool" => Self::Boolean,
                    "char" => Self::Int8,
                    "int2" => Self::Int16,
                    "int4" => Self::Int32,
                    "int8" => Self::Int64,
                    "float4" => Self::Floating32,
                    "float8" => Self::Floating64,
                    "text" | "varchar" | "bpchar" | "name" => Self::Str,
                    "bytea" => Self::Binary,
                    $($more)*
                }
            }
        }
    };
}

types!(two, name, { _ => Self::Other, });

types!(three, name, {
    "date" => Self::Date,
    "time" => Self::Time,
    "timestamp" | "timestamptz" => Self::Datetime,
    _ => Self::Other,
});

types!(four, name, {
    "date" => Self::Date,
    "time" => Self::Time,
    "timestamp" | "timestamptz" => Self::Datetime,
    "uuid" => Self::Uuid,
    "jsonb" => Self::Jsonb,
    "numeric" => Self::Decimal,
    "int4range" => Self::RangeInt32,
    "int8range" => Self::RangeInt64,
    "numrange" => Self::RangeDecimal,
    "_int4" => Self::ArrayInt32,
    "_int8" => Self::ArrayInt64,
    "_numeric" => Self::ArrayDecimal,
    "_text" | "_varchar" | "_bpchar" => Self::ArrayStr,
    "interval" => Self::Interval,
    other => Self::Other(other.to_owned()),
});

macro_rules! errors {
    ($version:ident) => {
        impl From<QueryError> for $version::Error {
            fn from(error: QueryError) -> Self {
                match error {
                    QueryError::Parameter(text) => Self::BadParameter(text),
                    QueryError::Value(text) => Self::ValueConversionFailed(text),
                    QueryError::Database(refusal) => Self::QueryFailed(refusal.as_text),
                    QueryError::Failed(text) => Self::QueryFailed(text),
                }
            }
        }
    };
}

errors!(two);
errors!(three);

impl From<QueryError> for four::Error {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Parameter(text) => Self::BadParameter(text),
            QueryError::Value(text) => Self::ValueConversionFailed(text),
            QueryError::Failed(text) => Self::QueryFailed(four::QueryError::Text(text)),
            QueryError::Database(refusal) => {
                Self::QueryFailed(four::QueryError::DbError(four::DbError {
                    as_text: refusal.as_text,
                    severity: refusal.severity,
                    code: refusal.code,
                    message: refusal.message,
                    detail: refusal.detail,
                    extras: refusal.extras,
                }))
            }
        }
    }
}
