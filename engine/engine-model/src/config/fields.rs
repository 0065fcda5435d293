//! Takes typed values out of a JSON object, and names the field when it cannot.
//!
//! GGUF's metadata is read through the same object, under config.json's names; errors name GGUF's keys.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::LoadError;

/// A JSON object that remembers where it came from.
#[derive(Debug)]
pub(crate) struct Fields {
    path: PathBuf,
    /// `rope_scaling.` inside that object, empty at the top.
    prefix: String,
    map: Map<String, Value>,
    /// What the file itself calls a field, where that is not config.json's name.
    spellings: HashMap<&'static str, String>,
}

impl Fields {
    pub(crate) fn read(path: &Path) -> Result<Fields, LoadError> {
        let text = fs::read(path).map_err(|source| LoadError::Read { path: path.to_owned(), source })?;
        let map = serde_json::from_slice(&text)
            .map_err(|error| LoadError::Json { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Fields::of(path, map, HashMap::new()))
    }

    pub(crate) fn of(path: &Path, map: Map<String, Value>, spellings: HashMap<&'static str, String>) -> Fields {
        Fields { path: path.to_owned(), prefix: String::new(), map, spellings }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the field is there and not null.
    pub(crate) fn has(&self, field: &str) -> bool {
        self.get(field).is_some()
    }

    pub(crate) fn wrong(&self, field: &str, expected: String) -> LoadError {
        let found = self.map.get(field).unwrap_or(&Value::Null).to_string();
        LoadError::FieldWrong { path: self.path.clone(), field: self.spelt(field), expected, found }
    }

    pub(crate) fn optional_count(&self, field: &str) -> Result<Option<usize>, LoadError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let count = value.as_u64().filter(|count| (1..=u64::from(u32::MAX)).contains(count));
        let count = count.ok_or_else(|| self.wrong(field, "a positive integer".to_owned()))?;
        Ok(Some(usize::try_from(count).expect("a u32 fits")))
    }

    pub(crate) fn count(&self, field: &str) -> Result<usize, LoadError> {
        self.optional_count(field)?.ok_or_else(|| self.missing(field))
    }

    /// An integer of either sign.
    pub(crate) fn integer(&self, field: &str) -> Result<i64, LoadError> {
        let value = self.get(field).ok_or_else(|| self.missing(field))?;
        value.as_i64().ok_or_else(|| self.wrong(field, "an integer".to_owned()))
    }

    pub(crate) fn count_u32(&self, field: &str) -> Result<u32, LoadError> {
        Ok(u32::try_from(self.count(field)?).expect("optional_count checks the range"))
    }

    pub(crate) fn positive(&self, field: &str) -> Result<f64, LoadError> {
        let value = self.get(field).ok_or_else(|| self.missing(field))?;
        let number = value.as_f64().filter(|number| *number > 0.0);
        number.ok_or_else(|| self.wrong(field, "a positive number".to_owned()))
    }

    pub(crate) fn optional_positive(&self, field: &str) -> Result<Option<f64>, LoadError> {
        self.has(field).then(|| self.positive(field)).transpose()
    }

    pub(crate) fn flag(&self, field: &str) -> Result<Option<bool>, LoadError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let flag = value.as_bool().ok_or_else(|| self.wrong(field, "true or false".to_owned()))?;
        Ok(Some(flag))
    }

    pub(crate) fn text(&self, field: &str) -> Result<Option<String>, LoadError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let text = value.as_str().ok_or_else(|| self.wrong(field, "a string".to_owned()))?;
        Ok(Some(text.to_owned()))
    }

    /// The first string of a list of strings.
    pub(crate) fn first_text(&self, field: &str) -> Result<String, LoadError> {
        let value = self.get(field).ok_or_else(|| self.missing(field))?;
        let first = value.as_array().and_then(|list| list.first()).and_then(Value::as_str);
        let first = first.ok_or_else(|| self.wrong(field, "a list of strings".to_owned()))?;
        Ok(first.to_owned())
    }

    /// One token id, a list of them, or none.
    pub(crate) fn token_ids(&self, field: &str) -> Result<Vec<u32>, LoadError> {
        let Some(value) = self.get(field) else {
            return Ok(Vec::new());
        };
        let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
        let ids = match value {
            Value::Array(list) => list.iter().map(id).collect(),
            single => id(single).map(|id| vec![id]),
        };
        ids.ok_or_else(|| self.wrong(field, "a token id or a list of them".to_owned()))
    }

    /// An object inside this one.
    pub(crate) fn object(&self, field: &str) -> Result<Option<Fields>, LoadError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let map = value.as_object().ok_or_else(|| self.wrong(field, "an object".to_owned()))?;
        let prefix = format!("{}{field}.", self.prefix);
        Ok(Some(Fields { path: self.path.clone(), prefix, map: map.clone(), spellings: HashMap::new() }))
    }

    /// A list of strings.
    pub(crate) fn texts(&self, field: &str) -> Result<Option<Vec<String>>, LoadError> {
        let Some(value) = self.get(field) else {
            return Ok(None);
        };
        let texts = value
            .as_array()
            .and_then(|list| list.iter().map(|text| text.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>());
        Ok(Some(texts.ok_or_else(|| self.wrong(field, "a list of strings".to_owned()))?))
    }

    /// A list of positive numbers.
    pub(crate) fn positives(&self, field: &str) -> Result<Vec<f64>, LoadError> {
        let value = self.get(field).ok_or_else(|| self.missing(field))?;
        let numbers = value.as_array().and_then(|list| {
            let numbers = list.iter().map(|number| number.as_f64().filter(|number| *number > 0.0));
            numbers.collect::<Option<Vec<f64>>>()
        });
        numbers.ok_or_else(|| self.wrong(field, "a list of positive numbers".to_owned()))
    }

    /// A list of integers that are not negative; empty if absent.
    pub(crate) fn indices(&self, field: &str) -> Result<Vec<usize>, LoadError> {
        let Some(value) = self.get(field) else {
            return Ok(Vec::new());
        };
        let index = |value: &Value| value.as_u64().and_then(|index| usize::try_from(index).ok());
        let indices = value.as_array().and_then(|list| list.iter().map(index).collect::<Option<Vec<usize>>>());
        indices.ok_or_else(|| self.wrong(field, "a list of integers".to_owned()))
    }

    fn get(&self, field: &str) -> Option<&Value> {
        self.map.get(field).filter(|value| !value.is_null())
    }

    fn missing(&self, field: &str) -> LoadError {
        LoadError::FieldMissing { path: self.path.clone(), field: self.spelt(field) }
    }

    fn spelt(&self, field: &str) -> String {
        match self.spellings.get(field) {
            Some(spelling) => spelling.clone(),
            None => format!("{}{field}", self.prefix),
        }
    }
}
