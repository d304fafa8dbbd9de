//! The only room with `unsafe`: system calls that `nix` does not wrap, each behind a safe function.
