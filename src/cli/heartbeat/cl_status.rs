//! `cl_status` (spec/api.md section 3), as far as the control socket can answer: everything but other programs' client
//! status and parameters beyond the timing.

use std::fmt::Write as _;
use std::time::Duration;

use crate::cli::{ask, exit, print_out};
use crate::daemon::control::client::NoAnswer;
use crate::daemon::report::{Line, Report};
use crate::sys::time::local_time;

use super::split_places;

/// Exit codes of the original.
mod code {
    pub(super) const PARAMETER: u8 = 11;
    pub(super) const TIMEOUT: u8 = 12;
    pub(super) const OTHER: u8 = 13;
}

/// The original gives up after five seconds.
const LIMIT: Duration = Duration::from_secs(5);
const HB_VERSION: &str = concat!("3.0.6 (nullbeat ", env!("CARGO_PKG_VERSION"), ")");

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

/// A command line after the sub-command.
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

/// What to print, and the exit code.
type Answer = Result<(String, u8), u8>;

/// `cl_status SUB-COMMAND …`.
pub(super) fn main(args: &[String]) -> u8 {
    let (paths, rest) = split_places(args);
    let request = match rest.split_first() {
        None => return print_out(USAGE),
        Some((word, _)) if word == "-h" => return print_out(USAGE),
        Some((name, rest)) => match parse(name, rest) {
            Ok(request) => request,
            Err(code) => return code,
        },
    };
    let answer = match ask::connect(&paths.run).and_then(|client| client.ask("status", Some(LIMIT))) {
        Ok(answer) if answer.code == exit::OK => answer.body,
        Ok(_) | Err(NoAnswer::TimedOut) => return code::TIMEOUT,
        Err(error) => return unreachable(&request, &error),
    };
    let Ok(report) = Report::parse(&answer) else {
        log_error("REASON: the daemon's answer is not understood");
        return code::OTHER;
    };
    match request.answer(&report) {
        Ok((text, code)) => match print_out(&text) {
            exit::OK => code,
            failed => failed,
        },
        Err(code) => code,
    }
}

fn parse<'a>(name: &'a str, rest: &'a [String]) -> Result<Request<'a>, u8> {
    const KNOWN: [&str; 12] = [
        "hbstatus",
        "listnodes",
        "nodestatus",
        "nodeweight",
        "nodesite",
        "nodetype",
        "listhblinks",
        "hblinkstatus",
        "clientstatus",
        "rscstatus",
        "hbparameter",
        "test",
    ];
    if !KNOWN.contains(&name) {
        log_error(&format!("{name}: invalid sub-command."));
        return Err(code::PARAMETER);
    }
    let mut request = Request {
        name,
        words: Vec::new(),
        is_spoken: false,
        is_verbose: false,
        normal_only: false,
        ping_only: false,
        parameter: None,
    };
    let mut words = rest.iter();
    while let Some(word) = words.next() {
        let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) else {
            request.words.push(word);
            continue;
        };
        for (at, letter) in letters.char_indices() {
            match letter {
                'm' => request.is_spoken = true,
                'v' => request.is_verbose = true,
                'n' => request.normal_only = true,
                'p' if name == "hbparameter" => {
                    let joined = &letters[at + 1..];
                    request.parameter = Some(joined).filter(|joined| !joined.is_empty());
                    request.parameter = request.parameter.or_else(|| words.next().map(String::as_str));
                    break;
                }
                'p' => request.ping_only = true,
                _ => {
                    eprintln!("{name}: invalid option -- '{letter}'");
                    log_error("Error: getopt returnedcharacter code ?.");
                    return Err(code::PARAMETER);
                }
            }
        }
    }
    request.check()
}

/// The daemon did not answer.
fn unreachable(request: &Request<'_>, error: &NoAnswer) -> u8 {
    let reason = match error {
        NoAnswer::NotRunning(_) => "hb_api_signon: Can't initiate connection to heartbeat".to_owned(),
        error => error.to_string(),
    };
    if request.name != "hbstatus" {
        log_error("Cannot signon with heartbeat");
        log_error(&format!("REASON: {reason}"));
        return exit::FAILURE;
    }
    let (text, code) = if matches!(error, NoAnswer::NotRunning(_)) {
        ("Heartbeat is stopped on this machine.", exit::FAILURE)
    } else {
        ("Heartbeat is apparently running on this machine, but refuses my connection", exit::OK)
    };
    let detail = if request.is_verbose { format!("\n({reason})") } else { String::new() };
    print_out(&format!("{text}{detail}\n"));
    code
}

