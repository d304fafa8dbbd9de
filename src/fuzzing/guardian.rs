//! Between our own processes, from operators, and the answers to health checks.

use crate::checks::{ask, record};
use crate::daemon::control::{ControlRequest, client::Answer};
use crate::daemon::log_pipe::{self, Parsed};
use crate::daemon::report::Report;
use crate::guardian::messages;
use crate::guardian::protocol::{ToEngine, ToGuardian};

/// Records of 32 bytes, in each direction: what is understood is exactly what would be written.
pub(super) fn records(data: &[u8]) {
    let kinds = [
        ToGuardian::decode(data).ok().map(|(request, digest)| request.encode(digest)),
        ToEngine::decode(data).ok().map(ToEngine::encode),
        record::ToChecker::decode(data).ok().map(record::ToChecker::encode),
        record::ToGuardian::decode(data).ok().map(record::ToGuardian::encode),
    ];
    let understood: Vec<_> = kinds.into_iter().flatten().collect();
    assert!(understood.len() <= 1, "a record runs in one direction only");
    assert!(understood.iter().all(|written| written == data));
}

/// A message for a site's script.
pub(super) fn site_message(data: &[u8]) {
    let Some(message) = messages::read(data) else { return };
    let (outlet, inlet) = messages::pair(vec![message.kind.clone()], message.digest).expect("a pair of sockets");
    let is_sent = outlet.send(&message.kind, |field| {
        message.fields.iter().for_each(|(name, value)| field(name, value));
    });
    assert!(is_sent && outlet.wants(&message.kind));
    assert_eq!(inlet.receive().expect("it is there"), Some(Some(message)));
}

/// The log pipe: records of any process, also of one that was killed while it wrote.
pub(super) fn log_pipe(data: &[u8]) {
    let mut rest = data;
    while !rest.is_empty() {
        let taken = match log_pipe::parse(rest) {
            Parsed::Line(line, taken) => {
                assert!(line.text.len() + line.process.len() <= taken);
                taken
            }
            Parsed::Event(body, taken) => {
                assert!(body.len() < taken);
                taken
            }
            Parsed::Garbage(taken) => taken,
            Parsed::Incomplete => return,
        };
        assert!(taken > 0, "the reader goes on");
        rest = &rest[taken..];
    }
}

/// A line on the control socket, and what a client makes of an answer.
pub(super) fn control(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = ControlRequest::parse(text);
        if let Ok(report) = Report::parse(text) {
            let kinds = ["report", "node", "group", "link"];
            assert!(kinds.iter().flat_map(|kind| report.lines(kind)).count() <= text.lines().count());
        }
    }
    if let Ok(answer) = Answer::parse(data) {
        assert_eq!(
            format!("code {}\n{}end\n", answer.code, answer.body).len(),
            data.len() - padding(data, answer.code)
        );
        let _ = Report::parse(&answer.body);
    }
}

/// A plus or zeros in front of the code.
fn padding(data: &[u8], code: u8) -> usize {
    let line = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    line.saturating_sub("code ".len() + code.to_string().len())
}

/// What a web server answers.
pub(super) fn check_answer(data: &[u8]) {
    if let Some(code) = ask::status_code(data) {
        assert!(code <= 999 && data.starts_with(b"HTTP/1."));
    }
}
