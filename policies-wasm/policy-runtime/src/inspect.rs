//! Says what a component imports and exports, without running any of it.

use crate::{LoadError, contract, load, runtime::Core};

/// A component's outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What it imports, by full name, in the component's own order.
    pub imports: Vec<String>,
    /// What it exports, likewise.
    pub exports: Vec<String>,
}

/// Compiles a component and reads its names. What it imports is not judged here: loading does that, and says why.
pub(crate) fn inspect(core: &Core, component: &[u8]) -> Result<Shape, LoadError> {
    let compiled = load::compiled(core, "check", component)?;
    let [imports, exports] = contract::names(&core.engine, &compiled.component);
    Ok(Shape { imports, exports })
}
