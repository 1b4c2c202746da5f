//! What calls components: routes, and channels of Redis servers.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::raw::{
    ApplicationTable, Component, HttpTrigger, Manifest, OrTable, RedisTrigger, RouteForm,
    StaticResponse,
};
use super::variables::Values;
use crate::document::{At, Located, Map, Report, Text, TextForm};
use crate::manifest::model;
use crate::manifest::model::{
    Channel, ChannelAddress, PathPattern, PathSegment, Route, RouteTarget, Subscription, ToldRoute,
};
use crate::name::{ComponentName, Subject};

/// What Spin answers itself below.
const WELL_KNOWN: &str = "/.well-known/spin/";

/// A component that a trigger names, or has written in place.
pub(super) struct Named<'a> {
    /// Its identifier.
    pub id: String,
    /// What is written in place.
    pub inline: Option<&'a Component>,
    /// Where.
    pub at: &'a At,
}

/// Who a trigger calls, by the trigger's place among all of them.
pub(super) struct Callees<'a> {
    http: Vec<Option<Named<'a>>>,
    redis: Vec<Option<Named<'a>>>,
}

impl<'a> Callees<'a> {
    /// The components that the triggers of `raw` name. Those that are written in place are given the
    /// identifiers that Spin gives them.
    pub fn of(raw: &'a Manifest) -> Self {
        let triggers = raw.trigger.as_ref().map(|triggers| &triggers.value);
        let http = triggers.and_then(|triggers| triggers.http.as_ref());
        let http = http.iter().flat_map(|list| &list.value);
        let redis = triggers.and_then(|triggers| triggers.redis.as_ref());
        let redis = redis.iter().flat_map(|list| &list.value);
        let named = |kind, index, id: Option<&Located<String>>, component| {
            let component: &Located<OrTable<Component>> = component?;
            let Located { value, at } = component;
            let id = match (value, id) {
                (OrTable::Text(name), _) => name.clone(),
                (OrTable::Table(_), Some(id)) => format!("{}-component", id.value),
                (OrTable::Table(_), None) => format!("{kind}-trigger{}-component", index + 1),
            };
            let inline = match value {
                OrTable::Text(_) => None,
                OrTable::Table(component) => Some(&**component),
            };
            Some(Named { id, inline, at })
        };
        Self {
            http: http
                .enumerate()
                .map(|(index, trigger)| {
                    let trigger = &trigger.value;
                    named(
                        "http",
                        index,
                        trigger.id.as_ref(),
                        trigger.component.as_ref(),
                    )
                })
                .collect(),
            redis: redis
                .enumerate()
                .map(|(index, trigger)| {
                    let trigger = &trigger.value;
                    named(
                        "redis",
                        index,
                        trigger.id.as_ref(),
                        trigger.component.as_ref(),
                    )
                })
                .collect(),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Named<'a>> {
        self.http.iter().chain(&self.redis).flatten()
    }
}

/// What finds a component by the identifier that the manifest has for it.
pub(super) trait Resolve {
    /// The component; one that is not there is reported.
    fn component(&self, named: &Named<'_>, report: &mut Report) -> Option<ComponentName>;
}

/// The application's routes.
pub(super) fn routes(
    raw: &Manifest,
    callees: &Callees<'_>,
    known: &impl Resolve,
    report: &mut Report,
) -> Vec<Route> {
    let mut routes = well_known(raw);
    let triggers = raw
        .trigger
        .as_ref()
        .and_then(|triggers| triggers.value.http.as_ref());
    let triggers = triggers.iter().flat_map(|list| &list.value);
    for (trigger, named) in triggers.zip(&callees.http) {
        let Some((target, path)) = route(trigger, named.as_ref(), known, report) else {
            continue;
        };
        let Some((raw, at)) = path else { continue };
        let written = path_of(&raw);
        if written.starts_with(WELL_KNOWN) {
            let what = format!("the host itself answers all below {WELL_KNOWN}");
            report.warning(&at, what, "choose another path: this one is never used");
            continue;
        }
        let Some(Text(path)) = Text::<PathPattern>::checked(&written, &at, report) else {
            continue;
        };
        let earlier = routes.len();
        routes.retain(|route| !same(&route.path, &path));
        if routes.len() < earlier {
            let what = format!("an earlier route is {path}, too, and this one takes its place");
            report.warning(&at, what, "remove one of the two");
        }
        routes.extend(both(Route {
            told: Some(ToldRoute { raw }),
            target,
            ..Route::new(path, nobody())
        }));
    }
    routes
}

/// A name to be replaced.
fn nobody() -> ComponentName {
    "nobody".parse().expect("a name")
}

/// The route, and the same with a slash at its end, which Spin does not tell from it.
fn both(route: Route) -> Vec<Route> {
    if route.path.wildcard || route.path.segments.is_empty() {
        return vec![route];
    }
    let mut slash = route.clone();
    slash
        .path
        .segments
        .push(PathSegment::Literal(String::new()));
    vec![route, slash]
}

/// Whether two patterns match the same paths.
fn same(one: &PathPattern, other: &PathPattern) -> bool {
    let bare = |pattern: &PathPattern| {
        let mut segments = pattern.segments.clone();
        if segments.last() == Some(&PathSegment::Literal(String::new())) {
            segments.pop();
        }
        let anonymous = |segment| match segment {
            PathSegment::Parameter(_) => None,
            PathSegment::Literal(text) => Some(text),
        };
        segments.into_iter().map(anonymous).collect::<Vec<_>>()
    };
    one.wildcard == other.wildcard && bare(one) == bare(other)
}

/// A route as Wharf writes it: it begins with a slash, and ends in one only where it is nothing else.
fn path_of(raw: &str) -> String {
    let slash = if raw.starts_with('/') { "" } else { "/" };
    let path = format!("{slash}{raw}");
    // Spin still takes what it wrote before it wrote dots.
    let path = match path.strip_suffix("/*") {
        Some(prefix) => format!("{prefix}/..."),
        None => path,
    };
    match path.strip_suffix('/') {
        Some("") | None => path,
        Some(bare) => bare.to_owned(),
    }
}

/// What Spin answers for every application.
fn well_known(raw: &Manifest) -> Vec<Route> {
    let application = raw.application.as_ref().map(|table| &table.value);
    let of = |field: fn(&ApplicationTable) -> &Option<Located<String>>| {
        let field = application.and_then(|table| field(table).as_ref());
        field.map(|field| field.value.clone())
    };
    let info = serde_json::json!({
        "name": of(|table| &table.name),
        "version": of(|table| &table.version),
    });
    let json = [("content-type", "application/json")];
    [
        ("health", StatusCode::OK, "OK".to_owned(), &[][..]),
        ("info", StatusCode::OK, info.to_string(), &json[..]),
        ("...", StatusCode::NOT_FOUND, String::new(), &[][..]),
    ]
    .into_iter()
    .map(|(name, status, body, headers)| {
        let path = format!("{WELL_KNOWN}{name}");
        let headers = headers.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        let target = RouteTarget::Response(model::StaticResponse {
            status,
            headers: headers.collect(),
            body,
        });
        Route {
            target,
            ..Route::new(PathPattern::parse(&path).expect("a path"), nobody())
        }
    })
    .collect()
}

/// Who answers a route, and its path as it is written, unless it is private.
fn route(
    trigger: &Located<HttpTrigger>,
    named: Option<&Named<'_>>,
    known: &impl Resolve,
    report: &mut Report,
) -> Option<(RouteTarget, Option<(String, At)>)> {
    let Located { value: raw, at } = trigger;
    further(raw.components.as_ref(), raw.dependencies.as_ref(), report);
    if let Some(executor) = &raw.executor {
        self::executor(executor, report);
    }
    let target = match (named, &raw.static_response) {
        (Some(named), None) => known.component(named, report).map(RouteTarget::Component),
        (None, Some(response)) => static_response(response, report).map(RouteTarget::Response),
        (Some(_), Some(response)) => {
            let what = "has a component, too";
            report.problem(
                &response.at,
                what,
                "keep one of component and static_response",
            );
            None
        }
        // A component that could not be read was reported.
        (None, None) => {
            if raw.component.is_none() {
                let what = "says nobody who answers";
                report.problem(at, what, "add component = \"NAME\", or static_response");
            }
            None
        }
    };
    let route = raw.route.as_ref()?;
    let path = match &route.value {
        RouteForm::Path(path) => Some((path.clone(), route.at.clone())),
        RouteForm::Private => None,
    };
    Some((target?, path))
}

fn executor(raw: &Located<super::raw::Executor>, report: &mut Report) {
    let Some(kind) = &raw.value.r#type else {
        return;
    };
    match kind.value.as_str() {
        "http" | "spin" => {}
        "wagi" => {
            let what = "modules that speak CGI over standard input and output are not run";
            let fix = "build the component for wasi:http, and remove the executor";
            report.problem(&kind.at, what, fix);
        }
        other => report.unknown(
            &kind.at,
            format!("there is no executor {other:?}"),
            other,
            &["http", "spin"],
        ),
    }
}

/// Reports what is not run around a component.
fn further<T>(
    components: Option<&Located<T>>,
    dependencies: Option<&Located<T>>,
    report: &mut Report,
) {
    for field in [components, dependencies].into_iter().flatten() {
        let what = "components around the one that is called are not run";
        let fix = "call them from it: http://NAME.spin.internal/, or a composed dependency";
        report.problem(&field.at, what, fix);
    }
}

fn static_response(
    raw: &Located<StaticResponse>,
    report: &mut Report,
) -> Option<model::StaticResponse> {
    let raw = &raw.value;
    let status = match &raw.status_code {
        None => Some(StatusCode::OK),
        Some(code) => {
            let status = u16::try_from(code.value).ok();
            let status = status.and_then(|status| StatusCode::from_u16(status).ok());
            if status.is_none_or(|status| status.as_u16() > 599 || status.is_informational()) {
                let what = format!("{} is not a status", code.value);
                report.problem(&code.at, what, "write a number from 200 to 599");
            }
            status
        }
    };
    let headers = raw.headers.as_ref();
    let headers = headers.map(|headers| self::headers(&headers.value, report));
    Some(model::StaticResponse {
        status: status?,
        headers: headers.unwrap_or_default(),
        body: raw
            .body
            .as_ref()
            .map(|body| body.value.clone())
            .unwrap_or_default(),
    })
}

fn headers(raw: &Map<String, String>, report: &mut Report) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in &raw.0 {
        let Some(value) = value else { continue };
        match (
            name.value.parse::<HeaderName>(),
            HeaderValue::from_str(value),
        ) {
            (Ok(name), Ok(value)) => {
                headers.append(name, value);
            }
            (Err(_), _) => {
                let what = format!("{:?} is not a header's name", name.value);
                report.problem(&name.at, what, "write one, such as \"content-type\"");
            }
            (_, Err(_)) => {
                report.problem(
                    &name.at,
                    "has a value that headers cannot have",
                    "write visible text",
                );
            }
        }
    }
    headers
}

