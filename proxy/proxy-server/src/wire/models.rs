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

impl Model {
    /// A model of which only the name is known.
    pub fn named(id: String) -> Model {
        let object = serde_json::json!({"id": id, "object": "model", "created": 0, "owned_by": "headworks"});
        let object = serde_json::value::to_raw_value(&object).expect("an object of plain values is JSON");
        Model { id, object }
    }
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
