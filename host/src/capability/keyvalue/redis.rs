//! Key-value on Redis: for each store a hash of its values, and beside it a sorted set of its keys,
//! all with one score, which Redis then orders by their bytes.
//!
//! Both lie in one slot of a cluster. Every write is one transaction or one script, so that the two
//! always agree. It is as durable as the server's persistence setting makes it.

use std::sync::LazyLock;

use ::redis::{ErrorKind, FromRedisValue, Pipeline, RedisError, Script};
use async_trait::async_trait;
use bytes::Bytes;

use super::{
    BATCH_BYTES_MAX, KeyValue, KeyValueError, StoreId, check, check_entry, check_key, whole_number,
};
use crate::capability::redis::Redis;

static SWAP: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("swap.lua")));

/// Key-value stores on a Redis server or cluster.
#[derive(Debug, Clone)]
pub struct RedisKeyValue {
    redis: Redis,
}

/// The Redis keys of one store.
struct Keys {
    values: String,
    index: String,
}

impl RedisKeyValue {
    /// Stores on the server behind `redis`. Nothing is sent before the first operation.
    pub fn open(redis: Redis) -> Self {
        Self { redis }
    }

    fn keys_of(&self, store: &StoreId) -> Keys {
        Keys {
            values: self.redis.key(store.as_str(), "values"),
            index: self.redis.key(store.as_str(), "keys"),
        }
    }

    async fn read<T: FromRedisValue>(
        &self,
        store: &StoreId,
        command: &::redis::Cmd,
    ) -> Result<T, KeyValueError> {
        let answer = command.query_async(&mut self.redis.clone()).await;
        answer.map_err(|error| backend(store, error))
    }

    async fn write<T: FromRedisValue>(&self, transaction: &Pipeline) -> Result<T, RedisError> {
        transaction.query_async(&mut self.redis.clone()).await
    }
}

fn backend(store: &StoreId, source: RedisError) -> KeyValueError {
    KeyValueError::Backend {
        store: store.clone(),
        source: Box::new(source),
    }
}

/// What a refused HINCRBY means: the words are Redis's (`t_hash.c`, `hincrbyCommand`), which has no
/// codes for them. In a transaction it is the only command that can fail so.
fn not_incremented(store: &StoreId, key: &str, error: RedisError) -> KeyValueError {
    let (store, key) = (store.clone(), key.to_owned());
    let words = error.to_string();
    if words.contains("hash value is not an integer") {
        KeyValueError::NotANumber { store, key }
    } else if words.contains("increment or decrement would overflow") {
        KeyValueError::Overflow { store, key }
    } else {
        backend(&store, error)
    }
}

fn transaction() -> Pipeline {
    let mut transaction = ::redis::pipe();
    transaction.atomic();
    transaction
}

#[async_trait]
impl KeyValue for RedisKeyValue {
    async fn get(&self, store: &StoreId, key: &str) -> Result<Option<Bytes>, KeyValueError> {
        check_key(store, key)?;
        let mut get = ::redis::cmd("HGET");
        get.arg(self.keys_of(store).values).arg(key);
        let value: Option<Vec<u8>> = self.read(store, &get).await?;
        Ok(value.map(Bytes::from))
    }

    async fn set(&self, store: &StoreId, key: &str, value: Bytes) -> Result<(), KeyValueError> {
        check_entry(store, key, &value)?;
        let keys = self.keys_of(store);
        let mut set = transaction();
        set.cmd("HSET").arg(keys.values).arg(key).arg(&value[..]);
        set.cmd("ZADD").arg(keys.index).arg(0).arg(key);
        let set: Result<(u64, u64), _> = self.write(&set).await;
        set.map(drop).map_err(|error| backend(store, error))
    }

    async fn delete(&self, store: &StoreId, key: &str) -> Result<(), KeyValueError> {
        self.delete_many(store, &[key.to_owned()]).await
    }

    async fn exists(&self, store: &StoreId, key: &str) -> Result<bool, KeyValueError> {
        check_key(store, key)?;
        let mut exists = ::redis::cmd("HEXISTS");
        exists.arg(self.keys_of(store).values).arg(key);
        self.read(store, &exists).await
    }

