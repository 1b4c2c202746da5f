//! Warns where nothing reaches a component, and where messages go to or come from nobody.

use std::collections::BTreeSet;

use crate::document::{Report, Text};
use crate::manifest::model::{Application, HostPattern, Route};
use crate::manifest::raw::Manifest;
use crate::name::{ComponentName, Subject};

/// Reports what looks unintended in `application`, at its places in `raw`.
pub(super) fn warn(raw: &Manifest, application: &Application, report: &mut Report) {
    unreached(raw, application, report);
    let subscribed = application
        .subscriptions
        .iter()
        .map(|subscription| &subscription.subject);
    let subscribed: BTreeSet<&Subject> = subscribed.collect();
    let grants = application
        .components
        .values()
        .map(|component| &component.grants);
    let published: BTreeSet<&Subject> = grants.flat_map(|grants| &grants.publish).collect();
    unheard(raw, &subscribed, report);
    unspoken(raw, &published, report);
    for (subject, _) in raw.stream.iter().flat_map(|table| &table.value.0) {
        let subject = (&subject.value, &subject.at);
        if !subscribed.contains(subject.0) && !published.contains(subject.0) {
            let what = "nothing publishes or subscribes to this subject";
            report.warning(subject.1, what, "correct its name, or remove it");
        }
    }
}

fn unreached(raw: &Manifest, application: &Application, report: &mut Report) {
    let reached: BTreeSet<&ComponentName> = {
        let routes = application.routes.iter().filter_map(Route::component);
        let subscriptions = application.subscriptions.iter().map(|s| &s.component);
        let callees = application.components.values().flat_map(|caller| {
            let hosts = caller.grants.outbound.iter();
            hosts.filter_map(|host| match &host.host {
                HostPattern::Component(name) if *name != caller.name => Some(name),
                _ => None,
            })
        });
        routes.chain(subscriptions).chain(callees).collect()
    };
    for (name, _) in raw.component.iter().flat_map(|table| &table.value.0) {
        if !reached.contains(&name.value) {
            let what = "no route, subscription or outbound_http grant leads to this component";
            let fix = "add one, unless other components reach it through typed calls alone";
            report.warning(&name.at, what, fix);
        }
    }
}

fn unheard(raw: &Manifest, subscribed: &BTreeSet<&Subject>, report: &mut Report) {
    let components = raw.component.iter().flat_map(|table| &table.value.0);
    let grants = components.filter_map(|(_, component)| component.as_ref()?.grants.as_ref());
    let publish = grants.filter_map(|grants| grants.value.publish.as_ref());
    for entry in publish.flat_map(|list| &list.value) {
        let Text(subject) = &entry.value;
        if !subscribed.contains(subject) {
            let what = format!("nothing subscribes to {subject}");
            report.warning(&entry.at, what, "correct its name, or add a subscription");
        }
    }
}

fn unspoken(raw: &Manifest, published: &BTreeSet<&Subject>, report: &mut Report) {
    for entry in raw.subscription.iter().flat_map(|list| &list.value) {
        let Some(subject) = &entry.value.subject else {
            continue;
        };
        let Text(name) = &subject.value;
        if !published.contains(name) {
            let what = format!("no component may publish to {name}");
            report.warning(
                &subject.at,
                what,
                "correct its name, or grant it to who publishes",
            );
        }
    }
}
