//! Digests that tell versions of a file, and boots, apart.

use std::io;

use crate::config::{Config, Group};

/// Digest of a group: its node and all its words.
pub fn group_digest(group: &Group) -> u64 {
    fnv(fnv(fnv(FNV_START, group.node.as_bytes()), b" "), group.text.as_bytes())
}

/// Digest of what engine and guardian must have read alike: nodes, media, groups.
pub fn table_digest(config: &Config) -> u64 {
    let mut digest = fnv(FNV_START, format!("{} {:?} {:?}", config.node, config.nodes, config.media).as_bytes());
    for group in &config.groups {
        digest = fnv(digest, &group_digest(group).to_le_bytes());
    }
    digest
}

/// Digest of the ways to fence, in their order.
pub(super) fn methods_digest(config: &Config) -> u64 {
    fnv(FNV_START, format!("{:?}", config.fence.methods).as_bytes())
}

/// Digest of who the nodes are, and which of them this one is.
pub(super) fn nodes_digest(config: &Config) -> u64 {
    config.nodes.iter().fold(fnv(FNV_START, config.node.as_bytes()), |hash, node| fnv(fnv(hash, b" "), node.as_bytes()))
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: these digests tell versions of a file apart; they protect against nobody.
fn fnv(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// Digest of the kernel's name for this boot.
///
/// # Errors
/// What reading it says.
pub fn boot_id() -> io::Result<u64> {
    Ok(fnv(FNV_START, std::fs::read("/proc/sys/kernel/random/boot_id")?.as_slice()))
}
