//! Ownership: which groups run here, who may take what, and when.
