//! What the service manager wants to know (sd_notify(3)): one datagram for each change, when it asked for them.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The way to the service manager, or nowhere when it did not ask (`NOTIFY_SOCKET`).
#[derive(Debug)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// From the environment.
    pub fn from_environment() -> Self {
        let socket = env::var("NOTIFY_SOCKET").ok().and_then(|address| match connect(&address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!("cannot reach the service manager at {address}: {error}");
                None
            }
        });
        let is_ours = env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string());
        let micros = env::var("WATCHDOG_USEC").ok().filter(|_| is_ours).and_then(|text| text.parse().ok());
        Self { socket, watchdog: micros.filter(|&micros| micros > 0).map(Duration::from_micros) }
    }

    /// How often [`ServiceManager::alive`] is expected: half of what the service manager allows.
    pub fn watchdog_interval(&self) -> Option<Duration> {
        self.socket.as_ref().and(self.watchdog).map(|limit| limit / 2)
    }

    /// Negotiated and settled.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=running");
    }

    /// One line for people.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={text}"));
    }

    /// The watchdog's sign of life.
    pub fn alive(&self) {
        self.send("WATCHDOG=1");
    }

    /// The files are read again; [`ServiceManager::ready`] ends it.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| Duration::from(time).as_micros());
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=reloading"));
    }

    /// On the way out.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping");
    }

    fn send(&self, text: &str) {
        // Nobody can be told when this fails, and a service manager that does not read must not block a guardian.
        if let Some(socket) = &self.socket {
            let _ = socket.send(text.as_bytes());
        }
    }
}

fn connect(address: &str) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    match address.strip_prefix('@') {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => socket.connect(address)?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(listener: &UnixDatagram) -> String {
        let mut buffer = [0; 256];
        let len = listener.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..len].to_vec()).unwrap()
    }

    #[test]
    fn service_manager_hears_each_change() {
        let name = format!("nullbeat-service-test-{}", std::process::id());
        let listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let socket = connect(&format!("@{name}")).unwrap();
        let manager = ServiceManager { socket: Some(socket), watchdog: Some(Duration::from_secs(4)) };
        manager.ready();
        assert_eq!(received(&listener), "READY=1\nSTATUS=running");
        manager.alive();
        assert_eq!(received(&listener), "WATCHDOG=1");
        manager.reloading();
        assert!(received(&listener).starts_with("RELOADING=1\nMONOTONIC_USEC="));
        manager.stopping();
        assert_eq!(received(&listener), "STOPPING=1\nSTATUS=stopping");
        assert_eq!(manager.watchdog_interval(), Some(Duration::from_secs(2)));
    }

    #[test]
    fn service_manager_that_does_not_read_blocks_nobody() {
        let name = format!("nullbeat-service-full-{}", std::process::id());
        let _listener = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let manager = ServiceManager { socket: Some(connect(&format!("@{name}")).unwrap()), watchdog: None };
        for _ in 0..10_000 {
            manager.alive();
        }
    }

    #[test]
    fn service_manager_absent_wants_nothing() {
        let manager = ServiceManager { socket: None, watchdog: Some(Duration::from_secs(4)) };
        manager.ready();
        assert_eq!(manager.watchdog_interval(), None);
    }
}
