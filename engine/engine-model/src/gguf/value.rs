//! A value of a GGUF file's metadata.

use serde_json::Value as Json;

use super::cursor::{Cursor, Reason};

/// Any value; numbers are widened.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    List(Vec<Value>),
}

/// Lists inside lists: the format allows any depth, and no writer uses more than one.
const DEPTH_MAX: u32 = 2;
/// Ten times the largest vocabulary.
const LIST_MAX: usize = 1 << 22;

impl Value {
    /// A type and a value of it.
    pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Value, Reason> {
        let kind = cursor.u32()?;
        Value::of_kind(kind, cursor, DEPTH_MAX)
    }

    fn of_kind(kind: u32, cursor: &mut Cursor<'_>, depth_left: u32) -> Result<Value, Reason> {
        let at = cursor.position();
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(cursor.array()?).into()),
            1 => Value::Signed(i8::from_le_bytes(cursor.array()?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(cursor.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(cursor.array()?).into()),
            4 => Value::Unsigned(cursor.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(cursor.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(cursor.array()?).into()),
            7 => Value::Bool(u8::from_le_bytes(cursor.array()?) != 0),
            8 => Value::Text(cursor.text()?.to_owned()),
            9 if depth_left > 0 => Value::list(cursor, depth_left - 1)?,
            9 => return Err(format!("lists are nested too deep at byte {at}")),
            10 => Value::Unsigned(cursor.u64()?),
            11 => Value::Signed(i64::from_le_bytes(cursor.array()?)),
            12 => Value::Float(f64::from_le_bytes(cursor.array()?)),
            other => return Err(format!("there is no value type {other} (at byte {at})")),
        })
    }

    fn list(cursor: &mut Cursor<'_>, depth_left: u32) -> Result<Value, Reason> {
        let kind = cursor.u32()?;
        let count = cursor.count(bytes_least(kind))?;
        if count > LIST_MAX {
            return Err(format!("a list of {count} is longer than {LIST_MAX}"));
        }
        (0..count).map(|_| Value::of_kind(kind, cursor, depth_left)).collect::<Result<_, _>>().map(Value::List)
    }

    pub(super) fn unsigned(&self) -> Option<u64> {
        match self {
            Value::Unsigned(number) => Some(*number),
            Value::Signed(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn float(&self) -> Option<f64> {
        match self {
            Value::Float(number) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn list_of(&self) -> Option<&[Value]> {
        match self {
            Value::List(list) => Some(list),
            _ => None,
        }
    }

    /// As config.json would hold it.
    pub(super) fn json(&self) -> Json {
        match self {
            Value::Unsigned(number) => (*number).into(),
            Value::Signed(number) => (*number).into(),
            Value::Float(number) => (*number).into(),
            Value::Bool(flag) => (*flag).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(list) => list.iter().map(Value::json).collect(),
        }
    }
}

/// What a value of a type takes at least.
fn bytes_least(kind: u32) -> usize {
    match kind {
        0 | 1 | 7 => 1,
        2 | 3 => 2,
        4..=6 => 4,
        8 | 10..=12 => 8,
        9 => 12,
        _ => 1,
    }
}
