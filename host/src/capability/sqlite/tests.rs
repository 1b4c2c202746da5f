//! What databases promise.

use std::time::Duration;

use futures::future::join_all;

use super::*;

fn id() -> DatabaseSource {
    DatabaseSource::Own("default".to_owned())
}

struct Bench {
    sqlite: Sqlite,
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sqlite = Sqlite::new(dir.path());
        Self { sqlite, dir }
    }

    async fn connect(&self) -> Connection {
        self.sqlite.connect(&id()).await.unwrap()
    }
}

async fn run(connection: &Connection, statement: &str) -> Result<Rows, SqliteError> {
    connection.execute(statement.to_owned(), Vec::new()).await
}

/// The one value of the one row.
async fn value(connection: &Connection, statement: &str) -> Value {
    let rows = run(connection, statement).await.unwrap().rows;
    assert_eq!(rows.len(), 1, "{statement}");
    rows.into_iter().flatten().next().unwrap()
}

#[tokio::test]
async fn every_kind_of_value_comes_back_as_it_went() {
    let bench = Bench::new();
    let connection = bench.connect().await;
    run(&connection, "CREATE TABLE t (v)").await.unwrap();
    let values = [
        Value::Null,
        Value::Integer(i64::MIN),
        Value::Real(-1.5),
        Value::Text("h\u{e9}\0llo".to_owned()),
        Value::Blob(vec![0, 255, 0]),
        Value::Text(String::new()),
        Value::Blob(Vec::new()),
    ];
    for value in &values {
        let insert = "INSERT INTO t VALUES (?)".to_owned();
        connection
            .execute(insert, vec![value.clone()])
            .await
            .unwrap();
    }
    let rows = run(&connection, "SELECT v, rowid AS id FROM t ORDER BY rowid")
        .await
        .unwrap();
    assert_eq!(rows.columns, ["v", "id"]);
    for (index, (row, value)) in rows.rows.iter().zip(&values).enumerate() {
        let id = Value::Integer(index as i64 + 1);
        assert_eq!(row, &[value.clone(), id]);
    }
}

#[tokio::test]
async fn a_connection_knows_what_it_changed_last() {
    let bench = Bench::new();
    let (one, two) = (bench.connect().await, bench.connect().await);
    assert_eq!(one.last_insert_rowid().await.unwrap(), 0);
    run(&one, "CREATE TABLE t (v)").await.unwrap();
    run(&one, "INSERT INTO t VALUES (1), (2), (3)")
        .await
        .unwrap();
    assert_eq!(one.last_insert_rowid().await.unwrap(), 3);
    assert_eq!(one.changes().await.unwrap(), 3);
    assert_eq!(two.last_insert_rowid().await.unwrap(), 0, "its own");
    run(&one, "DELETE FROM t WHERE v > 1").await.unwrap();
    assert_eq!(one.changes().await.unwrap(), 2);
}

#[tokio::test]
async fn a_wrong_statement_says_what_is_wrong() {
    let bench = Bench::new();
    let connection = bench.connect().await;
    for (statement, says) in [
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM absent", "no such table: absent"),
        ("SELECT ?", "number of parameters"),
    ] {
        let error = run(&connection, statement).await.unwrap_err().to_string();
        assert!(error.contains(says), "{statement}: {error}");
    }
    run(&connection, "CREATE TABLE t (v UNIQUE)").await.unwrap();
    run(&connection, "INSERT INTO t VALUES (1)").await.unwrap();
    let error = run(&connection, "INSERT INTO t VALUES (1)")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("UNIQUE"), "{error}");
}

