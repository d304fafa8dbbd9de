//! From a fence line to the words, variables and input of a program (spec/resources.md 14.3 to 14.5).

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::config::{FenceHow, FenceMethod, Parameters, StonithParameters};

/// Where cluster-glue keeps what its plugins call, `ha_log.sh` among it.
const GLUE: &str = "/usr/share/cluster-glue";
/// The program `stonith` reads its parameters there: neither its command line nor the disk has them.
const STANDARD_INPUT: &str = "/dev/stdin";

/// What is asked of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Task {
    /// Turn the peer off, or reset it.
    Shoot,
    /// Is the peer off now?
    Verify,
    /// Does the device answer?
    Check,
}

/// One run of a program.
#[derive(Debug)]
pub(super) struct FenceCommand {
    pub(super) path: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) variables: Vec<CString>,
    pub(super) input: Option<File>,
    /// The exit code that means yes.
    pub(super) success: i32,
}

/// What `task` needs; `None` when the method has nothing of the kind.
///
/// # Errors
/// When no memory can be had for the standard input.
pub(super) fn command(
    method: &FenceMethod,
    task: Task,
    target: &str,
    base: &[CString],
) -> io::Result<Option<FenceCommand>> {
    let plain = |path: &Path, arguments: Vec<&str>| FenceCommand {
        path: path.to_owned(),
        arguments: arguments.into_iter().map(str::to_owned).collect(),
        variables: Vec::new(),
        input: None,
        success: 0,
    };
    Ok(match (&method.how, task) {
        (FenceHow::External { path, parameters }, Task::Shoot | Task::Check) => {
            let words = if task == Task::Shoot { vec!["reset", target] } else { vec!["status"] };
            Some(FenceCommand { variables: variables(&method.name, parameters, target, base), ..plain(path, words) })
        }
        (FenceHow::Agent { path, parameters, is_off }, _) => {
            let (action, success) = match task {
                Task::Shoot => (if *is_off { "off" } else { "reboot" }, 0),
                // After a reboot it may be on again: only `off` can be asked about.
                Task::Verify if *is_off => ("status", 2),
                Task::Verify => return Ok(None),
                Task::Check => ("monitor", 0),
            };
            let input = Some(input(&agent_input(action, parameters, target))?);
            Some(FenceCommand { input, success, ..plain(path, Vec::new()) })
        }
        (FenceHow::Stonith { program, kind, parameters }, Task::Shoot | Task::Check) => {
            let (file, input) = match parameters {
                StonithParameters::File(path) => (path.display().to_string(), None),
                StonithParameters::Text(text) => (STANDARD_INPUT.to_owned(), Some(input(&format!("{text}\n"))?)),
            };
            let mut words = vec!["-t", kind, "-F", &file];
            words.extend(if task == Task::Shoot { vec!["-T", "reset", target] } else { vec!["-S"] });
            Some(FenceCommand { input, ..plain(program, words) })
        }
        (FenceHow::Hook(path), Task::Shoot) => Some(plain(path, vec![target])),
        _ => None,
    })
}

/// Each parameter under its own name, and what cluster-glue sets for its plugins.
fn variables(name: &str, parameters: &Parameters, target: &str, base: &[CString]) -> Vec<CString> {
    let path = base.iter().find_map(|entry| entry.to_str().ok()?.strip_prefix("PATH="));
    let path = path.map_or_else(|| GLUE.to_owned(), |path| format!("{GLUE}:{path}"));
    let own = [("PATH", path.as_str()), ("HA_LOGTAG", name)];
    let hosts = parameters.get("hostlist").is_none().then_some(("hostlist", target));
    let all = parameters.iter().chain(hosts).chain(own);
    all.filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok()).collect()
}

/// Lines of `key=value`; the outlet is called as the node unless the line says otherwise.
fn agent_input(action: &str, parameters: &Parameters, target: &str) -> String {
    let mut text = format!("action={action}\n");
    for (name, value) in parameters.iter() {
        text += &format!("{name}={value}\n");
    }
    if parameters.get("nodename").is_none() {
        text += &format!("nodename={target}\n");
    }
    if parameters.get("plug").is_none() && parameters.get("port").is_none() {
        text += &format!("plug={target}\n");
    }
    text
}

