//! What guests of Spin may import and this host has nobody to serve with: language models, MySQL and
//! MQTT. Each function answers the interface's own error, which says so.

use wasmtime::component::Resource;

use super::{Caller, Spin};
use crate::runtime::bindings::spin_2::fermyon::spin::{llm, mqtt as mqtt_2, mysql as mysql_2};
use crate::runtime::bindings::spin_3::spin::mqtt::mqtt as mqtt_3;
use crate::runtime::bindings::spin_3::spin::mysql::mysql as mysql_3;
use crate::runtime::state::InstanceState;

/// A connection, of which there is none: only errors are answered.
pub enum Connection {}

const NO_MYSQL: &str = "this host does not connect to MySQL: use PostgreSQL or SQLite";

const NO_MQTT: &str = "this host does not connect to MQTT brokers: publish messages over wasmcloud:messaging, or over Redis";

/// What only a connection could ask for.
fn unreachable<R>() -> wasmtime::Result<R> {
    Err(wasmtime::Error::msg("there is no such connection"))
}

impl InstanceState {
    fn no_model(&self, model: &str) -> llm::Error {
        if self.context.grants.ai_models.contains(model) {
            let text = format!("this host runs no language models, and so not {model}");
            return llm::Error::RuntimeError(text);
        }
        llm::Error::ModelNotSupported
    }
}

impl llm::Host for InstanceState {
    async fn infer(
        &mut self,
        model: String,
        _prompt: String,
        _parameters: Option<llm::InferencingParams>,
    ) -> wasmtime::Result<Result<llm::InferencingResult, llm::Error>> {
        Ok(Err(self.no_model(&model)))
    }

    async fn generate_embeddings(
        &mut self,
        model: String,
        _text: Vec<String>,
    ) -> wasmtime::Result<Result<llm::EmbeddingsResult, llm::Error>> {
        Ok(Err(self.no_model(&model)))
    }
}

impl mysql_2::Host for InstanceState {}

impl mysql_2::HostConnection for InstanceState {
    async fn open(
        &mut self,
        _address: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, mysql_2::Error>> {
        Ok(Err(mysql_2::Error::ConnectionFailed(NO_MYSQL.to_owned())))
    }

    async fn query(
        &mut self,
        _connection: Resource<Connection>,
        _statement: String,
        _parameters: Vec<mysql_2::ParameterValue>,
    ) -> wasmtime::Result<Result<mysql_2::RowSet, mysql_2::Error>> {
        unreachable()
    }

    async fn execute(
        &mut self,
        _connection: Resource<Connection>,
        _statement: String,
        _parameters: Vec<mysql_2::ParameterValue>,
    ) -> wasmtime::Result<Result<(), mysql_2::Error>> {
        unreachable()
    }

    async fn drop(&mut self, _connection: Resource<Connection>) -> wasmtime::Result<()> {
        unreachable()
    }
}

impl mqtt_2::Host for InstanceState {}

impl mqtt_2::HostConnection for InstanceState {
    async fn open(
        &mut self,
        _address: String,
        _username: String,
        _password: String,
        _keep_alive_interval_in_secs: u64,
    ) -> wasmtime::Result<Result<Resource<Connection>, mqtt_2::Error>> {
        Ok(Err(mqtt_2::Error::ConnectionFailed(NO_MQTT.to_owned())))
    }

    async fn publish(
        &mut self,
        _connection: Resource<Connection>,
        _topic: String,
        _payload: Vec<u8>,
        _qos: mqtt_2::Qos,
    ) -> wasmtime::Result<Result<(), mqtt_2::Error>> {
        unreachable()
    }

    async fn drop(&mut self, _connection: Resource<Connection>) -> wasmtime::Result<()> {
        unreachable()
    }
}

impl mysql_3::Host for InstanceState {}

impl mysql_3::HostConnection for InstanceState {
    async fn drop(&mut self, _connection: Resource<Connection>) -> wasmtime::Result<()> {
        unreachable()
    }
}

impl mysql_3::HostConnectionWithStore<InstanceState> for Spin {
    async fn open(
        _caller: &Caller,
        _address: String,
    ) -> wasmtime::Result<Result<Resource<Connection>, mysql_3::Error>> {
        Ok(Err(mysql_3::Error::ConnectionFailed(NO_MYSQL.to_owned())))
    }

    async fn query(
        _caller: &Caller,
        _connection: Resource<Connection>,
        _statement: String,
        _parameters: Vec<mysql_3::ParameterValue>,
    ) -> wasmtime::Result<
        Result<
            (
                Vec<mysql_3::Column>,
                wasmtime::component::StreamReader<Vec<mysql_3::DbValue>>,
                wasmtime::component::FutureReader<Result<(), mysql_3::Error>>,
            ),
            mysql_3::Error,
        >,
    > {
        unreachable()
    }

    async fn execute(
        _caller: &Caller,
        _connection: Resource<Connection>,
        _statement: String,
        _parameters: Vec<mysql_3::ParameterValue>,
    ) -> wasmtime::Result<Result<(), mysql_3::Error>> {
        unreachable()
    }
}

impl mqtt_3::Host for InstanceState {}

impl mqtt_3::HostConnection for InstanceState {
    async fn drop(&mut self, _connection: Resource<Connection>) -> wasmtime::Result<()> {
        unreachable()
    }
}

impl mqtt_3::HostConnectionWithStore<InstanceState> for Spin {
    async fn open(
        _caller: &Caller,
        _address: String,
        _username: String,
        _password: String,
        _keep_alive_interval_in_secs: u64,
    ) -> wasmtime::Result<Result<Resource<Connection>, mqtt_3::Error>> {
        Ok(Err(mqtt_3::Error::ConnectionFailed(NO_MQTT.to_owned())))
    }

    async fn publish(
        _caller: &Caller,
        _connection: Resource<Connection>,
        _topic: String,
        _payload: Vec<u8>,
        _qos: mqtt_3::Qos,
    ) -> wasmtime::Result<Result<(), mqtt_3::Error>> {
        unreachable()
    }
}
