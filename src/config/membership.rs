//! `membership`, and the rules of quorum in `env quorum=RULES`, where a packaged `ccm` would find them, too.

use super::draft::Draft;
use super::finding::quote;
use crate::core::quorum::{Quorum, Rule};

/// Sense across directives.
pub(super) fn check(draft: &mut Draft<'_>) {
    if let (Some((text, at)), Some((true, _))) = (&draft.quorum, draft.membership)
        && Quorum::parse(text).is_none()
    {
        let known = Rule::ALL.map(|rule| format!("`{}`", rule.name())).join(", ");
        let found = format!("{}, which are no rules of quorum", quote(text));
        let expected = format!("some of {known}, each once, with `:` between them");
        draft.findings.error(*at, found).expected(expected).hint("without them they are `majority:twonodes`");
    }
}

/// The rules of the built-in service; `None`: there is none.
pub(super) fn build(draft: &Draft<'_>) -> Option<Quorum> {
    let is_on = matches!(draft.membership, Some((true, _)));
    is_on.then(|| draft.quorum.as_ref().and_then(|(text, _)| Quorum::parse(text)).unwrap_or_default())
}
