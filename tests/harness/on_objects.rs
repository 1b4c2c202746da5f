//! Hosts whose blobs are on an object store of a test.

use super::object_server::{BUCKET, ObjectServer};
use super::{Launch, Manifest};

impl ObjectServer {
    /// Runs `manifest` with blobs below `prefix` in this server's bucket.
    pub fn launch(&self, manifest: &Manifest, prefix: &str) -> Launch {
        let url = format!("s3://{BUCKET}/{prefix}");
        let launch = Launch::of(manifest)
            .host_config("[blobs]\nurl_env = \"WHARF_BLOB_URL\"\n")
            .environment("WHARF_BLOB_URL", &url);
        let environment = self.environment().into_iter();
        environment.fold(launch, |launch, (name, value)| {
            launch.environment(&name, &value)
        })
    }
}
