//! The socket of the service: programs connect, and are told; they say nothing (spec/api.md 6.4).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use crate::api::ipc::{Connection, Full, Peer, Rooms, Taken, accept};
use crate::core::limits::PROGRAMS_MAX;
use crate::core::time::{Duration, Instant};

/// Name of the socket, and of its directory in Heartbeat's.
pub const SOCKET_NAME: &str = "ccm/ccm";
/// Bytes that wait for a program beside what the system keeps for it: several memberships of sixteen nodes.
const OUTPUT_MAX: usize = 32 * 1024;
/// Frames that wait; far more of them fit than bytes.
const FRAMES_MAX: usize = 1024;
/// Connections taken in a turn.
const ACCEPTS_PER_TURN: usize = 4;
/// How long nobody is taken when the system has no descriptor left.
const PAUSE: Duration = Duration::from_secs(1);
/// Places of one user at the most, of root, and of one process.
const OF_A_USER: usize = PROGRAMS_MAX / 2;
const OF_ROOT: usize = PROGRAMS_MAX * 3 / 4;
const OF_A_PROCESS: usize = PROGRAMS_MAX / 4;
/// The listener's number among the events; programs have their slot's.
const LISTENER: u64 = u64::MAX;

/// Programs that want to know the membership. Nest [`as_fd`](AsFd::as_fd) in an epoll and call [`Server::turn`] when it is
/// readable or [`Server::next_deadline`] has come. It allocates nothing: its memory is made before.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    epoll: Epoll,
    programs: [Slot; PROGRAMS_MAX],
    paused_until: Option<Instant>,
    is_full_told: bool,
}

#[derive(Debug)]
struct Slot {
    program: Option<Connection>,
    /// Of no connection at present.
    rooms: Option<Rooms>,
}

/// The memory of a [`Server`], to be made before memory is locked.
#[derive(Debug)]
pub struct ProgramRooms([Rooms; PROGRAMS_MAX]);

impl Default for ProgramRooms {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Rooms::new(0, OUTPUT_MAX)))
    }
}

impl ProgramRooms {
    /// Gives back what is not used yet; it comes again when it is.
    pub fn give_back(&mut self) {
        self.0.iter_mut().for_each(Rooms::give_back);
    }
}

impl Server {
    /// Serves a listening socket.
    ///
    /// # Errors
    /// What epoll or fcntl say.
    pub fn new(listener: OwnedFd, rooms: ProgramRooms) -> io::Result<Self> {
        let listener = UnixListener::from(listener);
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let programs = rooms.0.map(|rooms| Slot { program: None, rooms: Some(rooms) });
        Ok(Self { listener, epoll, programs, paused_until: None, is_full_told: false })
    }

    /// How many programs are connected.
    pub fn count(&self) -> usize {
        self.programs.iter().filter(|slot| slot.program.is_some()).count()
    }

    /// When [`Server::turn`] is due although nothing is readable.
    pub const fn next_deadline(&self) -> Option<Instant> {
        self.paused_until
    }

