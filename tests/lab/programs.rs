//! Heartbeat's packaged programs on a board: started as their user, and where they look for the sockets.

use std::process::{Child, Output};

use super::Board;

/// Where Debian's package heartbeat has put the programs that talk to the daemon.
pub(crate) const DIR: &str = "/usr/libexec/heartbeat";

/// A command as the user that Heartbeat's clients have.
pub(crate) fn as_hacluster<'w>(words: &[&'w str]) -> Vec<&'w str> {
    let user = ["setpriv", "--reuid", "hacluster", "--regid", "haclient", "--clear-groups"];
    user.iter().chain(words).copied().collect()
}

/// A program that goes on until the test ends it; what it says is in a file of its name in the board's folder ([`said`]).
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// The last word's end is the file's name.
    pub(crate) fn start(board: &Board, words: &[&str]) -> Self {
        Self::start_with(board, words, std::process::Stdio::null())
    }

    /// The same with this standard input.
    pub(crate) fn start_with(board: &Board, words: &[&str], input: std::process::Stdio) -> Self {
        let name = words.last().expect("a program").rsplit('/').next().expect("its name");
        let log = board.dir.join(format!("{name}.log"));
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("log");
        // Through a file they would say nothing before they end.
        let words: Vec<&str> = ["stdbuf", "-o0"].iter().chain(words).copied().collect();
        let mut command = board.command(&words);
        command.stdin(input).stdout(file.try_clone().expect("log")).stderr(file);
        Self(command.spawn().expect("a program"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program of this name has said on a board.
pub(crate) fn said(board: &Board, name: &str) -> String {
    std::fs::read_to_string(board.dir.join(format!("{name}.log"))).unwrap_or_default()
}

/// What a command said: standard output, exit code, and what stands behind the time and number in its errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) code: Option<i32>,
    pub(crate) err: Vec<String>,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        let words = |line: &str| line.split_once("]: ").map_or(line, |(_, words)| words).to_owned();
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            code: output.status.code(),
            err: err.lines().map(words).collect(),
        }
    }
}

impl Board {
    /// What the packaged `cl_status` says here.
    pub(crate) fn cl_status(&self, words: &[&str]) -> Said {
        let all: Vec<&str> = ["/usr/bin/cl_status"].iter().chain(words).copied().collect();
        Said::of(&self.on_board(&all))
    }

    /// What our own program says under that name.
    pub(crate) fn own_cl_status(&self, words: &[&str]) -> Said {
        let directory = format!("--run-dir={}", self.dir.join("run").display());
        let place = (!self.runs_heartbeat()).then_some(directory.as_str());
        let all: Vec<&str> = words.iter().copied().chain(place).collect();
        Said::of(&self.nullbeat_as("cl_status", &all))
    }

    /// The run directory of a nullbeat is where Heartbeat's clients look; some of them have sockets of their own in there.
    pub(crate) fn show_sockets(&self) {
        let script = format!(
            "mkdir -p {0} /run/heartbeat && cd {0} && mkdir -p ccm dopd && chown hacluster:haclient ccm dopd && \
             mount --bind . /run/heartbeat",
            self.dir.join("run").display()
        );
        let output = self.on_board(&["sh", "-c", &script]);
        assert!(output.status.success(), "{output:?}");
    }
}
