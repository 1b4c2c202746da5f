//! Tokens that must not be accepted, and keys that rotate.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::{Sha256, Sha512};

use super::{App, User, manifest};
use crate::harness::{Host, Launch, artifacts, client};

/// The newest signing key of a host: its kid and bytes.
fn signing_key(host: &Host) -> (String, Vec<u8>) {
    let path = host.state().path().join("secrets/auth-signing-keys");
    let text = std::fs::read_to_string(path).expect("the ring is there");
    let ring: Value = serde_json::from_str(&text).expect("the ring is JSON");
    let kid = ring[0]["kid"].as_str().expect("a kid").to_owned();
    let key = ring[0]["key"].as_str().expect("a key");
    (kid, URL_SAFE_NO_PAD.decode(key).expect("base64url"))
}

fn now() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// A JSON Web Token by the letter of RFC 7515, with nothing of what the application signs with.
fn sign(claims: &Value, algorithm: &str, kid: Option<&str>, key: &[u8]) -> String {
    let mut header = json!({ "typ": "JWT", "alg": algorithm });
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    let signed = format!("{}.{}", encoded(&header), encoded(claims));
    let signature = match algorithm {
        "HS256" => mac::<Hmac<Sha256>>(key, &signed),
        "HS512" => mac::<Hmac<Sha512>>(key, &signed),
        other => panic!("no test signs with {other}"),
    };
    format!("{signed}.{signature}")
}

fn mac<M: Mac + KeyInit>(key: &[u8], text: &str) -> String {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes any key");
    mac.update(text.as_bytes());
    URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
}