#[tokio::test]
async fn what_was_not_committed_is_undone_with_its_connection() {
    let bench = Bench::new();
    let one = bench.connect().await;
    run(&one, "CREATE TABLE t (v)").await.unwrap();
    run(&one, "BEGIN").await.unwrap();
    run(&one, "INSERT INTO t VALUES (1)").await.unwrap();
    let two = bench.connect().await;
    assert_eq!(
        value(&two, "SELECT count(*) FROM t").await,
        Value::Integer(0)
    );
    drop(one);
    run(&two, "INSERT INTO t VALUES (2)").await.unwrap();
    assert_eq!(value(&two, "SELECT v FROM t").await, Value::Integer(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_take_turns_and_none_is_lost() {
    let bench = Bench::new();
    run(&bench.connect().await, "CREATE TABLE t (n INTEGER)")
        .await
        .unwrap();
    run(&bench.connect().await, "INSERT INTO t VALUES (0)")
        .await
        .unwrap();
    let writers = (0..16).map(|_| async {
        let connection = bench.connect().await;
        for _ in 0..10 {
            run(&connection, "UPDATE t SET n = n + 1").await.unwrap();
        }
    });
    join_all(writers).await;
    let sum = value(&bench.connect().await, "SELECT n FROM t").await;
    assert_eq!(sum, Value::Integer(160));
}

#[tokio::test]
async fn a_database_is_there_again_after_a_restart_and_others_are_not_seen() {
    let bench = Bench::new();
    run(&bench.connect().await, "CREATE TABLE t AS SELECT 7 AS v")
        .await
        .unwrap();
    let other = DatabaseSource::Own("other".to_owned());
    let other = bench.sqlite.connect(&other).await.unwrap();
    run(&other, "SELECT * FROM t").await.unwrap_err();
    let Bench { sqlite, dir } = bench;
    drop((sqlite, other));
    let again = Sqlite::new(dir.path()).connect(&id()).await.unwrap();
    assert_eq!(value(&again, "SELECT v FROM t").await, Value::Integer(7));
}

#[tokio::test]
async fn no_statement_reaches_another_file_or_the_hosts_settings() {
    let bench = Bench::new();
    let connection = bench.connect().await;
    let other = bench.dir.path().join("other.db");
    let other = other.display();
    for statement in [
        format!("ATTACH '{other}' AS other"),
        format!("ATTACH '{other}' || '' AS other"),
        format!("VACUUM INTO '{other}'"),
        "SELECT load_extension('x')".to_owned(),
        "PRAGMA max_page_count = 2000000000".to_owned(),
        "PRAGMA hard_heap_limit = 1".to_owned(),
        "PRAGMA temp_store_directory = '/tmp'".to_owned(),
        "PRAGMA writable_schema = 1".to_owned(),
    ] {
        run(&connection, &statement).await.expect_err(&statement);
    }
    assert!(!bench.dir.path().join("other.db").exists());
    for harmless in [
        "PRAGMA journal_mode = delete",
        "PRAGMA synchronous = off",
        "PRAGMA foreign_keys = on",
    ] {
        run(&connection, harmless).await.expect(harmless);
    }
    assert_eq!(
        value(&connection, "PRAGMA journal_mode").await,
        Value::Text("wal".into())
    );
    assert_eq!(
        value(&connection, "PRAGMA synchronous").await,
        Value::Integer(2)
    );
    assert_eq!(
        value(&connection, "PRAGMA foreign_keys").await,
        Value::Integer(1)
    );
}

#[tokio::test]
async fn results_and_values_have_a_largest_size() {
    let bench = Bench::new();
    let connection = bench.connect().await;
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
    let error = run(&connection, endless).await.unwrap_err();
    assert!(matches!(error, SqliteError::TooLarge), "{error:?}");
    let error = run(&connection, "SELECT zeroblob(20000000)")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("too big"), "{error}");
    assert_eq!(value(&connection, "SELECT 1").await, Value::Integer(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_nobody_waits_for_is_interrupted() {
    let bench = Bench::new();
    let connection = bench.connect().await;
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let waited = tokio::time::timeout(Duration::from_millis(50), run(&connection, endless)).await;
    assert!(waited.is_err(), "it never ends");
    // The connection is free again as soon as the statement was interrupted.
    assert_eq!(value(&connection, "SELECT 1").await, Value::Integer(1));
}