/// A file without a name that holds `text`: whoever reads it finds an end, and it is gone with its last reader.
fn input(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"nullbeat-fence", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    io::Seek::rewind(&mut file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::time::Duration;

    use super::*;

    const SECRET: &str = "pa ss#word";

    fn method(how: FenceHow) -> FenceMethod {
        FenceMethod { name: "external/x".into(), how, limit: Duration::from_secs(1) }
    }

    fn parameters() -> Parameters {
        Parameters::new([("ipaddr".into(), "10.0.0.7".into()), ("passwd".into(), SECRET.into())])
    }

    fn run(how: FenceHow, task: Task) -> Option<(Vec<String>, Vec<String>, String, i32)> {
        let base = [c"PATH=/bin".to_owned(), c"X=y".to_owned()];
        let mut command = command(&method(how), task, "beta", &base).unwrap()?;
        let mut text = String::new();
        if let Some(input) = &mut command.input {
            input.read_to_string(&mut text).unwrap();
        }
        let variables = command.variables.iter().map(|entry| entry.to_str().unwrap().to_owned()).collect();
        Some((command.arguments, variables, text, command.success))
    }

    #[test]
    fn plugin_gets_its_parameters_as_variables() {
        let how = FenceHow::External { path: "/x".into(), parameters: parameters() };
        let (words, variables, text, _) = run(how.clone(), Task::Shoot).unwrap();
        assert_eq!(words, ["reset", "beta"]);
        let expected = [
            "ipaddr=10.0.0.7",
            "passwd=pa ss#word",
            "hostlist=beta",
            "PATH=/usr/share/cluster-glue:/bin",
            "HA_LOGTAG=external/x",
        ];
        assert_eq!(variables, expected);
        assert_eq!(text, "");
        assert_eq!(run(how.clone(), Task::Check).unwrap().0, ["status"]);
        assert!(run(how, Task::Verify).is_none());
    }

    #[test]
    fn agent_reads_everything_from_standard_input() {
        let how = FenceHow::Agent { path: "/x".into(), parameters: parameters(), is_off: false };
        let (words, variables, text, success) = run(how.clone(), Task::Shoot).unwrap();
        assert!(words.is_empty() && variables.is_empty());
        assert_eq!(text, "action=reboot\nipaddr=10.0.0.7\npasswd=pa ss#word\nnodename=beta\nplug=beta\n");
        assert_eq!(success, 0);
        assert!(run(how.clone(), Task::Verify).is_none(), "a node that was rebooted may be on");
        assert!(run(how, Task::Check).unwrap().2.starts_with("action=monitor\n"));
        let own = Parameters::new([("plug".into(), "3".into())]);
        let off = FenceHow::Agent { path: "/x".into(), parameters: own, is_off: true };
        assert_eq!(run(off.clone(), Task::Shoot).unwrap().2, "action=off\nplug=3\nnodename=beta\n");
        let (_, _, text, success) = run(off, Task::Verify).unwrap();
        assert_eq!((text.as_str(), success), ("action=status\nplug=3\nnodename=beta\n", 2));
    }

    #[test]
    fn secrets_of_stonith_are_on_no_command_line() {
        let text = StonithParameters::Text(format!("beta {SECRET}"));
        let how = FenceHow::Stonith { program: "/x".into(), kind: "external/ipmi".into(), parameters: text };
        let (words, variables, text, _) = run(how.clone(), Task::Shoot).unwrap();
        assert_eq!(words, ["-t", "external/ipmi", "-F", "/dev/stdin", "-T", "reset", "beta"]);
        assert!(variables.is_empty());
        assert_eq!(text, "beta pa ss#word\n");
        assert!(!format!("{how:?}").contains("ss#"), "{how:?}");
        let file = StonithParameters::File("/etc/ha.d/device".into());
        let how = FenceHow::Stonith { program: "/x".into(), kind: "baytech".into(), parameters: file };
        let (words, _, text, _) = run(how, Task::Check).unwrap();
        assert_eq!((words.join(" ").as_str(), text.as_str()), ("-t baytech -F /etc/ha.d/device -S", ""));
    }

    #[test]
    fn hook_gets_the_name_and_has_no_check() {
        let hook = FenceHow::Hook("/x".into());
        assert_eq!(run(hook.clone(), Task::Shoot).unwrap().0, ["beta"]);
        assert!(run(hook, Task::Check).is_none());
    }
}
