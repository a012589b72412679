//! Total loss, and back: what a wallet that has only its root key starts from.

mod cell;
