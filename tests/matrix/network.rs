//! Cables that are pulled, networks that lose packets.

use std::time::Duration;

use crate::bench::{Bench, GROUPS, Outcome};
use crate::cell::Format;
use crate::lab::in_netns;

/// How long packets are lost.
const LOSSY: Duration = Duration::from_secs(10);

/// Everything is cut, then healed.
pub(crate) fn partition(bench: &mut Bench) -> Outcome {
    bench.come_home()?;
    bench.cut(true);
    bench.wait("both own everything", |lab| GROUPS.iter().all(|group| lab.runners(group) == [0, 1]))?;
    // While every path is cut.
    bench.permitted = bench.lab.observer.overlaps();
    // With netstring a Heartbeat never settles after a takeover.
    if bench.cell.format != Format::Netstring {
        bench.wait_settled()?;
    }
    bench.cut(false);
    if bench.is_original() {
        for index in 0..2 {
            bench.wait_logged(index, "Performing heartbeat restart exec.")?;
        }
        bench.permitted = bench.lab.observer.overlaps();
        bench.wait_home()?;
        return bench.wait_settled().map(drop);
    }
    if bench.cell.format == Format::Netstring {
        // It never drops anything: its shutdown waits for the end of a takeover that never ends. Ours lets go instead.
        bench.wait_home()?;
        return bench.stays(Duration::from_secs(3));
    }
    bench.wait("Heartbeat drops everything", |lab| GROUPS.iter().all(|group| lab.runners(group) == [0]))?;
    bench.permitted = bench.lab.observer.overlaps();
    never_stopped(bench, "mail")?;
    bench.wait_logged(1, "Performing heartbeat restart exec.")?;
    bench.wait_home()?;
    bench.wait_settled()?;
    never_stopped(bench, "web")?;
    let log = bench.lab.boards[0].log();
    for words in ["node beta: is dead", "returning after partition"] {
        if !log.contains(words) {
            return Err(format!("alpha does not log: {words}"));
        }
    }
    if log.matches("Local status now set to: 'up'").count() != 1 {
        return Err("alpha restarts itself".to_owned());
    }
    bench.stays(Duration::from_secs(3))
}

fn never_stopped(bench: &Bench, group: &str) -> Outcome {
    match bench.lab.observer.count("alpha", group, "stop-begin") {
        0 => Ok(()),
        _ => Err(format!("alpha stops {group}")),
    }
}

/// A share of the packets is lost in both directions.
pub(crate) fn loss(bench: &mut Bench, percent: u64) -> Outcome {
    bench.come_home()?;
    lose(bench, percent);
    bench.stays(LOSSY)?;
    // The other link brings what this one loses.
    if bench.cell.medium.is_single() {
        for index in 0..2 {
            bench.wait_logged(index, "lost packet(s) for [")?;
        }
    }
    lose(bench, 0);
    if bench.cell.medium.is_single() {
        for index in 0..2 {
            bench.wait_logged(index, "No pkts missing from")?;
        }
    }
    bench.stays(Duration::from_secs(3))?;
    for index in 0..2 {
        bench.assert_not_logged(index, "is dead")?;
        bench.assert_not_logged(index, "Irretrievably lost")?;
    }
    Ok(())
}

fn lose(bench: &Bench, percent: u64) {
    bench.lab.modem.lose(percent);
    for board in &bench.lab.boards {
        let rules = "add table inet lossy; flush table inet lossy; delete table inet lossy; add table inet lossy; \
                     add chain inet lossy input { type filter hook input priority 0; }";
        let rule = format!("{rules}; add rule inet lossy input udp dport 694 numgen random mod 100 < {percent} drop");
        in_netns(board.netns(), &["nft", if percent == 0 { rules } else { &rule }]);
    }
}
