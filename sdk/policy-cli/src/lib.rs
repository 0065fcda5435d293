//! The verbs of `headworks policy`.
