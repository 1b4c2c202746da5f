//! Registering, logging in, and what neither may tell.

use serde_json::json;

use super::app::log_in;
use super::{App, User};
use crate::harness::{Client, Reply, scratch};

async fn register(client: &Client, email: &str, password: &str) -> Reply {
    let body = json!({ "email": email, "password": password }).to_string();
    client.post("/register", body).await
}

fn fresh_email() -> String {
    let name = scratch()
        .path()
        .file_name()
        .unwrap()
        .to_string_lossy()
        .to_lowercase();
    format!("{name}@example.com")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_made_once_and_its_login_is_a_token_that_validates() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let again = register(&user.client, &user.email, "another long passphrase")
        .await
        .expect(409);
    assert!(again.json()["error"].is_string());
    let upper = user.email.to_uppercase();
    register(&user.client, &upper, "another long passphrase")
        .await
        .expect(409);
    let claims = user
        .request("POST", "/validate", crate::harness::client::empty())
        .await;
    let claims = claims.expect(200).json();
    assert_eq!(claims["email"], user.email, "{claims}");
    assert_eq!(claims["iss"], "wharf-media-auth");
    assert_eq!(claims["aud"], "wharf-media");
    let login = log_in(&user.client, &user.email, &user.password)
        .await
        .expect(200)
        .json();
    assert_eq!(login["expires_in"], 86_400);
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_the_same_address_at_once_yields_one_account() {
    let app = App::shared().await;
    let client = app.host.client();
    let email = fresh_email();
    let all = (0..8).map(|index| {
        let (client, email) = (client.clone(), email.clone());
        async move {
            let password = format!("the passphrase number {index}");
            (register(&client, &email, &password).await.status, password)
        }
    });
    let answers = futures::future::join_all(all).await;
    let made: Vec<_> = answers
        .iter()
        .filter(|(status, _)| *status == 201)
        .collect();
    assert_eq!(made.len(), 1, "{answers:?}");
    assert!(
        answers
            .iter()
            .all(|(status, _)| matches!(status, 201 | 409)),
        "{answers:?}"
    );
    for (status, password) in &answers {
        let expected = if *status == 201 { 200 } else { 401 };
        log_in(&client, &email, password).await.expect(expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    let wrong = log_in(&user.client, &user.email, "not the passphrase")
        .await
        .expect(401);
    let unknown = log_in(&user.client, &fresh_email(), "not the passphrase")
        .await
        .expect(401);
    assert_eq!(wrong.body, unknown.body);
    assert_eq!(
        wrong.header("www-authenticate"),
        unknown.header("www-authenticate")
    );
    assert!(
        wrong
            .header("www-authenticate")
            .expect("a challenge")
            .starts_with("Basic")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_registration_is_refused_in_words() {
    let app = App::shared().await;
    let client = app.host.client();
    for body in [
        "",
        "not json",
        "{}",
        r#"{"email": "a@example.com"}"#,
        r#"{"email": "no address", "password": "a long passphrase"}"#,
        r#"{"email": "a@example.com", "password": "short"}"#,
        r#"{"email": ["a@example.com"], "password": "a long passphrase"}"#,
    ] {
        let reply = client.post("/register", body).await.expect(400);
        assert!(reply.json()["error"].is_string(), "{body}");
    }
    client.get("/register").await.expect(405);
    client.post("/login", "").await.expect(401);
    client
        .post("/register", vec![b' '; 100_000])
        .await
        .expect(413);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_tokens_and_addresses_are_in_no_log() {
    let app = App::shared().await;
    let user = User::new(&app.host).await;
    log_in(&user.client, &user.email, "a wrong passphrase nobody has")
        .await
        .expect(401);
    user.get("/jobs").await.expect(200);
    user.upload("notes.txt", b"not media").await;
    let mut forged = user.token.clone();
    forged.push('x');
    let request = user.client.request("GET", "/jobs");
    let request = request.header("authorization", format!("Bearer {forged}"));
    let body = crate::harness::client::empty();
    user.client
        .send(request.body(body).unwrap())
        .await
        .expect(401);
    let signature = user.token.rsplit('.').next().unwrap();
    let log = app.host.log();
    for secret in [
        &user.password,
        &user.token,
        signature,
        "a wrong passphrase nobody has",
    ] {
        assert!(!log.contains(secret), "the log has a secret");
    }
    let keys = app.host.state().path().join("secrets/auth-signing-keys");
    let ring: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(keys).unwrap()).unwrap();
    let key = ring[0]["key"].as_str().unwrap();
    assert!(!log.contains(key), "the log has the signing key");
}
