//! OCF agents spoken to without a wrapper script: lookup, variables, exit codes (spec/resources.md 3.5).

use std::ffi::CString;
use std::fs;
use std::path::PathBuf;

use super::lookup::{Dialect, LookupError, Places, Program, first_executable, is_plain_name};

/// Longest file of instance variables that is read, bytes.
const INSTANCE_BYTES_MAX: u64 = 64 * 1024;

/// What an agent's exit code says about the resource (OCF resource agent API 1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Monitor {
    /// 0, 8 or 9: it runs.
    Running,
    /// 7: it does not.
    NotRunning,
    /// Anything else: the agent could not tell, or the resource is broken.
    Unclear,
}

/// Reads the exit code of `monitor`.
pub fn judge(code: i32) -> Monitor {
    match code {
        0 | 8 | 9 => Monitor::Running,
        7 => Monitor::NotRunning,
        _ => Monitor::Unclear,
    }
}

/// `OCF::TYPE::INSTANCE`.
pub(super) fn by_instance(places: &Places, arguments: &[String]) -> Result<Program, LookupError> {
    let [kind, instance] = arguments else {
        let found = arguments.join("::");
        return Err(LookupError::BadInstance(format!("OCF::{found}: expected OCF::TYPE::INSTANCE")));
    };
    let path = first_executable(&providers(places), kind)?;
    let variables = read_instance(places, kind, instance)?;
    Ok(agent(path, kind, instance, variables))
}

/// `ocf:PROVIDER:TYPE[::name=value…]`; `word` is what follows `ocf:`.
pub(super) fn direct(places: &Places, word: &str, arguments: &[String]) -> Result<Program, LookupError> {
    let Some((provider, kind)) = word.split_once(':').filter(|(provider, _)| is_plain_name(provider)) else {
        return Err(LookupError::BadName(format!("ocf:{word}")));
    };
    let directory = places.ocf_root.join("resource.d").join(provider);
    let path = first_executable(&[directory], kind)?;
    let mut values: Vec<String> = Vec::new();
    for argument in arguments {
        match values.last_mut() {
            Some(last) if !argument.contains('=') => {
                last.push_str("::");
                last.push_str(argument);
            }
            _ => values.push(argument.clone()),
        }
    }
    let instance = values.first().and_then(|value| value.split_once('=')).map_or("default", |(_, value)| value);
    let instance = format!("{kind}_{instance}");
    let mut variables = Vec::new();
    for value in &values {
        match value.split_once('=') {
            Some((name, value)) if is_variable_name(name) => {
                variables.push((format!("OCF_RESKEY_{name}"), value.to_owned()));
            }
            _ => return Err(LookupError::BadInstance(format!("ocf:{word}: found `{value}`, expected name=value"))),
        }
    }
    Ok(agent(path, kind, &instance, variables))
}

/// Providers' directories: `heartbeat` first, then the others by name.
fn providers(places: &Places) -> Vec<PathBuf> {
    let root = places.ocf_root.join("resource.d");
    let mut others: Vec<PathBuf> = fs::read_dir(&root)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_dir() && !path.ends_with("heartbeat"))
        .collect();
    crate::order::sort(&mut others, |a, b| a < b);
    others.insert(0, root.join("heartbeat"));
    others
}

fn agent(path: PathBuf, kind: &str, instance: &str, mut variables: Vec<(String, String)>) -> Program {
    let provider = path.parent().and_then(|parent| parent.file_name()).map(|name| name.to_string_lossy().into_owned());
    let own = [
        ("OCF_RA_VERSION_MAJOR", "1"),
        ("OCF_RA_VERSION_MINOR", "0"),
        ("OCF_TYPE", kind),
        ("OCF_RESOURCE_TYPE", kind),
        ("OCF_RESOURCE_INSTANCE", instance),
        ("OCF_RESOURCE_PROVIDER", provider.as_deref().unwrap_or("heartbeat")),
    ];
    for (name, value) in own {
        variables.retain(|(known, _)| known != name);
        variables.push((name.to_owned(), value.to_owned()));
    }
    let variables =
        variables.into_iter().filter_map(|(name, value)| CString::new(format!("{name}={value}")).ok()).collect();
    Program { path, arguments: Vec::new(), dialect: Dialect::Ocf { variables } }
}

fn read_instance(places: &Places, kind: &str, instance: &str) -> Result<Vec<(String, String)>, LookupError> {
    if !is_plain_name(instance) {
        return Err(LookupError::BadName(format!("OCF::{kind}::{instance}")));
    }
    let path = places.config.join("conf/OCF").join(kind).join(instance);
    let wrong = |text: String| LookupError::BadInstance(format!("{}: {text}", path.display()));
    let size = fs::metadata(&path).map_err(|error| wrong(error.to_string()))?.len();
    if size > INSTANCE_BYTES_MAX {
        return Err(wrong(format!("{size} bytes found, expected at most {INSTANCE_BYTES_MAX}")));
    }
    let text = fs::read_to_string(&path).map_err(|error| wrong(error.to_string()))?;
    parse_variables(&text).map_err(|(line, found)| {
        LookupError::BadInstance(format!("{}:{line}:1: found `{found}`, expected name=value", path.display()))
    })
}

/// Lines `[export ]name=value`, `#` comments, a value in single or double quotes; nothing is expanded. The error is
/// line number and text.
fn parse_variables(text: &str) -> Result<Vec<(String, String)>, (usize, String)> {
    let mut variables = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let assignment = line.strip_prefix("export ").unwrap_or(line).trim_start();
        match assignment.split_once('=') {
            Some((name, value)) if is_variable_name(name) => variables.push((name.to_owned(), unquote(value))),
            _ => return Err((index + 1, line.to_owned())),
        }
    }
    Ok(variables)
}

fn is_variable_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
}

fn unquote(value: &str) -> String {
    for quote in ['"', '\''] {
        if let Some((inside, rest)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote))
            && (rest.is_empty() || rest.trim_start().starts_with('#'))
        {
            return inside.to_owned();
        }
    }
    // Outside quotes a comment needs a blank before it, as in the shell.
    let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
    value[..end].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_file_is_read_without_a_shell() {
        let text = "# shared address\nOCF_RESKEY_ip=10.0.0.1\nexport OCF_RESKEY_nic=\"eth0\" # first\n\nA='x $HOME'\nB=a b # c\n";
        let names = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            parse_variables(text),
            Ok(vec![
                names("OCF_RESKEY_ip", "10.0.0.1"),
                names("OCF_RESKEY_nic", "eth0"),
                names("A", "x $HOME"),
                names("B", "a b"),
            ])
        );
    }

    #[test]
    fn instance_file_with_code_is_refused_by_line() {
        assert_eq!(parse_variables("a=1\nif true; then\n"), Err((2, "if true; then".to_owned())));
        assert_eq!(parse_variables("1a=2\n"), Err((1, "1a=2".to_owned())));
    }

    #[test]
    fn monitor_codes_are_judged() {
        assert_eq!([0, 8, 9].map(judge), [Monitor::Running; 3]);
        assert_eq!(judge(7), Monitor::NotRunning);
        assert_eq!([1, 2, 5, 6, 127].map(judge), [Monitor::Unclear; 5]);
    }
}