/// What Redis triggers bind: channels, or subscriptions to streams of Wharf's own.
#[derive(Default)]
pub(super) struct Bound {
    /// Channels.
    pub channels: Vec<Channel>,
    /// Subscriptions.
    pub subscriptions: Vec<Subscription>,
}

/// What the application's Redis triggers bind.
pub(super) fn channels(
    raw: &Manifest,
    callees: &Callees<'_>,
    known: &impl Resolve,
    values: &Values,
    report: &mut Report,
) -> Bound {
    let application = raw.application.as_ref().map(|table| &table.value);
    let defaults = application.and_then(|table| table.trigger.as_ref());
    let default = defaults.and_then(|defaults| defaults.value.redis.as_ref());
    let default = default.and_then(|redis| redis.value.address.as_ref());
    let own = application.and_then(|table| table.tool.as_ref());
    let own = own.and_then(|tools| tools.value.wharf.as_ref());
    let durable = own.and_then(|own| own.value.durable_redis_triggers.as_ref());
    let durable = durable.is_some_and(|flag| flag.value);
    let triggers = raw
        .trigger
        .as_ref()
        .and_then(|triggers| triggers.value.redis.as_ref());
    let triggers = triggers.iter().flat_map(|list| &list.value);
    let mut bound = Bound::default();
    for (trigger, named) in triggers.zip(&callees.redis) {
        let Located { value: raw, at } = trigger;
        further(raw.components.as_ref(), raw.dependencies.as_ref(), report);
        let component = named
            .as_ref()
            .and_then(|named| known.component(named, report));
        let channel = self::channel(raw, values, report);
        let address = match (raw.address.as_ref().or(default), durable) {
            (Some(_), true) | (None, true) => None,
            (Some(address), false) => self::address(address, values, report),
            (None, false) => {
                let fix =
                    "add address = \"redis://HOST:PORT\", here or in [application.trigger.redis]";
                report.problem(at, "names no server", fix);
                None
            }
        };
        let (Some(component), Some(channel)) = (component, channel) else {
            continue;
        };
        if durable {
            let twin = |other: &Subscription| {
                other.subject.as_str() == channel && other.component == component
            };
            if bound.subscriptions.iter().any(twin) {
                let what = format!("{component} has another trigger for the channel {channel:?}");
                report.problem(at, what, "keep one of the two");
            }
            let subject = Text::<Subject>::checked(&channel, at, report);
            let subscription = subject.map(|Text(subject)| Subscription::new(subject, component));
            bound.subscriptions.extend(subscription);
        } else {
            bound.channels.extend(address.map(|address| Channel {
                address,
                channel,
                component,
            }));
        }
    }
    bound
}

fn channel(raw: &RedisTrigger, values: &Values, report: &mut Report) -> Option<String> {
    let channel = raw.channel.as_ref()?;
    let filled = values.fill(&channel.value, &channel.at, report)?;
    if filled.text.is_empty() {
        report.problem(&channel.at, "is empty", "write a channel");
    }
    Some(filled.text)
}

fn address(raw: &Located<String>, values: &Values, report: &mut Report) -> Option<ChannelAddress> {
    let filled = values.fill(&raw.value, &raw.at, report)?;
    if filled.text.starts_with("redis://") || filled.text.starts_with("rediss://") {
        return Some(ChannelAddress(filled.text));
    }
    let what = "does not say where a Redis server is";
    report.problem(
        &raw.at,
        what,
        "write \"redis://HOST:PORT\", or rediss:// for TLS",
    );
    None
}
