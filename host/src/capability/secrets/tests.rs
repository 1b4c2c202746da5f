use super::*;
use crate::capability::redis::testing::{RedisServer, open};

fn secrets() -> (tempfile::TempDir, Secrets) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let secrets = Secrets::open(&dir.path().join("secrets")).expect("a provider");
    (dir, secrets)
}

fn secret(generate: Option<Generate>) -> Secret {
    Secret {
        name: "keys".parse().expect("a name"),
        generate,
    }
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_generated_ring_stays_and_rotates() {
    let (_dir, secrets) = secrets();
    let generated = secret(Some(Generate::HmacSha256));
    let first = secrets.value(&generated).await.expect("a value");
    assert_eq!(secrets.value(&generated).await.expect("a value"), first);
    assert_eq!(secrets.rotate(&generated.name, HOUR).await.unwrap(), 2);
    let second = secrets.value(&generated).await.expect("a value");
    assert!(second.ends_with(&format!(",{first}")), "{second}");
    let path = secrets.path(&generated.name);
    let mode = path.metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let keys = secrets.rotate(&generated.name, Duration::ZERO).await;
    assert!(keys.unwrap() >= 2, "the one that signed a moment ago stays");
}

#[tokio::test]
async fn a_secret_that_is_missing_too_open_or_damaged_is_an_error() {
    let (_dir, secrets) = secrets();
    let plain = secret(None);
    assert!(matches!(
        secrets.value(&plain).await,
        Err(SecretError::Missing { .. })
    ));
    let path = secrets.path(&plain.name);
    fs::write(&path, "value\n").expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
    assert!(matches!(
        secrets.value(&plain).await,
        Err(SecretError::TooOpen { .. })
    ));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    assert_eq!(secrets.value(&plain).await.expect("a value"), "value");
    let generated = secret(Some(Generate::HmacSha256));
    assert!(matches!(
        secrets.value(&generated).await,
        Err(SecretError::NotAKeyRing { .. })
    ));
}

#[tokio::test]
async fn hosts_that_share_redis_share_their_rings() {
    let server = RedisServer::start();
    let ((_one, one), (_two, two)) = (secrets(), secrets());
    let generated = secret(Some(Generate::HmacSha256));
    // The first host has been running on its own before.
    let ring = one.value(&generated).await.unwrap();
    let one = one.sharing_rings(open(&server));
    let two = two.sharing_rings(open(&server));
    assert!(two.needs_redis(&generated));
    assert_eq!(one.value(&generated).await.unwrap(), ring);
    assert_eq!(two.value(&generated).await.unwrap(), ring);
    assert!(!two.needs_redis(&generated));
    let (a, b) = tokio::join!(
        one.rotate(&generated.name, HOUR),
        two.rotate(&generated.name, HOUR)
    );
    assert_eq!(a.unwrap().max(b.unwrap()), 3, "neither key is lost");
    let ring = one.value(&generated).await.unwrap();
    assert_eq!(two.value(&generated).await.unwrap(), ring);
}

#[tokio::test]
async fn while_redis_is_away_a_ring_is_what_it_was() {
    let mut server = RedisServer::start();
    let ((_one, one), (_two, two)) = (secrets(), secrets());
    let one = one.sharing_rings(open(&server));
    let two = two.sharing_rings(open(&server));
    let generated = secret(Some(Generate::HmacSha256));
    let ring = one.value(&generated).await.unwrap();
    server.kill();
    assert_eq!(one.value(&generated).await.unwrap(), ring);
    let error = two.value(&generated).await.unwrap_err();
    assert!(matches!(error, SecretError::Shared { .. }), "{error:?}");
    let error = one.rotate(&generated.name, HOUR).await.unwrap_err();
    assert!(matches!(error, SecretError::Shared { .. }), "{error:?}");
}
