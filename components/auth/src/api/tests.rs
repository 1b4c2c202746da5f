use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::account::StoreError;
use crate::config::SigningKey;

/// One caller's store in memory, with a clock that tests set.
#[derive(Default)]
struct Memory {
    values: RefCell<HashMap<String, Vec<u8>>>,
    counters: RefCell<HashMap<String, u64>>,
    now_ms: Cell<u64>,
    broken: Cell<bool>,
}

impl Memory {
    fn works(&self) -> Result<(), StoreError> {
        if self.broken.get() {
            Err(StoreError("disk full".to_owned()))
        } else {
            Ok(())
        }
    }
}

impl Store for Memory {
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.works()?;
        Ok(self.values.borrow().get(key).cloned())
    }

    fn set(&self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        self.works()?;
        self.values
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        Ok(())
    }

    fn increment(&self, key: &str) -> Result<u64, StoreError> {
        self.works()?;
        let mut counters = self.counters.borrow_mut();
        let counter = counters.entry(key.to_owned()).or_default();
        *counter += 1;
        Ok(*counter)
    }

    fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    fn pause(&self, duration: Duration) {
        self.now_ms
            .set(self.now_ms.get() + u64::try_from(duration.as_millis()).unwrap());
    }
}

fn settings() -> Result<Settings, ConfigError> {
    Ok(Settings {
        issuer: "us".to_owned(),
        audience: "everybody".to_owned(),
        token_ttl_seconds: 60,
        keys: vec![SigningKey {
            kid: "a".to_owned(),
            secret: vec![1; 32],
        }],
    })
}

fn call(
    store: &Memory,
    method: &str,
    path: &str,
    authorization: Option<&str>,
    body: &str,
) -> Answer {
    let request = Request {
        method,
        path,
        authorization,
    };
    answer(&request, store, settings, || Ok(body.as_bytes().to_vec()))
}

fn register(store: &Memory, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password }).to_string();
    call(store, "POST", "/register", None, &body)
}

fn login(store: &Memory, email: &str, password: &str) -> Answer {
    let header = format!("Basic {}", STANDARD.encode(format!("{email}:{password}")));
    call(store, "POST", "/login", Some(&header), "")
}

fn header<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer
        .headers
        .iter()
        .find(|(known, _)| *known == name)
        .map_or("", |(_, value)| value)
}

#[test]
fn a_person_registers_logs_in_and_is_recognised() {
    let store = Memory::default();
    store.now_ms.set(5_000_500);
    let made = register(&store, " Ada@Example.org", "correct horse");
    assert_eq!(
        (made.status, &made.body["email"]),
        (201, &json!("ada@example.org"))
    );
    let id = made.body["id"].as_str().unwrap();
    assert!(
        id.len() == 32
            && id
                .chars()
                .all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
    );

    let entered = login(&store, "ADA@example.org ", "correct horse");
    assert_eq!(
        (entered.status, &entered.body["expires_in"]),
        (200, &json!(60))
    );
    let bearer = format!("Bearer {}", entered.body["token"].as_str().unwrap());
    let known = call(&store, "POST", "/validate", Some(&bearer), "");
    let expected = json!({"iss": "us", "aud": "everybody", "sub": id, "email": "ada@example.org",
                          "iat": 5000, "exp": 5060});
    assert_eq!((known.status, known.body), (200, expected));

    store.now_ms.set(5_060_000);
    let late = call(&store, "POST", "/validate", Some(&bearer), "");
    assert_eq!(
        (late.status, &late.body["denial"]),
        (401, &json!("expired"))
    );
    assert!(header(&late, "www-authenticate").starts_with("Bearer "));
}

#[test]
fn an_address_is_registered_once_however_it_is_written() {
    let store = Memory::default();
    assert_eq!(
        register(&store, "ada@example.org", "correct horse").status,
        201
    );
    let again = register(&store, "ADA@EXAMPLE.ORG", "other horse");
    assert_eq!(again.status, 409);
    assert_eq!(
        again.body["error"],
        "This email address is already registered."
    );
    assert_eq!(
        login(&store, "ada@example.org", "correct horse").status,
        200
    );
    assert_eq!(login(&store, "ada@example.org", "other horse").status, 401);
}

#[test]
fn a_registration_under_way_elsewhere_says_when_to_try_again() {
    let store = Memory::default();
    let digest = Email::parse("ada@example.org").unwrap().digest();
    store.increment(&format!("claim/{digest}/1")).unwrap();
    let answer = register(&store, "ada@example.org", "correct horse");
    assert_eq!((answer.status, header(&answer, "retry-after")), (409, "60"));
    store.pause(CLAIM_ABANDONED_AFTER);
    assert_eq!(
        register(&store, "ada@example.org", "correct horse").status,
        201
    );
}

