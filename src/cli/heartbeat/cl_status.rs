//! `cl_status` (spec/api.md section 3), by the same questions to the same sockets as the original.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use crate::cli::{exit, print_out};
use crate::daemon::run_directory::{clients_socket, membership_socket};
use crate::sys::time::local_time;

use super::library::{Answer, Library, Silence};
use super::membership;
use super::split_places;

/// Exit codes of the original.
mod code {
    pub(super) const PARAMETER: u8 = 11;
    pub(super) const TIMEOUT: u8 = 12;
    pub(super) const OTHER: u8 = 13;
}

/// The original gives up after five seconds.
const LIMIT: Duration = Duration::from_secs(5);
/// How long a client's node may take to tell of it, when the command line does not say.
const CLIENT_LIMIT: Duration = Duration::from_millis(500);

const USAGE: &str = "\
Usage: cl_status <sub-command> [<options>] [<parameters>]

Sub-commands:
clientstatus <node-name> <client-id> [<timeout>]
\tShow the status of heartbeat clients.
hblinkstatus <node-name> <link-name>
\tShow the status of a heartbeat link
hbstatus
\tIndicate if heartbeat is running on the local system.
\tOptions:
\t\t-v\tverbose: also add \"listnodes -v\" output
listnodes [<option>]
\tList the nodes in the cluster.
\tOptions:
\t\t-p\tlist only 'ping' type nodes
\t\t-n\tlist only 'normal' type nodes
\t\t-v\tverbose: also list type and status,
\t\t\tthen add \"listhblinks -v\" output
listhblinks <node-name>
\tList the network interfaces used as hearbeat links.
\tOptions:
\t\t-v\tverbose: list link status as well
nodestatus <node-name>
\tList the node status.
nodeweight <node-name>
\tList the node weight.
nodesite <node-name>
\tList the node site.
nodetype <node-name>
\tList the nodes of a given type.
rscstatus
\tShow the status of cluster resources.
hbparameter -p <parameter-name>
\tRetrieve the value of a cluster parameter.
\tAs for the valid parameter names, please refer to the man page.
";

/// Each sub-command with the options that it knows.
const SUB_COMMANDS: [(&str, &str); 12] = [
    ("hbstatus", "mv"),
    ("listnodes", "mnpv"),
    ("nodestatus", "m"),
    ("nodeweight", "m"),
    ("nodesite", "m"),
    ("nodetype", "m"),
    ("listhblinks", "mv"),
    ("hblinkstatus", "m"),
    ("clientstatus", "m"),
    ("rscstatus", "m"),
    ("hbparameter", "mp:"),
    ("test", ""),
];

/// A command line after the sub-command.
#[derive(Debug, Default)]
struct Request<'a> {
    name: &'a str,
    words: Vec<&'a str>,
    /// `-m`: sentences instead of values.
    is_spoken: bool,
    /// `-v`.
    is_verbose: bool,
    /// `-n`.
    normal_only: bool,
    /// `-p`, for `listnodes`.
    ping_only: bool,
    /// `-p NAME`, for `hbparameter`.
    parameter: Option<&'a str>,
}

/// What to print, and the exit code; else the exit code, and all has been said.
type Outcome = Result<(String, u8), u8>;

/// `cl_status SUB-COMMAND …`.
pub(super) fn main(args: &[String]) -> u8 {
    let (paths, rest) = split_places(args);
    let (name, rest) = match rest.split_first() {
        None => return print_out(USAGE),
        Some((word, _)) if word == "-h" => return print_out(USAGE),
        Some((name, rest)) => (name.as_str(), rest),
    };
    let Some((name, letters)) = SUB_COMMANDS.into_iter().find(|(known, _)| *known == name) else {
        log_error(&format!("{name}: invalid sub-command."));
        return code::PARAMETER;
    };
    // The original looks at its options when it has signed on.
    let outcome = match sign_on(&paths.run, name, rest) {
        Ok(library) => {
            parse(name, letters, rest).and_then(|request| Session { request, library, run: &paths.run }.answer())
        }
        Err(outcome) => outcome,
    };
    match outcome {
        Ok((text, code)) => match print_out(&text) {
            exit::OK => code,
            failed => failed,
        },
        Err(code) => code,
    }
}

