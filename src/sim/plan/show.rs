//! A plan for people.

use std::fmt;

use super::{MS, Plan};

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = |micros: u64| micros / MS;
        writeln!(
            f,
            "seed {}: {} nodes, power at {:?} ms",
            self.seed,
            self.nodes,
            self.power_on.iter().map(|at| ms(*at)).collect::<Vec<_>>()
        )?;
        writeln!(f, "  links {:?}, echo on {:?}", self.links, self.echo)?;
        for (index, group) in self.groups.iter().enumerate() {
            let (status, start, stop) = (ms(group.status), ms(group.start), ms(group.stop));
            writeln!(
                f,
                "  group {index} at home on node {}, status {status} ms, start {start} ms, stop {stop} ms",
                group.preferred
            )?;
        }
        writeln!(
            f,
            "  keepalive {} ms, deadtime {} ms, initdead {} ms, boot {} ms, scripts' limit {} ms",
            ms(self.keepalive),
            ms(self.deadtime),
            ms(self.initdead),
            ms(self.boot),
            ms(self.script_limit)
        )?;
        if !self.paces.is_empty() {
            writeln!(
                f,
                "  keepalive of each link {:?} ms",
                self.paces.iter().map(|pace| ms(*pace)).collect::<Vec<_>>()
            )?;
        }
        writeln!(
            f,
            "  auto_failback {:?} after {} ms, moves_per_hour {}, takeover_policy {:?}, split_brain_loser {:?}",
            self.auto_failback,
            ms(self.failback_delay),
            self.moves_per_hour,
            self.policy,
            self.loser
        )?;
        writeln!(
            f,
            "  reset on stop failure {}, without extensions {}, through the encoder {}, ping node {}",
            self.is_reset_on_stop_failure, self.is_stripped, self.is_wire, self.has_upstream
        )?;
        if !self.fence.is_empty() {
            let methods: Vec<_> = self.fence.iter().map(|method| (method.kind, ms(method.limit))).collect();
            let (settle, limit) = (ms(self.fence_settle), self.fencings_per_hour);
            writeln!(f, "  fence {methods:?}, settle {settle} ms, {limit} an hour")?;
        }
        if let Some(lease) = self.lease {
            writeln!(f, "  lease {} ms, watchdog {} ms", ms(lease.kick_for), ms(lease.timeout))?;
        }
        if self.has_owner_line {
            writeln!(f, "  line owner")?;
        }
        if let Some(settle) = self.interlock_settle {
            writeln!(f, "  interlock, settle {} ms", ms(settle))?;
        }
        if let Some(health) = self.health {
            let (interval, holdoff) = (ms(health.interval), ms(health.holdoff));
            writeln!(f, "  checks told within {interval} ms, hold-off {holdoff} ms, {} restarts", health.restarts)?;
        }
        for (at, fault) in &self.faults {
            writeln!(f, "  {:>8} ms {fault:?}", ms(*at))?;
        }
        writeln!(f, "  {:>8} ms calm, {} ms tidy, {} ms end", ms(self.calm_at), ms(self.tidy_at), ms(self.end))
    }
}
