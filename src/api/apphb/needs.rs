//! Applications without which the watchdog is not kicked (`watchdog_needs`).

use heapless::Vec;

use super::supervisor::{Application, CLIENTS_MAX, Event, Name};
use crate::config::services::apphbd::ApplicationName;

/// Which of the needed ones are missing: their beats stayed away, or their connection ended without a word. One that never
/// came is not missing, nor one that has signed off.
#[derive(Debug, Default)]
pub struct Needs {
    wanted: std::vec::Vec<ApplicationName>,
    /// Name and instance.
    missing: Vec<(Name, Name), CLIENTS_MAX>,
}

impl Needs {
    /// All of these.
    pub const fn new(wanted: std::vec::Vec<ApplicationName>) -> Self {
        Self { wanted, missing: Vec::new() }
    }

    /// Something has happened to an application.
    pub fn note(&mut self, who: &Application, event: Event) {
        if !self.wanted.iter().any(|need| need.is_met_by(&who.name, &who.instance)) {
            return;
        }
        let known = self.missing.iter().position(|(name, instance)| *name == who.name && *instance == who.instance);
        match (event, known) {
            // Beyond as many as can be connected there is no difference: somebody is missing.
            (Event::Failed | Event::HungUp, None) => {
                let _ = self.missing.push((who.name.clone(), who.instance.clone()));
            }
            (Event::Registered | Event::Resumed | Event::Unregistered, Some(index)) => {
                self.missing.swap_remove(index);
            }
            (Event::Failed | Event::HungUp, Some(_))
            | (Event::Registered | Event::Resumed | Event::Unregistered, None)
            | (Event::Late(_), _) => {}
        }
    }

    /// Name and instance of one that is missing.
    pub fn missing(&self) -> Option<(&str, &str)> {
        self.missing.first().map(|(name, instance)| (name.as_str(), instance.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(name: &str, instance: &str) -> Application {
        let text = |text: &str| Name::try_from(text).unwrap();
        Application { name: text(name), instance: text(instance), pid: 7, ids: (0, 0), is_critical: false }
    }

    #[test]
    fn needed_application_is_missing_until_it_is_back() {
        let mut needs =
            Needs::new(vec![ApplicationName::parse("web").unwrap(), ApplicationName::parse("db:main").unwrap()]);
        let web = application("web", "a");
        for (event, is_missing) in [
            (Event::Registered, false),
            (Event::Late(9), false),
            (Event::Failed, true),
            (Event::Resumed, false),
            (Event::Failed, true),
            (Event::HungUp, true),
            (Event::Registered, false),
            (Event::HungUp, true),
            (Event::Registered, false),
            (Event::Unregistered, false),
        ] {
            needs.note(&web, event);
            assert_eq!(needs.missing().is_some(), is_missing, "{event:?}");
        }
        needs.note(&application("db", "other"), Event::Failed);
        needs.note(&application("mail", "a"), Event::Failed);
        assert_eq!(needs.missing(), None, "not needed");
        needs.note(&application("db", "main"), Event::Failed);
        needs.note(&web, Event::Failed);
        needs.note(&application("db", "main"), Event::Resumed);
        assert_eq!(needs.missing(), Some(("web", "a")), "each for itself");
    }
}
