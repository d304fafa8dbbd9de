//! From a confirmed fence to the first script, in one process: the guardian's runner with pins of our own, the channel, the
//! core. What lies between two processes on a board is left out, the wake-up.

use std::cell::Cell;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::rc::Rc;

use embedded_hal::digital::{ErrorType, InputPin, OutputPin};
use nullbeat::config::{Config, LoadOptions, Paths, Purpose, load};
use nullbeat::core::ids::{Generation, Uuid};
use nullbeat::core::settings::Identity;
use nullbeat::core::time::{Duration, Instant, Stamp};
use nullbeat::core::{Action, Input, JobOutcome, Node, Order};
use nullbeat::guardian::channel::Channel;
use nullbeat::guardian::fence::{HalPins, ShotOrder};
use nullbeat::guardian::jobs::Runner;
use nullbeat::guardian::protocol::{ToEngine, ToGuardian};

use super::sample::Sample;

/// More than `RUNS`: each takes milliseconds.
const SHOTS: usize = 100;
const HA_CF: &str = "node alpha beta\nucast lo 127.0.0.2\nlogfile /dev/null\nkeepalive 200ms\ndeadtime 1\n\
    initdead 12\nauto_failback on\nfence gpio reset pulse 10ms\ngpio fence-reset gpiochip0 1\n\
    gpio peer-power gpiochip0 2 active-low pull-down\nreset_with hook /bin/false\n";

/// Both ends of the wires: a peer that loses its power when its reset is driven.
#[derive(Debug, Clone, Default)]
struct Wire(Rc<Cell<bool>>);

impl ErrorType for Wire {
    type Error = Infallible;
}

impl OutputPin for Wire {
    fn set_low(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
    fn set_high(&mut self) -> Result<(), Infallible> {
        self.0.set(true);
        Ok(())
    }
}

impl InputPin for Wire {
    fn is_high(&mut self) -> Result<bool, Infallible> {
        Ok(!self.0.get())
    }
    fn is_low(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.get())
    }
}

/// Milliseconds from the confirmation to the end of the first script's fork.
pub(crate) fn measure(marker: &Path) -> io::Result<Sample> {
    let root = std::env::temp_dir().join(format!("nullbeat-bench-fence-{}", std::process::id()));
    let config = configure(&root, marker);
    let sample = config.and_then(|config| (0..SHOTS).map(|_| shoot(&config)).collect());
    let _ = std::fs::remove_dir_all(&root);
    sample
}

fn configure(root: &Path, marker: &Path) -> io::Result<Config> {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = root.join("ha.d");
    std::fs::create_dir_all(folder.join("resource.d"))?;
    std::fs::copy(marker, folder.join("resource.d/marker"))?;
    std::fs::write(folder.join("ha.cf"), HA_CF)?;
    std::fs::write(folder.join("haresources"), "beta marker::one\n")?;
    std::fs::write(folder.join("authkeys"), "auth 1\n1 sha1 bench\n")?;
    std::fs::set_permissions(folder.join("authkeys"), std::fs::Permissions::from_mode(0o600))?;
    let paths = Paths { config: folder, run: root.join("run"), state: root.join("state") };
    std::fs::create_dir_all(&paths.run)?;
    std::fs::create_dir_all(&paths.state)?;
    let options = LoadOptions { node: Some("alpha".into()), ..LoadOptions::new(Purpose::Check) };
    let loaded = load(&paths, &options);
    loaded.config.ok_or_else(|| io::Error::other(format!("{:?}", loaded.findings)))
}

/// A node whose partner was never heard and is to be fenced.
struct Bench {
    node: Box<Node>,
    now: Instant,
}

impl Bench {
    fn new(config: &Config) -> Self {
        let now = Instant::from_millis(1000);
        let identity = Identity { uuid: Uuid([1; 16]), generation: Generation(7) };
        let stamp = Stamp { now, wall: 1 };
        Self { node: Box::new(Node::new(config.settings(1), identity, None, stamp)), now }
    }

    /// One input; what the core wants of the guardian because of it. Nothing runs here before: that is said at once.
    fn handle(&mut self, input: Input<'_>) -> Vec<ToGuardian> {
        let mut wanted = Vec::new();
        self.node.handle(Stamp { now: self.now, wall: 1 }, input);
        while let Some(action) = self.node.poll_action() {
            match action {
                Action::Fence { shot, method } => {
                    wanted.push(ToGuardian::Fence { shot, method, generation: Generation(0) });
                }
                Action::Run { job, order: Order::Probe, .. } => {
                    wanted.extend(self.handle(Input::JobDone { job, outcome: JobOutcome::NoneRunning }));
                }
                Action::Run { job, group, order } => wanted.push(ToGuardian::Run { job, group, order }),
                _ => {}
            }
        }
        wanted
    }
}

fn shoot(config: &Config) -> io::Result<f64> {
    let mut bench = Bench::new(config);
    let limit = bench.now + Duration::from_secs(3600);
    let (shot, method, generation) = loop {
        if let Some(ToGuardian::Fence { shot, method, generation }) = bench.handle(Input::Tick).pop() {
            break (shot, method, generation);
        }
        bench.now = bench.node.poll_timeout();
        if bench.now > limit {
            return Err(io::Error::other("nobody is fenced"));
        }
    };
    let mut runner = Runner::new(config)?;
    let wire = Wire::default();
    let pins = HalPins { reset: Some(wire.clone()), power: None, sense: Some(wire) };
    runner.set_fence_pins(Box::new(pins));
    let (engine, guardian) = Channel::pair()?;
    let now = std::time::Instant::now();
    runner.fence(now, ShotOrder { shot, method, generation }, now);
    let report = loop {
        if let Some(report @ ToEngine::FenceDone { .. }) = runner.poll_report() {
            break report;
        }
        runner.turn(std::time::Instant::now());
    };
    let confirmed = std::time::Instant::now();
    guardian.send(&report.encode())?;
    let incoming = engine.receive()?.ok_or(io::ErrorKind::UnexpectedEof)?;
    let Ok(ToEngine::FenceDone { shot, outcome, .. }) = ToEngine::decode(incoming.bytes()) else {
        return Err(io::Error::other("another record"));
    };
    let mut requests = bench.handle(Input::FenceDone { shot, outcome });
    if bench.node.poll_timeout() <= bench.now {
        // As the driver does in the same turn.
        requests.extend(bench.handle(Input::Tick));
    }
    for request in requests {
        engine.send(&request.encode(config.table_digest()))?;
    }
    let incoming = guardian.receive()?.ok_or_else(|| io::Error::other("no script is wanted"))?;
    let Ok((ToGuardian::Run { job, group, order }, _)) = ToGuardian::decode(incoming.bytes()) else {
        return Err(io::Error::other("another request"));
    };
    runner.request(std::time::Instant::now(), job, group, order);
    let took = confirmed.elapsed();
    while !runner.is_idle() {
        runner.turn(std::time::Instant::now());
    }
    Ok(took.as_secs_f64() * 1e3)
}