/// Signs on, or says why that cannot be done.
fn sign_on(run: &Path, name: &str, rest: &[String]) -> Result<Library, Outcome> {
    let silence = match Library::sign_on(&clients_socket(run), LIMIT) {
        Ok(library) => return Ok(library),
        Err(silence) => silence,
    };
    // The original takes a directory that it may not look into for one that nobody listens in. Ours says so, aside.
    if matches!(silence, Silence::NotPermitted) {
        log_error(&format!(
            "{}: no permission; this is for root and the group haclient",
            clients_socket(run).display()
        ));
    }
    let is_stopped = matches!(silence, Silence::NotRunning | Silence::NotPermitted);
    let reason = match silence {
        Silence::NotRunning | Silence::NotPermitted => {
            "hb_api_signon: Can't initiate connection to heartbeat".to_owned()
        }
        Silence::Refused(reason) | Silence::Broken(reason) => reason,
        Silence::TimedOut => return Err(Err(code::TIMEOUT)),
    };
    if name != "hbstatus" {
        log_error("Cannot signon with heartbeat");
        log_error(&format!("REASON: {reason}"));
        return Err(Err(exit::FAILURE));
    }
    // It says what is the matter with the options in any case.
    let is_verbose = parse(name, "mv", rest).is_ok_and(|request| request.is_verbose);
    let detail = if is_verbose { format!("({reason})\n") } else { String::new() };
    Err(Ok(if is_stopped {
        (format!("Heartbeat is stopped on this machine.\n{detail}"), exit::FAILURE)
    } else {
        const REFUSED: &str = "Heartbeat is apparently running on this machine, but refuses my connection";
        (format!("{REFUSED}\n{detail}"), exit::OK)
    }))
}

fn parse<'a>(name: &'a str, letters: &str, rest: &'a [String]) -> Result<Request<'a>, u8> {
    let mut request = Request { name, ..Request::default() };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let Some(options) = word.strip_prefix('-').filter(|options| !options.is_empty() && name != "test") else {
            request.words.push(word);
            continue;
        };
        for (at, letter) in options.char_indices() {
            match letter {
                'p' if name == "hbparameter" => {
                    let joined = &options[at + 1..];
                    let value = Some(joined).filter(|joined| !joined.is_empty());
                    request.parameter = value.or_else(|| words.next().map(String::as_str));
                    if request.parameter.is_none() {
                        eprintln!("{name}: option requires an argument -- 'p'");
                        return Err(refuse_option(name));
                    }
                    break;
                }
                letter if letter == ':' || !letters.contains(letter) => {
                    eprintln!("{name}: invalid option -- '{letter}'");
                    if name != "hbstatus" {
                        return Err(refuse_option(name));
                    }
                }
                'm' => request.is_spoken = true,
                'v' => request.is_verbose = true,
                'n' => request.normal_only = true,
                _ => request.ping_only = true,
            }
        }
    }
    request.check()
}

/// The original has two wordings.
fn refuse_option(name: &str) -> u8 {
    let word = if matches!(name, "listnodes" | "listhblinks" | "hbparameter") { "code " } else { "" };
    log_error(&format!("Error: getopt returnedcharacter {word}?."));
    code::PARAMETER
}

impl Request<'_> {
    /// Enough parameters?
    fn check(self) -> Result<Self, u8> {
        let (needed, complaint) = match self.name {
            "nodestatus" | "nodeweight" | "nodesite" => (1, "Not enough parameters."),
            "nodetype" | "listhblinks" => (1, "No enough parameter."),
            "hblinkstatus" | "clientstatus" => (2, "No enough parameter."),
            _ => (0, ""),
        };
        if self.words.len() < needed {
            eprintln!("{complaint}");
            return Err(code::PARAMETER);
        }
        if self.name == "hbparameter" && self.parameter.is_none() {
            log_error("parameter name required");
            return Err(code::PARAMETER);
        }
        Ok(self)
    }

    fn word(&self, place: usize) -> &str {
        self.words.get(place).copied().unwrap_or_default()
    }

    /// A sentence with `-m`, else the value.
    fn say(&self, value: &str, sentence: &str) -> String {
        if self.is_spoken { format!("{sentence}\n") } else { format!("{value}\n") }
    }
}

