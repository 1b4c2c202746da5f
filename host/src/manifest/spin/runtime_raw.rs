//! Spin's runtime configuration file as it is written.
#![expect(
    dead_code,
    reason = "keys that are known, so that what is said of their table is not said of them"
)]

use super::raw::Anything;
use crate::document::{Located, Map, raw_table};

raw_table! {
    /// The file.
    pub struct RuntimeConfig {
        required {}
        optional {
            /// Where Spin keeps its state.
            state_dir: String,
            /// Where Spin keeps the output of components.
            log_dir: String,
            /// Where values of variables come from.
            variables_provider: Vec<Located<Provider>>,
            /// The same, as it was called before.
            config_provider: Vec<Located<Provider>>,
            /// Key-value stores.
            key_value_store: Map<String, Store>,
            /// SQLite databases.
            sqlite_database: Map<String, Database>,
            /// Language models.
            llm_compute: Anything,
            /// Blob stores.
            blob_store: Anything,
            /// What connections to the outside are like.
            outbound_http: Anything,
            /// What is never connected to.
            outbound_networking: Anything,
            /// Certificates for connections to the outside.
            client_tls: Anything,
        }
    }
}

raw_table! {
    /// Where values of variables come from.
    pub struct Provider {
        required {
            /// What it is.
            r#type: String,
        }
        optional {
            /// Of `static`.
            values: Map<String, String>,
            /// Of `env`.
            prefix: String,
            /// Of `env`.
            dotenv_path: String,
            /// Of `vault`.
            url: Anything,
            /// Of `vault`.
            token: Anything,
            /// Of `vault`.
            mount: Anything,
            /// Of `azure_key_vault`.
            vault_url: Anything,
            /// Of `azure_key_vault`.
            client_id: Anything,
            /// Of `azure_key_vault`.
            client_secret: Anything,
            /// Of `azure_key_vault`.
            tenant_id: Anything,
            /// Of `azure_key_vault`.
            authority_host: Anything,
        }
    }
}

raw_table! {
    /// A key-value store.
    pub struct Store {
        required {
            /// What it is.
            r#type: String,
        }
        optional {
            /// Of `spin`.
            path: String,
            /// Of `redis`.
            url: Anything,
            /// Of `azure_cosmos`.
            key: Anything,
            /// Of `azure_cosmos`.
            account: Anything,
            /// Of `azure_cosmos`.
            database: Anything,
            /// Of `azure_cosmos`.
            container: Anything,
            /// Of `aws_dynamo`.
            region: Anything,
            /// Of `aws_dynamo`.
            table: Anything,
        }
    }
}

raw_table! {
    /// A SQLite database.
    pub struct Database {
        required {
            /// What it is.
            r#type: String,
        }
        optional {
            /// Of `spin`.
            path: String,
            /// Of `libsql`.
            url: Anything,
            /// Of `libsql`.
            token: Anything,
        }
    }
}
