//! A virtual world for the core: clock, links with faults, boards that fail; and the oracle that watches them.