/// A command line and a daemon that answers.
struct Session<'a> {
    request: Request<'a>,
    library: Library,
    run: &'a Path,
}

impl Session<'_> {
    fn answer(mut self) -> Outcome {
        match self.request.name {
            "hbstatus" => self.heartbeat_status(),
            "listnodes" => Ok((self.list_nodes()?, exit::OK)),
            "nodestatus" => self.node_status(),
            "nodeweight" => self.of_node("weight", "Error. Maybe due to incorrect node name."),
            "nodesite" => self.of_node("site", UNKNOWN_NODE),
            "nodetype" => self.node_type(),
            "listhblinks" => self.list_links(),
            "hblinkstatus" => self.link_status(),
            "clientstatus" => self.client_status(),
            "rscstatus" => self.resource_status(),
            "hbparameter" => self.parameter(),
            _ => self.test(),
        }
    }

    fn ask(&mut self, kind: &str, fields: &[(&str, &str)]) -> Result<Answer, u8> {
        self.library.ask(kind, fields).map_err(|silence| give_up(&silence))
    }

    fn heartbeat_status(&mut self) -> Outcome {
        if !self.request.is_verbose {
            return Ok(("Heartbeat is running on this machine.\n".to_owned(), exit::OK));
        }
        let signon = self.library.signon();
        let (version, manager) =
            (signon.get("hbversion").unwrap_or_default(), signon.get("pacemaker").unwrap_or_default());
        let is_pacemaker = !matches!(manager, "" | "off" | "false" | "no" | "n" | "0");
        let head = match (self.request.is_spoken, is_pacemaker) {
            (false, false) => format!("version:\t{version}\nmanaged by:\t\"haresources\"\n"),
            (false, true) => format!("version:\t{version}\nmanaged by:\tpacemaker\t({manager})\n"),
            (true, false) => format!("Heartbeat version {version}\nResources controlled by \"haresources\"\n"),
            (true, true) => format!("Heartbeat version {version}\nResources controlled by Pacemaker.\n"),
        };
        // Only if somebody listens there; if nothing is in force yet, it is waited for.
        let members = match membership::seen(&membership_socket(self.run), self.library.limit()) {
            Ok(text) => text,
            Err(Silence::TimedOut) => return Err(code::TIMEOUT),
            Err(_) => String::new(),
        };
        Ok((head + &members + &self.list_nodes()?, exit::OK))
    }

    /// Names in the reverse order of the answers, as the original's library gives them.
    fn list_nodes(&mut self) -> Result<String, u8> {
        let nodes = self.library.list("nodelist", &[]).map_err(|silence| give_up(&silence))?;
        if let Some(refusal) = nodes.last().filter(|answer| !answer.is_ok()) {
            log_error("Cannot start node walk.");
            log_error(&format!("REASON: Unexpected API result value: [{}]", refusal.get("result").unwrap_or_default()));
            return Err(code::OTHER);
        }
        let mut text = String::new();
        if self.request.is_spoken {
            text.push_str("The nodes are as follow:\n");
        }
        // Both options together are as good as none.
        let (all, is_ping) = (self.request.ping_only == self.request.normal_only, self.request.ping_only);
        for node in nodes.iter().rev() {
            let field = |name| node.get(name).unwrap_or_default();
            if !all && is_ping != (field("nodetype") == "ping") {
                continue;
            }
            if self.request.is_verbose {
                let _ = writeln!(text, "\n{}\t{}\t(nodetype: {})", field("node"), field("st"), field("nodetype"));
                let links = self.links(field("node"))?;
                self.write_links(links.as_deref().unwrap_or_default(), &mut text);
            } else {
                let _ = writeln!(text, "{}", field("node"));
            }
        }
        Ok(text)
    }

    /// The links of a node; `None` of one that nobody knows.
    fn links(&mut self, node: &str) -> Result<Option<Vec<Answer>>, u8> {
        let links = self.library.list("iflist", &[("node", node)]).map_err(|silence| give_up(&silence))?;
        Ok(Some(links).filter(|links| links.last().is_some_and(Answer::is_ok)))
    }

    fn write_links(&self, links: &[Answer], text: &mut String) {
        if self.request.is_spoken {
            text.push_str("\tthis node has the following heartbeat links:\n");
        }
        for link in links.iter().rev() {
            let field = |name| link.get(name).unwrap_or_default();
            let status = if self.request.is_verbose { format!("\t{}", field("st")) } else { String::new() };
            let _ = writeln!(text, "\t{}{status}", field("ifname"));
        }
    }

    fn node_status(&mut self) -> Outcome {
        let node = self.request.word(0).to_owned();
        let answer = known(self.ask("nodestatus", &[("node", &node)])?, UNKNOWN_NODE)?;
        let status = answer.get("st").unwrap_or_default();
        let code = if matches!(status, "active" | "up" | "ping") { exit::OK } else { exit::FAILURE };
        Ok((self.request.say(status, &format!("The cluster node {node} is {status}")), code))
    }

    fn of_node(&mut self, what: &str, complaint: &str) -> Outcome {
        let node = self.request.word(0).to_owned();
        let answer = known(self.ask(self.request.name, &[("node", &node)])?, complaint)?;
        let value = answer.get(what).unwrap_or_default();
        Ok((self.request.say(value, &format!("The {what} of the cluster node {node} is {value}")), exit::OK))
    }

    fn node_type(&mut self) -> Outcome {
        let node = self.request.word(0).to_owned();
        let answer = known(self.ask("nodetype", &[("node", &node)])?, UNKNOWN_NODE)?;
        let kind = answer.get("nodetype").unwrap_or_default();
        Ok((self.request.say(kind, &format!("The node {node}'s type: {kind}")), exit::OK))
    }

    fn list_links(&mut self) -> Outcome {
        let node = self.request.word(0).to_owned();
        let Some(links) = self.links(&node)? else {
            log_error("Cannot start heartbeat link interface walk.");
            log_error("REASON: EINVAL");
            return Err(code::OTHER);
        };
        let mut text = String::new();
        self.write_links(&links, &mut text);
        Ok((text, exit::OK))
    }

    fn link_status(&mut self) -> Outcome {
        let (node, link) = (self.request.word(0).to_owned(), self.request.word(1).to_owned());
        let answer = self.ask("ifstatus", &[("node", &node), ("ifname", &link)])?;
        let Some(status) = answer.get("st").filter(|_| answer.is_ok()) else {
            log_error("Cannot get heartbeat link status");
            log_error("REASON: ");
            return Err(code::OTHER);
        };
        let code = if status == "up" { exit::OK } else { exit::FAILURE };
        Ok((self.request.say(status, &format!("The node {node}'s heartbeat link {link} is {status}")), code))
    }

    fn client_status(&mut self) -> Outcome {
        let (node, client) = (self.request.word(0).to_owned(), self.request.word(1).to_owned());
        let patience = self.request.word(2).parse().map_or(CLIENT_LIMIT, Duration::from_millis);
        match self.library.ask_status(&node, &client, patience) {
            Ok(answer) => {
                let status = answer.get("cs").unwrap_or_default();
                let code = ["online", "offline", "join", "leave"].iter().position(|known| *known == status);
                let code = code.and_then(|code| u8::try_from(code).ok()).unwrap_or(code::OTHER);
                Ok((format!("{status}\n"), code))
            }
            Err(_) => {
                log_error(&format!("Cannot get heartbeat client {client}'s status"));
                log_error("REASON: No timely response.");
                Err(code::OTHER)
            }
        }
    }

    fn resource_status(&mut self) -> Outcome {
        let answer = self.ask("getrsc", &[])?;
        let Some(holds) = answer.get("rsc_hold").filter(|_| answer.is_ok()) else {
            log_error("Cannot get cluster resource status");
            log_error(&format!("REASON: {}", answer.get("info").unwrap_or_default()));
            return Err(code::OTHER);
        };
        Ok((self.request.say(holds, &format!("This node is holding {holds} resources.")), exit::OK))
    }

    fn parameter(&mut self) -> Outcome {
        let name = self.request.parameter.unwrap_or_default().to_owned();
        let answer = self.ask("getparm", &[("pname", &name)])?;
        let Some(value) = answer.get("pvalue").filter(|_| answer.is_ok()) else {
            log_error(&format!("Cannot get parameter {name}'s value"));
            log_error("REASON: ");
            return Err(exit::FAILURE);
        };
        Ok((self.request.say(value, &format!("Heartbeat parameter {name}'s value: {value}")), exit::OK))
    }

    /// The undocumented sub-command, with the original's spelling.
    fn test(&mut self) -> Outcome {
        let answer = self.ask("getrsc", &[])?;
        let signon = self.library.signon();
        let milliseconds = |name| signon.get(name).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0);
        let text = format!(
            "Dead time: {}\n keeplive time: {}\n mynodeid: {}\n rsc: {}\n",
            milliseconds("deadtime"),
            milliseconds("keepalive"),
            signon.get("node").unwrap_or_default(),
            answer.get("rsc_hold").unwrap_or("(null)"),
        );
        Ok((text, exit::OK))
    }
}

