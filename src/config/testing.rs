//! `OnlyForTesting`, which the package's TestHeartbeatComm writes to cut communication (spec/api.md 10.4).

use std::path::Path;

use super::TextFile;
use super::finding::{At, Findings, quote};

/// Name in the configuration directory.
pub(super) const FILE_NAME: &str = "OnlyForTesting";
/// A probability of one.
pub const CERTAIN: u32 = 1_000_000;

/// Messages that are lost on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestLosses {
    /// Of what is sent, in millionths.
    pub transmitted: u32,
    /// Of what is received, in millionths.
    pub received: u32,
    /// Nodes from which everything is taken, each followed by `;`. With such a list everything is sent.
    pub allowed: String,
}

/// Reads the file; nothing when there is none.
pub(super) fn read(directory: &Path, findings: &mut Findings) -> Option<TestLosses> {
    let text = TextFile::read(&directory.join(FILE_NAME)).ok()?;
    let mut losses = TestLosses { transmitted: 0, received: 0, allowed: String::new() };
    for (number, line) in (1..).zip(String::from_utf8_lossy(&text.bytes).lines()) {
        let at = At { line: number, column: 1 };
        match line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
            Some(("xmitloss", value)) => losses.transmitted = probability(value, at, findings),
            Some(("rcvloss", value)) => losses.received = probability(value, at, findings),
            Some(("allownodes", value)) => losses.allowed = value.to_ascii_lowercase(),
            _ if line.trim().is_empty() => {}
            _ => {
                let expected = "`xmitloss=P`, `rcvloss=P` or `allownodes=NODE;NODE;`";
                findings.warning(at, quote(line)).expected(expected).hint("the line has no effect");
            }
        }
    }
    Some(losses)
}

fn probability(text: &str, at: At, findings: &mut Findings) -> u32 {
    millionths(text).unwrap_or_else(|| {
        findings.warning(at, quote(text)).expected("a probability from 0 to 1").hint("nothing is lost");
        0
    })
}

fn millionths(text: &str) -> Option<u32> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !(whole.len() + fraction.len() > 0 && (whole.bytes().chain(fraction.bytes())).all(|byte| byte.is_ascii_digit()))
    {
        return None;
    }
    let kept: String = fraction.chars().chain("000000".chars()).take(6).collect();
    format!("{whole}{kept}").parse().ok().filter(|millionths| *millionths <= CERTAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tool_writes_is_read_and_the_rest_is_named() {
        let directory = nix::unistd::mkdtemp(&std::env::temp_dir().join("nullbeat-testing-XXXXXX")).unwrap();
        let mut findings = Findings::new(&directory.join(FILE_NAME));
        assert_eq!(read(&directory, &mut findings), None);
        let write = |text: &str| std::fs::write(directory.join(FILE_NAME), text).unwrap();
        write("xmitloss=1\nrcvloss=0.25\nallownodes=Beta;gamma;\n");
        let losses = TestLosses { transmitted: CERTAIN, received: CERTAIN / 4, allowed: "beta;gamma;".into() };
        assert_eq!(read(&directory, &mut findings), Some(losses));
        assert!(findings.into_sorted().is_empty());
        let mut findings = Findings::new(&directory.join(FILE_NAME));
        write("xmitloss=2\n\nrcvloss=.0000009\nother\n");
        let none = TestLosses { transmitted: 0, received: 0, allowed: String::new() };
        assert_eq!(read(&directory, &mut findings), Some(none));
        let said: Vec<u32> = findings.into_sorted().iter().map(|finding| finding.at.line).collect();
        assert_eq!(said, [1, 4]);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
