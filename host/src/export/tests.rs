use std::path::Path;

use super::*;
use crate::manifest::{self, model::Application};

fn application(text: &str) -> Application {
    let loaded = manifest::resolve(text, Path::new("/app/x.toml"));
    loaded
        .unwrap_or_else(|problems| panic!("{problems}"))
        .application
}

fn subject(application: &Application) -> Subject<'_> {
    Subject {
        application,
        place: Place::new(Path::new("/app/out"), Path::new("/app/x.toml")).unwrap(),
        registry: "registry.test/x".to_owned(),
        imports: BTreeMap::new(),
        linked: Vec::new(),
        adapter: "/app/adapter.wasm".into(),
        shutdown_grace: Duration::from_secs(30),
    }
}

const SHOP: &str = r#"
application.name = "shop"
[component.web]
artifact = "web.wasm"
grants.outbound_http = ["http://accounts.internal", "https://api.example.com"]
environment.GREETING = "say \"hello\""
reuse.requests = 50
[component.accounts]
artifact = "accounts.wasm"
grants.keyvalue = ["default"]
secrets.KEY.name = "key"
[component.mailer]
artifact = "mailer.wasm"
grants.blobstore = ["mails"]
grants.publish = ["mail.sent"]
[[route]]
host = "shop.example.com"
path = "/api/:id"
methods = ["GET"]
component = "web"
[[subscription]]
subject = "mail.wanted"
component = "mailer"
"#;

#[test]
fn spin_gets_what_it_can_run() {
    let application = application(SHOP);
    let written = write(Target::Spin, &subject(&application));
    let text = &written.files["spin.toml"];
    let manifest: ::toml::Table = text.parse().unwrap();
    let components = manifest["component"].as_table().unwrap();
    assert_eq!(components.keys().collect::<Vec<_>>(), ["accounts", "web"]);
    let web = &components["web"];
    assert_eq!(web["source"].as_str(), Some("../web.wasm"));
    assert_eq!(
        web["environment"]["GREETING"].as_str(),
        Some("say \"hello\"")
    );
    let hosts: Vec<_> = web["allowed_outbound_hosts"]
        .as_array()
        .unwrap()
        .iter()
        .collect();
    assert_eq!(hosts[0].as_str(), Some("http://accounts.spin.internal"));
    assert_eq!(hosts[1].as_str(), Some("https://api.example.com"));
    let accounts = &components["accounts"];
    assert_eq!(
        accounts["dependencies"]["wasi:keyvalue@0.2.0-draft"]["path"].as_str(),
        Some("../adapter.wasm")
    );
    let triggers = manifest["trigger"]["http"].as_array().unwrap();
    assert!(
        triggers
            .iter()
            .any(|trigger| trigger["route"].as_str() == Some("/api/:id"))
    );
    assert!(
        triggers.iter().any(|trigger| trigger["route"].is_table()),
        "{text}"
    );
    for said in [
        "mailer is left out",
        "every host",
        "every method",
        "--env KEY=VALUE",
        "http://NAME.internal",
    ] {
        assert!(
            written.notes.iter().any(|note| note.contains(said)),
            "{said}: {:?}",
            written.notes
        );
    }
}

#[test]
fn what_is_linked_shares_a_workload() {
    let application = application(SHOP);
    let mut subject = subject(&application);
    let names = |written: &Written| written.files.keys().cloned().collect::<Vec<_>>();
    let apart = write(Target::Wasmcloud, &subject);
    assert_eq!(names(&apart), ["accounts.yaml", "mailer.yaml", "web.yaml"]);
    let name = |text: &str| text.parse::<ComponentName>().unwrap();
    subject.linked = vec![(name("web"), name("mailer"))];
    let together = write(Target::Wasmcloud, &subject);
    assert_eq!(names(&together), ["accounts.yaml", "mailer.yaml"]);
    let text = &together.files["mailer.yaml"];
    assert!(
        text.contains("name: web") && text.contains("name: mailer"),
        "{text}"
    );
}

#[test]
fn a_workload_is_read_back_as_what_it_was() {
    let application = application(SHOP);
    let written = write(Target::Wasmcloud, &subject(&application));
    let secret = "\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: shop-accounts}\nstringData: {KEY: x}\n";
    let read = |name: &str| {
        let text = written.files[name].clone() + secret;
        let loaded = manifest::resolve(&text, Path::new("/app/out/x.yaml"));
        loaded
            .unwrap_or_else(|problems| panic!("{text}\n{problems}"))
            .application
    };
    let web = read("web.yaml");
    let component = &web.components["web"];
    assert_eq!(component.environment["GREETING"], "say \"hello\"");
    assert_eq!(component.reuse.requests_max, Some(50));
    assert!(component.grants.allows("https", "api.example.com", 443));
    assert!(!component.grants.allows("https", "example.com", 443));
    assert_eq!(web.routes[0].host.as_deref(), Some("shop.example.com"));
    let accounts = read("accounts.yaml");
    assert!(accounts.components["accounts"].secrets.contains_key("KEY"));
    assert!(accounts.components["accounts"].grants.any.keyvalue);
    assert_eq!(
        accounts.routes[0].host.as_deref(),
        Some("accounts.internal")
    );
    let mailer = read("mailer.yaml");
    assert_eq!(mailer.subscriptions[0].subject.as_str(), "mail.wanted");
    assert!(mailer.components["mailer"].grants.any.publish);
}

#[test]
fn secrets_that_no_host_makes_are_asked_for() {
    let application = application(SHOP);
    let written = write(Target::Kubernetes, &subject(&application));
    let said = written
        .notes
        .iter()
        .any(|note| note.contains("/state/secrets/key"));
    assert!(said, "{:?}", written.notes);
}
