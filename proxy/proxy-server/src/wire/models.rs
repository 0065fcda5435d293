//! The models a replica serves, each kept as the JSON text the replica gave.

use serde::Deserialize;
use serde_json::value::RawValue;

/// Ids and the objects they name, in the replica's order.
pub(crate) type ModelList = Vec<Model>;

/// One model as a replica lists it.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub id: String,
    pub object: Box<RawValue>,
}

/// Reads `{"data":[{"id":…},…]}`.
pub(crate) fn read_models(body: &[u8]) -> Result<ModelList, serde_json::Error> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Box<RawValue>>,
    }
    #[derive(Deserialize)]
    struct Named {
        id: String,
    }
    let List { data } = serde_json::from_slice(body)?;
    data.into_iter().map(|object| Ok(Model { id: serde_json::from_str::<Named>(object.get())?.id, object })).collect()
}