impl<'a> Request<'a> {
    /// Enough parameters?
    fn check(self) -> Result<Self, u8> {
        let (needed, complaint) = match self.name {
            "nodestatus" => (1, "Not enough parameters."),
            "nodeweight" | "nodesite" | "nodetype" | "listhblinks" => (1, "No enough parameter."),
            "hblinkstatus" | "clientstatus" => (2, "No enough parameter."),
            _ => (0, ""),
        };
        if self.words.len() < needed {
            eprintln!("{complaint}");
            return Err(code::PARAMETER);
        }
        if self.name == "hbparameter" && self.parameter.is_none() {
            eprintln!("parameter name required");
            return Err(code::PARAMETER);
        }
        Ok(self)
    }

    fn answer(&self, report: &Report<'_>) -> Answer {
        let first = self.words.first().copied().unwrap_or_default();
        match self.name {
            "hbstatus" => Ok((self.heartbeat_status(report), exit::OK)),
            "listnodes" => Ok((self.list_nodes(report), exit::OK)),
            "nodestatus" => self.node_status(report, first),
            "nodeweight" => self.of_node(report, first, "100", "The weight of the cluster node"),
            "nodesite" => self.of_node(report, first, "", "The site of the cluster node"),
            "nodetype" => self.node_type(report, first),
            "listhblinks" => self.list_links(report, first),
            "hblinkstatus" => self.link_status(report, first, self.words.get(1).copied().unwrap_or_default()),
            "clientstatus" => {
                log_error(&format!("Cannot get heartbeat client {}'s status", self.words.get(1).unwrap_or(&"")));
                log_error("REASON: No timely response.");
                Err(code::OTHER)
            }
            "rscstatus" => Ok((self.resource_status(report), exit::OK)),
            "hbparameter" => self.parameter_value(report),
            _ => Ok((test(report), exit::OK)),
        }
    }

    fn heartbeat_status(&self, report: &Report<'_>) -> String {
        match (self.is_verbose, self.is_spoken) {
            (false, _) => "Heartbeat is running on this machine.\n".to_owned(),
            (true, false) => {
                format!("version:\t{HB_VERSION}\nmanaged by:\t\"haresources\"\n{}", self.list_nodes(report))
            }
            (true, true) => format!(
                "Heartbeat version {HB_VERSION}\nResources controlled by \"haresources\"\n{}",
                self.list_nodes(report)
            ),
        }
    }

    /// Names in the reverse order of ha.cf, as the original's library gives them.
    fn list_nodes(&self, report: &Report<'_>) -> String {
        let mut text = String::new();
        if self.is_spoken {
            text.push_str("The nodes are as follow:\n");
        }
        // Both options together are as good as none.
        let (all, is_ping) = (self.ping_only == self.normal_only, self.ping_only);
        let mut nodes: Vec<&Line<'_>> =
            all_nodes(report).filter(|node| all || is_ping == (node.kind == "ping")).collect();
        nodes.sort_by_key(|node| std::cmp::Reverse(node.number("place")));
        for node in nodes {
            let name = node.or_dash("name");
            if self.is_verbose {
                let _ = writeln!(text, "\n{name}\t{}\t(nodetype: {})", node.or_dash("status"), node_type(node));
                link_lines(report, name, true, &mut text);
            } else {
                let _ = writeln!(text, "{name}");
            }
        }
        text
    }

    fn node_status(&self, report: &Report<'_>, name: &str) -> Answer {
        let status = node(report, name, "Error. May be due to incorrect node name")?.or_dash("status");
        let code = if matches!(status, "active" | "up" | "ping") { exit::OK } else { exit::FAILURE };
        let spoken = format!("The cluster node {name} is {status}\n");
        Ok((if self.is_spoken { spoken } else { format!("{status}\n") }, code))
    }

    fn of_node(&self, report: &Report<'_>, name: &str, value: &str, words: &str) -> Answer {
        node(report, name, "Error. May be due to incorrect node name")?;
        Ok((if self.is_spoken { format!("{words} {name} is {value}\n") } else { format!("{value}\n") }, exit::OK))
    }

    fn node_type(&self, report: &Report<'_>, name: &str) -> Answer {
        let kind = node_type(node(report, name, "Error. May be due to incorrect node name")?);
        let spoken = format!("The node {name}'s type: {kind}\n");
        Ok((if self.is_spoken { spoken } else { format!("{kind}\n") }, exit::OK))
    }

    fn list_links(&self, report: &Report<'_>, name: &str) -> Answer {
        if find(report, name).is_none() {
            log_error("Cannot start heartbeat link interface walk.");
            log_error("REASON: EINVAL");
            return Err(code::OTHER);
        }
        let mut text = String::new();
        if self.is_spoken {
            text.push_str("\tthis node has the following heartbeat links:\n");
        }
        link_lines(report, name, self.is_verbose, &mut text);
        Ok((text, exit::OK))
    }

