//! Heartbeat's judgement of what `status` prints (spec/resources.md 3.4): the text counts, the exit code does not.

/// Whether the whole output of `status` says that the resource runs.
///
/// In this order: `not`, in any case, then a blank, then anything, then `running` or `Running`: no. `running`,
/// `Running` or `OK` anywhere: yes. Anything else, also nothing: no. So `not-running` and `NOT OK` mean yes and
/// `RUNNING` means no; scripts in the field rely on all of it.
pub fn says_running(text: &[u8]) -> bool {
    let first_not = text.windows(4).position(|window| window[..3].eq_ignore_ascii_case(b"not") && window[3] == b' ');
    if let Some(at) = first_not
        && contains_running(&text[at + 4..])
    {
        return false;
    }
    contains_running(text) || contains(text, b"OK")
}

fn contains_running(text: &[u8]) -> bool {
    contains(text, b"running") || contains(text, b"Running")
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_the_specification() {
        for text in ["running", "Running", "OK", "is running\n", "NOT OK", "not-running", "INFO: Running OK", "notOK"] {
            assert!(says_running(text.as_bytes()), "{text}");
        }
        for text in
            ["", "stopped", "unused", "dead", "RUNNING", "not running", "NOT Running", "nOt at all\nrunning", "ok"]
        {
            assert!(!says_running(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn not_behind_the_last_running_does_not_count() {
        assert!(says_running(b"running, not"));
        assert!(says_running(b"running, not stopped"));
    }
}