#[test]
fn unknown_users_and_wrong_passwords_get_the_same_answer() {
    let store = Memory::default();
    register(&store, "ada@example.org", "correct horse");
    let wrong = login(&store, "ada@example.org", "wrong horse");
    let unknown = login(&store, "bob@example.org", "correct horse");
    let absurd = login(&store, "no address", "correct horse");
    let missing = call(&store, "POST", "/login", None, "");
    for answer in [&wrong, &unknown, &absurd, &missing] {
        assert_eq!((answer.status, &answer.body), (401, &wrong.body));
        assert_eq!(header(answer, "www-authenticate"), BASIC_CHALLENGE);
    }
}

#[test]
fn what_cannot_be_registered_is_refused_with_a_sentence() {
    let store = Memory::default();
    let cases = [
        register(&store, "", "correct horse"),
        register(&store, "ada", "correct horse"),
        register(&store, "ada@example.org", "short"),
        register(&store, "ada@example.org", &"x".repeat(257)),
        call(&store, "POST", "/register", None, "{"),
        call(
            &store,
            "POST",
            "/register",
            None,
            r#"{"email":"ada@example.org"}"#,
        ),
        call(
            &store,
            "POST",
            "/register",
            None,
            r#"{"email":1,"password":[]}"#,
        ),
    ];
    for answer in cases {
        assert_eq!(answer.status, 400);
        assert!(answer.body["error"].as_str().unwrap().ends_with('.'));
    }
    assert!(store.values.borrow().is_empty());
}

#[test]
fn bodies_that_are_too_large_or_break_off_are_refused() {
    let request = Request {
        method: "POST",
        path: "/register",
        authorization: None,
    };
    let store = Memory::default();
    assert_eq!(
        answer(&request, &store, settings, || Err(BodyError::TooLarge)).status,
        413
    );
    assert_eq!(
        answer(&request, &store, settings, || Err(BodyError::Broken)).status,
        400
    );
}

#[test]
fn other_methods_and_paths_are_named_as_such() {
    let store = Memory::default();
    for path in ["/register", "/login", "/validate"] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let answer = call(&store, method, path, None, "");
            assert_eq!((answer.status, header(&answer, "allow")), (405, "POST"));
        }
    }
    for path in ["/", "", "/register/", "/Login", "//login"] {
        assert_eq!(call(&store, "POST", path, None, "").status, 404, "{path}");
    }
}

#[test]
fn a_missing_or_refused_token_is_challenged() {
    let store = Memory::default();
    let missing = call(&store, "POST", "/validate", None, "");
    assert_eq!(
        (missing.status, header(&missing, "www-authenticate")),
        (401, r#"Bearer realm="wharf""#)
    );
    let refused = call(&store, "POST", "/validate", Some("Bearer a.b.c"), "");
    assert_eq!(
        (refused.status, &refused.body["denial"]),
        (401, &json!("malformed"))
    );
    assert!(header(&refused, "www-authenticate").contains(r#"error="invalid_token""#));
}

#[test]
fn our_own_faults_are_500_with_the_cause_for_the_log_alone() {
    let store = Memory::default();
    let request = Request {
        method: "POST",
        path: "/login",
        authorization: None,
    };
    let misconfigured = answer(
        &request,
        &store,
        || Settings::read(|_| None),
        || Ok(Vec::new()),
    );
    assert_eq!(misconfigured.status, 500);
    assert!(misconfigured.fault.unwrap().contains("AUTH_SIGNING_KEYS"));
    assert!(!misconfigured.body.to_string().contains("AUTH_SIGNING_KEYS"));
}

#[test]
fn a_store_that_fails_is_503_with_when_to_come_back() {
    let store = Memory::default();
    store.broken.set(true);
    for answer in [
        register(&store, "ada@example.org", "correct horse"),
        login(&store, "ada@example.org", "correct horse"),
        Answer::store_unavailable(&StoreError("disk full".to_owned())),
    ] {
        assert_eq!((answer.status, header(&answer, "retry-after")), (503, "5"));
        assert!(!answer.body.to_string().contains("disk full"));
        assert!(answer.fault.unwrap().contains("disk full"));
    }
}

#[test]
fn a_damaged_record_is_a_fault_and_not_a_free_address() {
    let store = Memory::default();
    let digest = Email::parse("ada@example.org").unwrap().digest();
    store.set(&account::key(&digest), b"{").unwrap();
    assert_eq!(
        register(&store, "ada@example.org", "correct horse").status,
        500
    );
    assert_eq!(
        login(&store, "ada@example.org", "correct horse").status,
        500
    );
}
