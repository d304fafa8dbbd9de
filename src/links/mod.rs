//! Moves bytes between descriptors and peers. Never decides.
