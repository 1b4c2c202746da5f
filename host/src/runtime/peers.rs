//! What the runtime asks of the floors above it: the other components of the application.

use std::sync::Arc;

use async_trait::async_trait;
use http::{Request, Response};
use wasmtime_wasi_http::WasiBody;

use super::error::InvokeError;
use super::instance::{Instance, Instances};
use super::state::Work;
use crate::name::ComponentName;

/// An instance of another component, held for typed calls, with what must live as long: its lease.
pub struct Borrowed {
    /// The instance.
    pub instance: Instance,
    /// Where it goes when the work ended well.
    pub home: Arc<Instances>,
    /// Only held.
    pub lease: Box<dyn Send + Sync>,
}

impl Borrowed {
    /// Gives the instance back; dropping it instead throws it away.
    pub fn give_back(self) {
        self.home.give_back(self.instance);
    }
}

/// The other components of the application, reached through whatever revision is current.
#[async_trait]
pub trait Peers: Send + Sync {
    /// Sends an HTTP request to a component in process.
    async fn http(
        &self,
        component: &ComponentName,
        request: Request<WasiBody>,
        work: Work,
    ) -> Result<Response<WasiBody>, InvokeError>;

    /// An instance of the component's current revision.
    async fn borrow(&self, component: &ComponentName, work: Work) -> Result<Borrowed, InvokeError>;
}