    fn link_status(&self, report: &Report<'_>, name: &str, link: &str) -> Answer {
        let found = links_of(report, name).find(|line| line.text("name") == Some(link));
        let Some(found) = found else {
            log_error("Cannot get heartbeat link status");
            log_error("REASON: ");
            return Err(code::OTHER);
        };
        let status = link_word(found);
        let spoken = format!("The node {name}'s heartbeat link {link} is {status}\n");
        let code = if status == "up" { exit::OK } else { exit::FAILURE };
        Ok((if self.is_spoken { spoken } else { format!("{status}\n") }, code))
    }

    fn resource_status(&self, report: &Report<'_>) -> String {
        let holds = report.first("node").map_or("-", |node| node.or_dash("holds"));
        if self.is_spoken { format!("This node is holding {holds} resources.\n") } else { format!("{holds}\n") }
    }

    fn parameter_value(&self, report: &Report<'_>) -> Answer {
        let name = self.parameter.unwrap_or_default();
        let settings = report.first("settings");
        let value = settings.and_then(|settings| match name {
            "keepalive" | "warntime" | "deadtime" | "initdead" => {
                settings.text(&format!("{name}_ms")).map(|ms| format!("{ms}ms"))
            }
            "auto_failback" => settings.text(name).map(str::to_owned),
            "hbversion" => Some(HB_VERSION.to_owned()),
            _ => None,
        });
        let Some(value) = value else {
            log_error(&format!("Cannot get parameter {name}'s value"));
            log_error("REASON: ");
            return Err(exit::FAILURE);
        };
        let spoken = format!("Heartbeat parameter {name}'s value: {value}\n");
        Ok((if self.is_spoken { spoken } else { format!("{value}\n") }, exit::OK))
    }
}

/// The undocumented sub-command, with the original's spelling.
fn test(report: &Report<'_>) -> String {
    let settings = |name| report.first("settings").map_or("-", |settings| settings.or_dash(name));
    let node = |name| report.first("node").map_or("-", |node| node.or_dash(name));
    format!(
        "Dead time: {}\n keeplive time: {}\n mynodeid: {}\n rsc: {}\n",
        settings("deadtime_ms"),
        settings("keepalive_ms"),
        node("name"),
        node("holds")
    )
}

fn find<'r, 'a>(report: &'r Report<'a>, name: &str) -> Option<&'r Line<'a>> {
    all_nodes(report).find(|node| node.text("name") == Some(name))
}

/// Nodes and ping nodes.
fn all_nodes<'r, 'a>(report: &'r Report<'a>) -> impl Iterator<Item = &'r Line<'a>> {
    report.lines("node").chain(report.lines("peer")).chain(report.lines("ping"))
}

