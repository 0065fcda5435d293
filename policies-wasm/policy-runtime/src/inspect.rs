//! Says what a component imports and exports, without running any of it.

use std::{fmt, sync::Arc};

use crate::{LoadError, compiled::Compiled, contract, load, runtime::Core};

/// A component's outside. While it lives, loading the same bytes does not compile them again.
pub struct Shape {
    /// What it imports, by full name, in the component's own order.
    pub imports: Vec<String>,
    /// What it exports, likewise.
    pub exports: Vec<String>,
    compiled: Arc<Compiled>,
}

impl Shape {
    /// Whether it was compiled by a run before, and is now only read from the folder.
    pub fn was_compiled_before(&self) -> bool {
        self.compiled.was_kept
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { imports, exports, compiled: _ } = self;
        f.debug_struct("Shape").field("imports", imports).field("exports", exports).finish_non_exhaustive()
    }
}

/// Compiles a component and reads its names. What it imports is not judged here: loading does that, and says why.
pub(crate) fn inspect(core: &Core, component: &[u8]) -> Result<Shape, LoadError> {
    let compiled = load::compiled(core, "check", component)?;
    let [imports, exports] = contract::names(&core.engine, &compiled.component);
    Ok(Shape { imports, exports, compiled })
}
