//! Bytes that were seen between packaged programs, and whole clusters in virtual time.

mod bytes;
mod clusters;
mod world;

use super::Local;
use crate::core::ids::NodeName;

/// A cluster of nodes of these names, weight 100 each, as the one of name `local` sees it.
fn local(names: &[&str], local: &str) -> Local {
    let names: Vec<NodeName> = names.iter().map(|name| NodeName::try_from(*name).unwrap()).collect();
    Local::new(names.iter().map(|name| (name, 100)), local).unwrap()
}