fn node_type(node: &Line<'_>) -> &'static str {
    if node.kind == "ping" { "ping" } else { "normal" }
}

fn node<'r, 'a>(report: &'r Report<'a>, name: &str, complaint: &str) -> Result<&'r Line<'a>, u8> {
    find(report, name).ok_or_else(|| {
        eprintln!("{complaint}");
        code::PARAMETER
    })
}

fn link_word(link: &Line<'_>) -> &'static str {
    if link.is_set("is_up") || link.text("status") == Some("ping") { "up" } else { "dead" }
}

/// The links of a node. A ping node has one, of its own name.
fn links_of<'r, 'a>(report: &'r Report<'a>, name: &str) -> impl DoubleEndedIterator<Item = &'r Line<'a>> {
    let links = report.lines("link").filter(move |link| link.text("peer") == Some(name));
    let ping = report.lines("ping").filter(move |ping| ping.text("name") == Some(name));
    links.chain(ping).collect::<Vec<_>>().into_iter()
}

/// A node's links, in the reverse order of ha.cf.
fn link_lines(report: &Report<'_>, name: &str, is_verbose: bool, text: &mut String) {
    for link in links_of(report, name).rev() {
        let status = if is_verbose { format!("\t{}", link_word(link)) } else { String::new() };
        let _ = writeln!(text, "\t{}{status}", link.or_dash("name"));
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

    const REPORT: &str = "report\tversion=1\n\
        node\tplace=0\tname=apa\tstatus=active\tholds=local\n\
        settings\tkeepalive_ms=200\tdeadtime_ms=2000\tauto_failback=on\n\
        peer\tplace=1\tname=apb\tstatus=dead\n\
        link\tname=apv1\tpeer=apb\tis_up=1\n\
        link\tname=/dev/ttyS0\tpeer=apb\tis_up=0\n";

    /// The same with two ping nodes.
    fn says_with_pings(line: &str) -> (String, u8) {
        let report =
            format!("{REPORT}ping\tplace=2\tname=10.0.0.9\tstatus=ping\nping\tplace=3\tname=gw\tstatus=dead\n");
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (name, rest) = words.split_first().unwrap();
        parse(name, rest).and_then(|request| request.answer(&Report::parse(&report).unwrap())).unwrap()
    }

    #[test]
    fn ping_nodes_are_nodes_of_their_own_type() {
        let says = |line| says_with_pings(line).0;
        assert_eq!(says("listnodes"), "gw\n10.0.0.9\napb\napa\n");
        assert_eq!(says("listnodes -p"), "gw\n10.0.0.9\n");
        assert_eq!(says("listnodes -n"), "apb\napa\n");
        assert_eq!(says("listnodes -n -p"), says("listnodes"));
        assert_eq!(
            says("listnodes -v -p"),
            "\ngw\tdead\t(nodetype: ping)\n\tgw\tdead\n\n10.0.0.9\tping\t(nodetype: ping)\n\t10.0.0.9\tup\n"
        );
        assert_eq!(says("nodetype gw"), "ping\n");
        assert_eq!(says_with_pings("nodestatus 10.0.0.9"), ("ping\n".to_owned(), 0));
        assert_eq!(says_with_pings("nodestatus gw"), ("dead\n".to_owned(), 1));
        assert_eq!(says_with_pings("hblinkstatus gw gw"), ("dead\n".to_owned(), 1));
        assert_eq!(says_with_pings("hblinkstatus 10.0.0.9 10.0.0.9"), ("up\n".to_owned(), 0));
    }

    fn ask(line: &str) -> Answer {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (name, rest) = words.split_first().unwrap();
        parse(name, rest)?.answer(&Report::parse(REPORT).unwrap())
    }

    fn says(line: &str) -> String {
        ask(line).unwrap_or_else(|code| panic!("{line}: {code}")).0
    }

    #[test]
    fn answers_are_those_of_the_original() {
        assert_eq!(says("hbstatus"), "Heartbeat is running on this machine.\n");
        assert_eq!(says("listnodes"), "apb\napa\n");
        assert_eq!(says("listnodes -m"), "The nodes are as follow:\napb\napa\n");
        assert_eq!(says("listnodes -p"), "");
        assert_eq!(
            says("listnodes -v"),
            "\napb\tdead\t(nodetype: normal)\n\t/dev/ttyS0\tdead\n\tapv1\tup\n\napa\tactive\t(nodetype: normal)\n"
        );
        assert_eq!(says("nodestatus -m apa"), "The cluster node apa is active\n");
        assert_eq!(says("nodeweight apa"), "100\n");
        assert_eq!(says("nodesite -m apa"), "The site of the cluster node apa is \n");
        assert_eq!(says("nodetype apb"), "normal\n");
        assert_eq!(says("listhblinks apb"), "\t/dev/ttyS0\n\tapv1\n");
        assert_eq!(says("hblinkstatus -m apb apv1"), "The node apb's heartbeat link apv1 is up\n");
        assert_eq!(says("rscstatus"), "local\n");
        assert_eq!(says("rscstatus -m"), "This node is holding local resources.\n");
        assert_eq!(says("hbparameter -p keepalive"), "200ms\n");
        assert_eq!(says("test"), "Dead time: 2000\n keeplive time: 200\n mynodeid: apa\n rsc: local\n");
    }

    #[test]
    fn codes_are_those_of_the_original() {
        let code = |line: &str| ask(line).map_or_else(|code| code, |(_, code)| code);
        assert_eq!(code("nodestatus apa"), 0);
        assert_eq!(code("nodestatus apb"), 1);
        assert_eq!(code("nodestatus nobody"), 11);
        assert_eq!(code("nodestatus"), 11);
        assert_eq!(code("listnodes -z"), 11);
        assert_eq!(code("listhblinks nobody"), 13);
        assert_eq!(code("hblinkstatus apb apv1"), 0);
        assert_eq!(code("hblinkstatus apb /dev/ttyS0"), 1);
        assert_eq!(code("hblinkstatus apb eth9"), 13);
        assert_eq!(code("clientstatus apb ipfail"), 13);
        assert_eq!(code("hbparameter"), 11);
        assert_eq!(code("hbparameter -p nonsense"), 1);
        assert_eq!(code("bogus"), 11);
    }

    #[test]
    fn without_a_daemon_it_says_so() {
        let nowhere = format!("--run-dir={}/nullbeat-nowhere", std::env::temp_dir().display());
        let run = |word: &str| main(&[word.to_owned(), nowhere.clone()]);
        assert_eq!(run("hbstatus"), 1);
        assert_eq!(run("rscstatus"), 1);
        assert_eq!(run("-h"), 0);
    }
}
