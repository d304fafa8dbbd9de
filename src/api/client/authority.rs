//! Who may sign on (spec/api.md 2.4).

use nix::unistd::geteuid;

use crate::api::ipc::Peer;
use crate::config::{ApiAuth, names};

/// Every client without a name.
const ANONYMOUS: &str = "anon";
/// Every named client without a class of its own.
const DEFAULT: &str = "default";

fn admits(class: &ApiAuth, peer: Peer) -> bool {
    class.uids.contains(&peer.uid) || class.gids.contains(&peer.gid)
}

/// All classes.
#[derive(Debug, Clone, Default)]
pub struct Authority {
    classes: Vec<ApiAuth>,
    /// Whom the daemon was started by: the engine has become somebody else when a client asks.
    owner: u32,
}

impl Authority {
    /// The classes that are built in, each replaced whole by one of `configured`. Names of users and groups that this
    /// machine does not know admit nobody. Who runs this daemon may always ask without a name.
    pub fn new(configured: &[ApiAuth]) -> Self {
        let owner = geteuid().as_raw();
        let user = || names::user("hacluster").map(|user| user.uid).into_iter().collect::<Vec<_>>();
        let group = || names::group("haclient").into_iter().collect::<Vec<_>>();
        let class = |client: &str, uids, gids| ApiAuth { client: client.to_owned(), uids, gids };
        let built_in = [
            class("ipfail", user(), Vec::new()),
            class("ccm", user(), Vec::new()),
            class("ping", Vec::new(), group()),
            class("lha-snmpagent", vec![0], Vec::new()),
            class(ANONYMOUS, vec![0, owner], group()),
        ];
        let is_free = |class: &ApiAuth| configured.iter().all(|other| other.client != class.client);
        let mut classes = configured.to_vec();
        classes.extend(built_in.into_iter().filter(is_free));
        Self { classes, owner }
    }

    /// Whether a client may hear everything, for looking for mistakes.
    pub(super) const fn may_read_along(&self, peer: Peer) -> bool {
        peer.uid == 0 || peer.uid == self.owner
    }

    /// Whether a client may sign on under this name, `None` being none at all.
    ///
    /// # Errors
    /// The reason, as the original words it.
    pub(super) fn check(&self, name: Option<&str>, peer: Peer) -> Result<(), &'static str> {
        let class = |name: &str| self.classes.iter().find(|class| class.client == name);
        let class = match name {
            None => class(ANONYMOUS).ok_or("apiauth anon missing")?,
            Some(name) => class(name).or_else(|| class(DEFAULT)).ok_or("no default client auth")?,
        };
        if admits(class, peer) { Ok(()) } else { Err("client failed authorization") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(uid: u32, gid: u32) -> Peer {
        Peer { pid: 1, uid, gid }
    }

    #[test]
    fn authority_is_that_of_the_users_file_before_the_built_in_one() {
        let class = |client: &str, uids: &[u32], gids: &[u32]| ApiAuth {
            client: client.to_owned(),
            uids: uids.to_vec(),
            gids: gids.to_vec(),
        };
        let built_in = Authority::new(&[]);
        assert_eq!(built_in.check(None, peer(0, 1)), Ok(()), "root");
        assert_eq!(built_in.check(None, peer(4711, 4711)), Err("client failed authorization"));
        assert_eq!(built_in.check(Some("ccm"), peer(0, 0)), Err("client failed authorization"), "not even root");
        assert_eq!(built_in.check(Some("lha-snmpagent"), peer(0, 0)), Ok(()));
        assert_eq!(built_in.check(Some("mine"), peer(0, 0)), Err("no default client auth"));

        let stranger = geteuid().as_raw() ^ 0x5555;
        assert!(built_in.may_read_along(peer(0, 1)) && !built_in.may_read_along(peer(stranger, 0)));

        let own = Authority::new(&[class("ccm", &[7], &[8]), class("default", &[], &[9]), class("anon", &[], &[])]);
        assert_eq!(own.check(Some("ccm"), peer(7, 1)), Ok(()), "either");
        assert_eq!(own.check(Some("ccm"), peer(1, 8)), Ok(()), "or");
        assert_eq!(own.check(Some("ccm"), peer(1, 9)), Err("client failed authorization"));
        assert_eq!(own.check(Some("mine"), peer(1, 9)), Ok(()));
        assert_eq!(own.check(None, peer(0, 0)), Err("client failed authorization"), "replaced whole");
    }
}
