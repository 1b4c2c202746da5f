//! What the runtime asks of the floors above it: the other components of the application.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use wasmtime_wasi_http::WasiBody;

use super::error::InvokeError;
use super::instance::Instances;
use super::work::Work;
use crate::name::ComponentName;

/// A revision of another component, leased for typed calls.
#[derive(Clone)]
pub struct Callee {
    /// Its instances.
    pub instances: Arc<Instances>,
    /// Only held.
    pub lease: Arc<dyn Send + Sync>,
}

/// The application's components, reached through whatever revision is current.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Sends an HTTP request to a component in process.
    async fn http(
        &self,
        component: &ComponentName,
        request: Request<WasiBody>,
        work: Work,
    ) -> Result<Response<WasiBody>, InvokeError>;

    /// Sends an HTTP request to whoever answers the route that its path and method have.
    async fn itself(
        &self,
        request: Request<WasiBody>,
        work: Work,
    ) -> Result<Response<WasiBody>, InvokeError>;

    /// The component's revision for this work, leased.
    fn callee(&self, component: &ComponentName, work: &Work) -> Result<Callee, InvokeError>;
}
