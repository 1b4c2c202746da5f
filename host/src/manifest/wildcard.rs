//! Subscriptions by pattern.

use super::model::{Application, Subscription};
use crate::name::{ComponentName, Subject, SubjectPattern};

/// What binds the messages of many subjects to a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wildcard {
    /// Which subjects.
    pub pattern: SubjectPattern,
    /// Who handles their messages.
    pub component: ComponentName,
}

impl Application {
    /// Binds the messages of all subjects that `pattern` means to `component`, once.
    pub fn subscribe(&mut self, pattern: &SubjectPattern, component: &ComponentName) {
        let wildcard = Wildcard {
            pattern: pattern.clone(),
            component: component.clone(),
        };
        match pattern.subject() {
            Some(subject) => {
                let wanted = wildcard.on(&subject);
                let mut there = self.subscriptions.iter();
                if !there.any(|s| s.subject == wanted.subject && s.component == wanted.component) {
                    self.subscriptions.push(wanted);
                }
            }
            None if !self.wildcards.contains(&wildcard) => self.wildcards.push(wildcard),
            None => {}
        }
    }
}

impl Wildcard {
    /// The subscription to one of the subjects.
    pub fn on(&self, subject: &Subject) -> Subscription {
        Subscription::new(subject.clone(), self.component.clone())
    }
}