    /// Takes connections, which `greet` tells what is in force, and drops those that have gone.
    pub fn turn(&mut self, now: Instant, mut greet: impl FnMut(&mut dyn FnMut(&[u8]))) {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
            self.watch_listener(true);
        }
        let mut events = [EpollEvent::empty(); PROGRAMS_MAX + 1];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in &events[..count] {
            match usize::try_from(event.data()).ok().filter(|slot| *slot < PROGRAMS_MAX) {
                Some(slot) => self.serve(slot, event.events()),
                None => self.take(now, &mut greet),
            }
        }
    }

    /// Tells every program.
    pub fn tell(&mut self, body: &[u8]) {
        for slot in 0..PROGRAMS_MAX {
            self.say(slot, body);
        }
    }

    fn take(&mut self, now: Instant, greet: &mut impl FnMut(&mut dyn FnMut(&[u8]))) {
        for _ in 0..ACCEPTS_PER_TURN {
            let (socket, peer) = match accept(&self.listener) {
                Ok(Some(accepted)) => accepted,
                Ok(None) => return,
                Err(error) => {
                    log::warn!("membership: no connection can be taken: {error}");
                    self.watch_listener(false);
                    self.paused_until = Some(now + PAUSE);
                    return;
                }
            };
            let is_granted = self.has_a_place_for(peer);
            let Some(place) = self.programs.iter().position(|slot| slot.program.is_none() && is_granted) else {
                if !std::mem::replace(&mut self.is_full_told, true) {
                    log::warn!(
                        "membership: too many programs: one of user {} (pid {}) is refused, and further ones. There are \
                         {PROGRAMS_MAX} places, {OF_ROOT} for root, {OF_A_USER} for another user, {OF_A_PROCESS} for a process",
                        peer.uid,
                        peer.pid
                    );
                }
                continue;
            };
            let watch = EpollEvent::new(EpollFlags::EPOLLIN, place as u64);
            let slot = &mut self.programs[place];
            if self.epoll.add(&socket, watch).is_ok()
                && let Some(rooms) = slot.rooms.take()
            {
                slot.program = Some(Connection::new(socket, peer, rooms, FRAMES_MAX));
                greet(&mut |body| self.say(place, body));
            }
        }
    }

    /// Nobody keeps all others out: no user, root included, and no process.
    fn has_a_place_for(&self, peer: Peer) -> bool {
        let count = |is_alike: &dyn Fn(Peer) -> bool| {
            let programs = self.programs.iter().filter_map(|slot| slot.program.as_ref());
            programs.filter(|program| is_alike(program.peer())).count()
        };
        // Those of another PID namespace all have the number 0 here.
        let of_a_process = if peer.pid > 0 { OF_A_PROCESS } else { OF_A_USER };
        let of_a_user = if peer.uid == 0 { OF_ROOT } else { OF_A_USER };
        count(&|other| other.pid == peer.pid) < of_a_process && count(&|other| other.uid == peer.uid) < of_a_user
    }

    fn serve(&mut self, place: usize, events: EpollFlags) {
        let Some(program) = &mut self.programs[place].program else { return };
        let is_gone = events.contains(EpollFlags::EPOLLOUT) && program.flush().is_err();
        // What a program says means nothing; that it has closed its end does.
        if is_gone || matches!(program.take(), Taken::End(_)) {
            self.drop_program(place);
        } else {
            self.watch_output(place);
        }
    }

    fn say(&mut self, place: usize, body: &[u8]) {
        let Some(program) = &mut self.programs[place].program else { return };
        match program.send(body) {
            Ok(()) => self.watch_output(place),
            Err(full) => {
                if let Full::Queue(frames) = full {
                    let pid = program.peer().pid;
                    log::warn!("membership: a program (pid {pid}) does not read: it is dropped with {frames} messages");
                }
                self.drop_program(place);
            }
        }
    }

    fn drop_program(&mut self, place: usize) {
        let slot = &mut self.programs[place];
        if let Some(program) = slot.program.take() {
            let _ = self.epoll.delete(&program);
            let mut rooms = program.close();
            rooms.give_back();
            slot.rooms = Some(rooms);
            self.is_full_told = false;
        }
    }

    fn watch_output(&self, place: usize) {
        if let Some(program) = &self.programs[place].program {
            let mut flags = EpollFlags::EPOLLIN;
            flags.set(EpollFlags::EPOLLOUT, program.is_output_waiting());
            // It was added before.
            let _ = self.epoll.modify(program, &mut EpollEvent::new(flags, place as u64));
        }
    }

    fn watch_listener(&self, is_watched: bool) {
        let flags = if is_watched { EpollFlags::EPOLLIN } else { EpollFlags::empty() };
        let _ = self.epoll.modify(&self.listener, &mut EpollEvent::new(flags, LISTENER));
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::ipc::listen;

    fn server() -> Server {
        let path = std::env::temp_dir().join(format!("nullbeat-followers-{}", std::process::id()));
        Server::new(listen(&path, 0o600).unwrap().into(), ProgramRooms::default()).unwrap()
    }

    impl Server {
        /// A program connects; whether there was a place.
        fn is_taken(&mut self, pid: i32, uid: u32) -> bool {
            let peer = Peer { pid, uid, gid: uid };
            let place =
                self.programs.iter().position(|slot| slot.program.is_none()).filter(|_| self.has_a_place_for(peer));
            let Some(place) = place else { return false };
            let (ours, _) = std::os::unix::net::UnixStream::pair().unwrap();
            let slot = &mut self.programs[place];
            slot.program = slot.rooms.take().map(|rooms| Connection::new(ours.into(), peer, rooms, FRAMES_MAX));
            true
        }
    }

    #[test]
    fn neither_a_process_nor_root_keeps_others_from_following_the_membership() {
        let mut server = server();
        let taken = (0..40).filter(|_| server.is_taken(700, 0)).count();
        assert_eq!(taken, OF_A_PROCESS, "of one process");
        let taken = (0..40).filter(|number| server.is_taken(800 + number, 0)).count();
        assert_eq!(taken, OF_ROOT - OF_A_PROCESS, "of all of root's");
        let taken = (0..40).filter(|number| server.is_taken(900 + number, 105)).count();
        assert_eq!(taken, PROGRAMS_MAX - OF_ROOT, "what root cannot have");
        assert!(!server.is_taken(999, 106), "there are no more");
        for slot in 0..4 {
            server.drop_program(slot);
        }
        assert!(server.is_taken(701, 0), "those that have gone make room");
    }

    #[test]
    fn programs_of_another_pid_namespace_share_half_of_the_places() {
        let mut server = server();
        let taken = (0..40).filter(|number| server.is_taken(0, number % 3)).count();
        assert_eq!(taken, OF_A_USER);
        assert!(server.is_taken(5, 9));
    }
}