const UNKNOWN_NODE: &str = "Error. May be due to incorrect node name";

/// The answer, unless it refuses.
fn known(answer: Answer, complaint: &str) -> Result<Answer, u8> {
    if answer.is_ok() {
        return Ok(answer);
    }
    eprintln!("{complaint}");
    Err(code::PARAMETER)
}

/// No answer: time is over, or the daemon has gone meanwhile.
fn give_up(silence: &Silence) -> u8 {
    match silence {
        Silence::TimedOut => code::TIMEOUT,
        Silence::NotRunning | Silence::NotPermitted => exit::FAILURE,
        Silence::Refused(reason) | Silence::Broken(reason) => {
            log_error(&format!("REASON: {reason}"));
            code::OTHER
        }
    }
}

/// As the original's library logs to a terminal: `Mon DD HH:MM:SS HOST cl_status: [PID]: ERROR: text`.
fn log_error(text: &str) {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let time = local_time(since.as_secs()).map_or_else(String::new, |time| {
        let month = MONTHS.get(usize::from(time.month).wrapping_sub(1)).unwrap_or(&"");
        format!("{month} {:02} {:02}:{:02}:{:02}", time.day, time.hour, time.minute, time.second)
    });
    let host = nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    eprintln!("{time} {host} cl_status: [{}]: ERROR: {text}", std::process::id());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<String, u8> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (name, rest) = words.split_first().unwrap();
        let (name, letters) = SUB_COMMANDS.into_iter().find(|(known, _)| known == name).unwrap();
        parse(name, letters, rest).map(|request| format!("{:?} {:?}", request.words, request.parameter))
    }

    #[test]
    fn options_stand_anywhere_and_must_be_known() {
        assert_eq!(parsed("nodestatus apa -m"), Ok("[\"apa\"] None".to_owned()));
        assert_eq!(parsed("hbparameter -mp keepalive"), Ok("[] Some(\"keepalive\")".to_owned()));
        assert_eq!(parsed("hbparameter -pkeepalive"), Ok("[] Some(\"keepalive\")".to_owned()));
        assert_eq!(parsed("hbstatus -z"), Ok("[] None".to_owned()), "this one goes on");
        assert_eq!(parsed("test -z"), Ok("[\"-z\"] None".to_owned()), "this one does not look");
        for line in
            ["listnodes -z", "nodestatus", "nodestatus -v apa", "hblinkstatus apa", "hbparameter", "hbparameter -p"]
        {
            assert_eq!(parsed(line), Err(code::PARAMETER), "{line}");
        }
    }

    #[test]
    fn without_a_daemon_it_says_so() {
        let nowhere = format!("--run-dir={}/nullbeat-nowhere", std::env::temp_dir().display());
        let run = |word: &str| main(&[word.to_owned(), nowhere.clone()]);
        assert_eq!(run("hbstatus"), 1);
        assert_eq!(run("rscstatus"), 1);
        assert_eq!(run("bogus"), 11);
        assert_eq!(run("-h"), 0);
    }
}
