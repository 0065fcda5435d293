//! Reads a JSON object field by field, so that an error names the field at fault.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::ErrorBody;

/// A request's JSON object.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Bytes from the wire to an object; the message says where the JSON breaks.
    pub fn parse(body: &[u8]) -> Result<Fields, ErrorBody> {
        if let Err(error) = std::str::from_utf8(body) {
            return Err(ErrorBody::invalid_request(format!(
                "The request body must be UTF-8; byte {} is not.",
                error.valid_up_to()
            )));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Fields(fields)),
            Ok(other) => Err(ErrorBody::invalid_request(format!(
                "The request body must be a JSON object, not {}.",
                kind_of(&other)
            ))),
            Err(error) => {
                Err(ErrorBody::invalid_request(format!("The request body must be valid JSON, but it is not: {error}.")))
            }
        }
    }

    /// Takes a field out; absent and `null` are the same.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    /// Takes a field of a plain type; `wanted` ends the sentence "… must be".
    pub fn take_as<T: DeserializeOwned>(&mut self, name: &str, wanted: &str) -> Result<Option<T>, ErrorBody> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let found = shown(&value);
        serde_json::from_value(value).map(Some).map_err(|_| invalid(name, wanted, &found))
    }

    /// Takes a number that must lie in a range.
    pub fn take_within<T>(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<T>,
        wanted: &str,
    ) -> Result<Option<T>, ErrorBody>
    where
        T: DeserializeOwned + PartialOrd + ToString,
    {
        match self.take_as::<T>(name, wanted)? {
            Some(value) if !range.contains(&value) => Err(invalid(name, wanted, &value.to_string())),
            other => Ok(other),
        }
    }

    /// Takes a field that must be there.
    pub fn require(&mut self, name: &str, wanted: &str) -> Result<Value, ErrorBody> {
        self.take(name).ok_or_else(|| {
            ErrorBody::invalid_request(format!("'{name}' is required and must be {wanted}.")).param(name)
        })
    }
}

/// The error for a field whose value is not what it must be.
pub(crate) fn invalid(param: &str, wanted: &str, found: &str) -> ErrorBody {
    ErrorBody::invalid_request(format!("'{param}' must be {wanted}, not {found}.")).param(param)
}

/// A value as an error shows it: small ones whole, large ones by their kind.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Number(_) | Value::Bool(_) | Value::Null => value.to_string(),
        Value::String(text) if text.len() <= 32 => format!("{text:?}"),
        _ => kind_of(value).to_owned(),
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
