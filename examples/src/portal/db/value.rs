//! What goes into a statement and comes out of it: whole numbers, text and bytes, the three types that both databases have
//! and understand alike.

use super::DbError;

/// A value of a column.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Value {
    Null,
    Integer(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The parameters of a statement, in the order of `$1`, `$2`, …
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::portal::db::value::Value::from($value)),*] };
}
pub(super) use params;

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u64> for Value {
    /// Times and lengths, none of which comes near the limit.
    fn from(value: u64) -> Self {
        Self::Integer(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Integer(value.into())
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.into())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.into())
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A type that a column can be read as.
pub(super) trait FromValue: Sized {
    fn from_value(value: Value) -> Option<Self>;
}

impl FromValue for u64 {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Integer(value) = value { value.try_into().ok() } else { None }
    }
}

impl FromValue for bool {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Integer(value) = value { Some(value != 0) } else { None }
    }
}

impl FromValue for String {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Text(value) = value { Some(value) } else { None }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: Value) -> Option<Self> {
        if let Value::Bytes(value) = value { Some(value) } else { None }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: Value) -> Option<Self> {
        if value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

/// A tuple that a row can be read as.
pub(super) trait FromRow: Sized {
    fn from_row(row: Vec<Value>) -> Result<Self, DbError>;
}

macro_rules! tuples {
    ($(($($column:ident)+))+) => { $(
        impl<$($column: FromValue),+> FromRow for ($($column,)+) {
            fn from_row(row: Vec<Value>) -> Result<Self, DbError> {
                let mut values = row.into_iter();
                let row = ($($column::from_value(values.next().ok_or(DbError::Content)?).ok_or(DbError::Content)?,)+);
                if values.next().is_none() { Ok(row) } else { Err(DbError::Content) }
            }
        }
    )+ };
}
tuples! { (A) (A B) (A B C) (A B C D) (A B C D E) (A B C D E F) (A B C D E F G) (A B C D E F G H) }

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_as_what_they_are_or_not_at_all() {
        let row = || vec![Value::Integer(1), Value::Text("a".into()), Value::Null];
        assert_eq!(<(u64, String, Option<u64>)>::from_row(row()).unwrap(), (1, "a".into(), None));
        assert!(<(u64, String, u64)>::from_row(row()).is_err());
        assert!(<(u64, String)>::from_row(row()).is_err());
        assert!(<(u64, String, Option<u64>, u64)>::from_row(row()).is_err());
        assert!(<(u64,)>::from_row(vec![Value::Integer(-1)]).is_err());
    }
}
