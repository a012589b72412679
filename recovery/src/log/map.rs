//! Versioned keys and values.
