//! Waits, reads the clock, turns actions into calls.