/// The claims of a user's token, as they are.
fn claims_of(user: &User) -> Value {
    let part = user.token.split('.').nth(1).expect("three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut changed = claims.clone();
    changed[name] = value;
    changed
}

async fn status_with(user: &User, authorization: &str) -> u16 {
    let request = user
        .client
        .request("GET", "/jobs")
        .header("authorization", authorization);
    user.client
        .send(request.body(client::empty()).unwrap())
        .await
        .status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_signed_by_the_hosts_key_with_the_right_claims_is_accepted() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let (kid, key) = signing_key(&app.host);
    let token = sign(&claims_of(&user), "HS256", Some(&kid), &key);
    assert_eq!(status_with(&user, &format!("Bearer {token}")).await, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_other_token_is_refused() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let other = User::new(&app.host).await;
    let (kid, key) = signing_key(&app.host);
    let claims = claims_of(&user);
    let hs256 = |claims: &Value| sign(claims, "HS256", Some(&kid), &key);
    let parts: Vec<&str> = user.token.split('.').collect();
    let none = encoded(&json!({ "alg": "none", "typ": "JWT", "kid": kid }));
    let stolen = encoded(&with(&claims, "sub", claims_of(&other)["sub"].clone()));
    let refused = [
        ("expired", hs256(&with(&claims, "exp", json!(now() - 60)))),
        (
            "expires at this moment",
            hs256(&with(&claims, "exp", json!(now()))),
        ),
        (
            "wrong issuer",
            hs256(&with(&claims, "iss", json!("somebody else"))),
        ),
        (
            "wrong audience",
            hs256(&with(&claims, "aud", json!("another application"))),
        ),
        ("no audience", hs256(&with(&claims, "aud", Value::Null))),
        ("no expiry", hs256(&with(&claims, "exp", Value::Null))),
        (
            "expiry as text",
            hs256(&with(&claims, "exp", json!("9999999999"))),
        ),
        ("another key", sign(&claims, "HS256", Some(&kid), &[7; 32])),
        ("an empty key", sign(&claims, "HS256", Some(&kid), &[])),
        ("unknown kid", sign(&claims, "HS256", Some("unknown"), &key)),
        ("no kid", sign(&claims, "HS256", None, &key)),
        (
            "kid as a path",
            sign(&claims, "HS256", Some("../../dev/null"), &key),
        ),
        (
            "another algorithm",
            sign(&claims, "HS512", Some(&kid), &key),
        ),
        ("alg none", format!("{none}.{}.", parts[1])),
        (
            "alg none with a signature",
            format!("{none}.{}.{}", parts[1], parts[2]),
        ),
        (
            "another user's subject",
            format!("{}.{stolen}.{}", parts[0], parts[2]),
        ),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{}.x", user.token)),
        ("not a token", "not a token".to_owned()),
        ("nothing", String::new()),
        ("very long", "x".repeat(20_000)),
    ];
    for (what, token) in refused {
        let reply = {
            let request = user.client.request("GET", "/jobs");
            let request = request.header("authorization", format!("Bearer {token}"));
            user.client
                .send(request.body(client::empty()).unwrap())
                .await
        };
        assert_eq!(reply.status, 401, "{what}: {}", reply.text());
        assert!(reply.json()["error"].is_string(), "{what}");
        let challenge = reply
            .header("www-authenticate")
            .expect("RFC 6750 wants a challenge");
        assert!(challenge.starts_with("Bearer"), "{what}: {challenge}");
    }
    assert_eq!(
        status_with(&user, &format!("Bearer {}", user.token)).await,
        200
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_changed_character_anywhere_makes_a_token_worthless() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    // The last character of a part may carry unused bits; every other one counts.
    let ends: Vec<usize> = user
        .token
        .match_indices('.')
        .map(|(at, _)| at - 1)
        .collect();
    for at in (0..user.token.len() - 1)
        .step_by(7)
        .filter(|at| !ends.contains(at))
    {
        let mut bytes = user.token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let token = String::from_utf8(bytes).unwrap();
        assert_eq!(
            status_with(&user, &format!("Bearer {token}")).await,
            401,
            "at {at}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_token_and_the_wrong_scheme_are_refused_on_every_path() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let id = "0".repeat(32);
    for (method, path) in [
        ("POST", "/upload".to_owned()),
        ("GET", "/jobs".to_owned()),
        ("GET", format!("/jobs/{id}")),
        ("GET", format!("/jobs/{id}/events")),
        ("GET", format!("/download?fid={id}")),
        ("DELETE", format!("/jobs/{id}")),
        ("GET", "/notices".to_owned()),
    ] {
        let request = user
            .client
            .request(method, &path)
            .body(client::empty())
            .unwrap();
        assert_eq!(
            user.client.send(request).await.status,
            401,
            "{method} {path}"
        );
    }
    assert_eq!(
        status_with(&user, &format!("Basic {}", user.token)).await,
        401
    );
    assert_eq!(status_with(&user, &user.token).await, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_signs_and_the_old_one_still_verifies() {
    let manifest = manifest(|_| {});
    let host = App::own(&manifest).await;
    let before = User::new(&host).await;
    let (old_kid, _) = signing_key(&host);
    let state = host.state().clone();
    host.stop().await;
    let mut command = artifacts::command();
    command
        .args(["secret", "rotate", "auth-signing-keys", "--state-dir"])
        .arg(state.path());
    artifacts::run(&mut command).unwrap();
    let host = Launch::of(&manifest).state(&state).start().await;
    let (new_kid, _) = signing_key(&host);
    assert_ne!(new_kid, old_kid);
    let status = async |token: &str| {
        let request = host.client().request("GET", "/jobs");
        let request = request.header("authorization", format!("Bearer {token}"));
        host.client()
            .send(request.body(client::empty()).unwrap())
            .await
            .status
    };
    assert_eq!(
        status(&before.token).await,
        200,
        "the old key still verifies"
    );
    let after = super::app::log_in(&host.client(), &before.email, &before.password).await;
    let token = after.expect(200).json()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let header = URL_SAFE_NO_PAD
        .decode(token.split('.').next().unwrap())
        .unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header["kid"], new_kid, "the new key signs");
    assert_eq!(status(&token).await, 200);
}