    async fn keys(
        &self,
        store: &StoreId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<String>, KeyValueError> {
        let first = after.map_or_else(|| "-".to_owned(), |after| format!("({after}"));
        let mut range = ::redis::cmd("ZRANGE");
        range.arg(self.keys_of(store).index).arg(first).arg("+");
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        range.arg("BYLEX").arg("LIMIT").arg(0).arg(limit);
        self.read(store, &range).await
    }

    async fn increment(
        &self,
        store: &StoreId,
        key: &str,
        delta: i64,
    ) -> Result<i64, KeyValueError> {
        if delta == 0 {
            let Some(value) = self.get(store, key).await? else {
                return Ok(0);
            };
            return whole_number(&value).ok_or_else(|| KeyValueError::NotANumber {
                store: store.clone(),
                key: key.to_owned(),
            });
        }
        check_key(store, key)?;
        let keys = self.keys_of(store);
        let mut increment = transaction();
        increment
            .cmd("HINCRBY")
            .arg(keys.values)
            .arg(key)
            .arg(delta);
        // Where the first is refused, the key is there already, and this changes nothing.
        increment.cmd("ZADD").arg(keys.index).arg(0).arg(key);
        let sum: Result<(i64, u64), _> = self.write(&increment).await;
        sum.map(|(sum, _)| sum)
            .map_err(|error| not_incremented(store, key, error))
    }

    async fn swap(
        &self,
        store: &StoreId,
        key: &str,
        expected: Option<Bytes>,
        new: Bytes,
    ) -> Result<Result<(), Option<Bytes>>, KeyValueError> {
        check_entry(store, key, &new)?;
        let keys = self.keys_of(store);
        let mut swap = SWAP.key(keys.values);
        swap.key(keys.index).arg(key).arg(&new[..]);
        if let Some(expected) = &expected {
            swap.arg(&expected[..]);
        }
        let answer = swap.invoke_async(&mut self.redis.clone()).await;
        let (swapped, found): (bool, Option<Vec<u8>>) = match answer {
            Ok(::redis::Value::Array(answer)) => {
                let mut answer = answer.into_iter();
                let swapped = answer.next().map_or(Ok(false), bool::from_redis_value);
                let found = answer.next().map(Vec::from_redis_value).transpose();
                swapped
                    .and_then(|swapped| Ok((swapped, found?)))
                    .map_err(|error| backend(store, error.into()))?
            }
            Ok(_) => {
                let strange = (ErrorKind::UnexpectedReturnType, "a swap gave no array");
                return Err(backend(store, strange.into()));
            }
            Err(error) => return Err(backend(store, error)),
        };
        Ok(if swapped {
            Ok(())
        } else {
            Err(found.map(Bytes::from))
        })
    }

    async fn get_many(
        &self,
        store: &StoreId,
        keys: &[String],
    ) -> Result<Vec<Option<Bytes>>, KeyValueError> {
        keys.iter().try_for_each(|key| check_key(store, key))?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = ::redis::cmd("HMGET");
        get.arg(self.keys_of(store).values).arg(keys);
        let values: Vec<Option<Vec<u8>>> = self.read(store, &get).await?;
        Ok(values
            .into_iter()
            .map(|value| value.map(Bytes::from))
            .collect())
    }

    async fn set_many(
        &self,
        store: &StoreId,
        entries: Vec<(String, Bytes)>,
    ) -> Result<(), KeyValueError> {
        entries
            .iter()
            .try_for_each(|(key, value)| check_entry(store, key, value))?;
        let bytes = entries
            .iter()
            .map(|(key, value)| key.len() + value.len())
            .sum();
        check(store, "batch", bytes, BATCH_BYTES_MAX)?;
        if entries.is_empty() {
            return Ok(());
        }
        let keys = self.keys_of(store);
        let mut set = transaction();
        let values = set.cmd("HSET").arg(keys.values);
        for (key, value) in &entries {
            values.arg(key).arg(&value[..]);
        }
        let index = set.cmd("ZADD").arg(keys.index);
        for (key, _) in &entries {
            index.arg(0).arg(key);
        }
        let set: Result<(u64, u64), _> = self.write(&set).await;
        set.map(drop).map_err(|error| backend(store, error))
    }

    async fn delete_many(&self, store: &StoreId, keys: &[String]) -> Result<(), KeyValueError> {
        keys.iter().try_for_each(|key| check_key(store, key))?;
        if keys.is_empty() {
            return Ok(());
        }
        let names = self.keys_of(store);
        let mut delete = transaction();
        delete.cmd("HDEL").arg(names.values).arg(keys);
        delete.cmd("ZREM").arg(names.index).arg(keys);
        let deleted: Result<(u64, u64), _> = self.write(&delete).await;
        deleted.map(drop).map_err(|error| backend(store, error))
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance;
    use super::*;
    use crate::capability::redis::testing::{RedisServer, open, open_cluster, open_limited};

    #[tokio::test]
    async fn a_redis_server_is_a_key_value_store() {
        let server = RedisServer::start();
        conformance::every_promise(&RedisKeyValue::open(open(&server))).await;
    }

    #[tokio::test]
    async fn a_redis_cluster_is_a_key_value_store() {
        let nodes = RedisServer::cluster_of_three();
        conformance::every_promise(&RedisKeyValue::open(open_cluster(&nodes[0]))).await;
    }

    #[tokio::test]
    async fn so_it_is_for_a_user_who_may_do_no_more_than_the_documented() {
        let server = [RedisServer::start()];
        conformance::every_promise(&RedisKeyValue::open(open_limited(&server))).await;
        let nodes = RedisServer::cluster_of_three();
        conformance::every_promise(&RedisKeyValue::open(open_limited(&nodes))).await;
    }

    #[tokio::test]
    async fn it_keeps_what_it_answered() {
        let server = std::sync::Mutex::new(RedisServer::durable());
        conformance::survives_reopening(async || {
            let mut server = server.lock().unwrap();
            server.kill();
            server.start_again();
            Box::new(RedisKeyValue::open(open(&server))) as _
        })
        .await;
    }

    #[tokio::test]
    async fn a_server_that_is_away_is_a_backend_error() {
        let mut server = RedisServer::start();
        let values = RedisKeyValue::open(open(&server));
        let store = StoreId::component(&"auth".parse().unwrap());
        values.set(&store, "key", Bytes::new()).await.unwrap();
        server.kill();
        let error = values.set(&store, "key", Bytes::new()).await.unwrap_err();
        assert!(matches!(error, KeyValueError::Backend { .. }), "{error:?}");
    }
}
