//! What binds the world's events to components: routes, subscriptions, streams.

use std::collections::{BTreeMap, BTreeSet};

use super::Known;
use crate::document::{At, Located, Report, SPAN_MIN, Text};
use crate::manifest::defaults;
use crate::manifest::forms::Method;
use crate::manifest::model::{Backoff, PathSegment, Route, StreamLimits, Subscription};
use crate::manifest::raw::{self, Manifest};
use crate::name::Subject;

/// Every route that could be resolved, in the manifest's order.
pub(super) fn routes(raw: &Manifest, known: &Known<'_>, report: &mut Report) -> Vec<Route> {
    let mut routes: Vec<(Route, &At)> = Vec::new();
    for entry in raw.route.iter().flat_map(|list| &list.value) {
        let Some(route) = route(&entry.value, known, report) else {
            continue;
        };
        let twin = routes
            .iter()
            .find(|(other, _)| same_requests(other, &route));
        if let Some((_, other)) = twin {
            let what = format!("matches the same requests as {}", place(other));
            report.problem(&entry.at, what, "remove one of the two, or tell them apart");
        }
        routes.push((route, &entry.at));
    }
    routes.into_iter().map(|(route, _)| route).collect()
}

/// A place as another problem's text names it.
fn place(at: &At) -> String {
    let line = at.line.map(|line| format!(" (line {line})"));
    format!("{}{}", at.key, line.unwrap_or_default())
}

fn route(raw: &raw::Route, known: &Known<'_>, report: &mut Report) -> Option<Route> {
    let component = known.component(raw.component.as_ref(), report);
    let methods = raw
        .methods
        .as_ref()
        .map(|list| methods(&list.value.0, report));
    Some(Route {
        host: raw.host.as_ref().map(|host| host.value.0.0.clone()),
        methods: methods.unwrap_or_default(),
        ..Route::new(raw.path.as_ref()?.value.0.clone(), component?)
    })
}

fn methods(list: &[Located<Text<Method>>], report: &mut Report) -> BTreeSet<String> {
    let mut methods = BTreeSet::new();
    for entry in list {
        let Text(Method(method)) = &entry.value;
        if !methods.insert(method.clone()) {
            report.problem(
                &entry.at,
                format!("{method:?} is there twice"),
                "keep one of the two",
            );
        }
    }
    methods
}

/// Whether some request is matched by both routes with nothing to say which is the more specific.
fn same_requests(left: &Route, right: &Route) -> bool {
    let same_segment = |(left, right): (&PathSegment, &PathSegment)| match (left, right) {
        (PathSegment::Literal(left), PathSegment::Literal(right)) => left == right,
        (PathSegment::Parameter(_), PathSegment::Parameter(_)) => true,
        (PathSegment::Literal(_), PathSegment::Parameter(_))
        | (PathSegment::Parameter(_), PathSegment::Literal(_)) => false,
    };
    let same_methods = match (left.methods.is_empty(), right.methods.is_empty()) {
        (true, true) => true,
        (false, false) => !left.methods.is_disjoint(&right.methods),
        (true, false) | (false, true) => false,
    };
    let (left_path, right_path) = (&left.path, &right.path);
    same_methods
        && left.host == right.host
        && left_path.wildcard == right_path.wildcard
        && left_path.segments.len() == right_path.segments.len()
        && left_path
            .segments
            .iter()
            .zip(&right_path.segments)
            .all(same_segment)
}

/// Every subscription that could be resolved.
pub(super) fn subscriptions(
    raw: &Manifest,
    known: &Known<'_>,
    report: &mut Report,
) -> Vec<Subscription> {
    let mut subscriptions: Vec<(Subscription, &At)> = Vec::new();
    for entry in raw.subscription.iter().flat_map(|list| &list.value) {
        let Some(subscription) = subscription(&entry.value, known, report) else {
            continue;
        };
        let twin = subscriptions.iter().find(|(other, _)| {
            other.subject == subscription.subject && other.component == subscription.component
        });
        if let Some((_, other)) = twin {
            let (subject, component) = (&subscription.subject, &subscription.component);
            let what = format!(
                "{component} subscribes to {subject} in {}, too",
                place(other)
            );
            report.problem(&entry.at, what, "keep one of the two");
        }
        subscriptions.push((subscription, &entry.at));
    }
    subscriptions
        .into_iter()
        .map(|(subscription, _)| subscription)
        .collect()
}

fn subscription(
    raw: &raw::Subscription,
    known: &Known<'_>,
    report: &mut Report,
) -> Option<Subscription> {
    let component = known.component(raw.component.as_ref(), report);
    let lease = report.span(
        raw.lease.as_ref(),
        defaults::SUBSCRIPTION_LEASE_MIN,
        defaults::SUBSCRIPTION_LEASE,
    );
    let deadline = report.span(
        raw.deadline.as_ref(),
        SPAN_MIN,
        defaults::SUBSCRIPTION_DEADLINE,
    );
    let concurrency = report.count(raw.concurrency.as_ref(), defaults::SUBSCRIPTION_CONCURRENCY);
    let deliveries_max = report.count(
        raw.deliveries.as_ref(),
        defaults::SUBSCRIPTION_DELIVERIES_MAX,
    );
    let backoff = raw
        .backoff
        .as_ref()
        .map(|backoff| self::backoff(backoff, report));
    Some(Subscription {
        subject: raw.subject.as_ref()?.value.0.clone(),
        component: component?,
        concurrency,
        lease,
        deadline,
        deliveries_max,
        backoff: backoff.unwrap_or_default(),
    })
}

fn backoff(raw: &Located<raw::Backoff>, report: &mut Report) -> Backoff {
    let default = Backoff::default();
    let first = report.span(raw.value.first.as_ref(), SPAN_MIN, default.first);
    let max = report.span(raw.value.max.as_ref(), SPAN_MIN, default.max);
    if max < first {
        let (longest, first) = (
            humantime::format_duration(max),
            humantime::format_duration(first),
        );
        let what = format!("its longest pause, {longest}, is shorter than its first, {first}");
        report.problem(&raw.at, what, format!("write max = \"{first}\" or more"));
    }
    Backoff { first, max }
}

/// The limits of every stream that has its own.
pub(super) fn streams(raw: &Manifest, report: &mut Report) -> BTreeMap<Subject, StreamLimits> {
    let mut streams = BTreeMap::new();
    for (subject, stream) in raw.stream.iter().flat_map(|table| &table.value.0) {
        let length = stream
            .as_ref()
            .and_then(|stream| stream.length_max.as_ref());
        let Some(length) = length else { continue };
        let length_max = report.count(Some(length), 1);
        streams.insert(subject.value.clone(), StreamLimits { length_max });
    }
    streams
}
