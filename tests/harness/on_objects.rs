//! Hosts whose blobs are on an object store of a test.

use super::object_server::{BUCKET, ObjectServer};
use super::{Launch, Manifest};

/// Where blobs are, in a host's configuration: where a variable says.
pub const BLOBS: &str = "[blobs]\nurl_env = \"WHARF_BLOB_URL\"\n";

impl ObjectServer {
    /// Runs `manifest` with blobs below `prefix` in this server's bucket.
    pub fn launch(&self, manifest: &Manifest, prefix: &str) -> Launch {
        self.serve_blobs_of(Launch::of(manifest), prefix)
            .host_config(BLOBS)
    }

    /// Gives a host whose configuration has [`BLOBS`] in it a place below `prefix` in this server's
    /// bucket.
    pub fn serve_blobs_of(&self, launch: Launch, prefix: &str) -> Launch {
        let url = format!("s3://{BUCKET}/{prefix}");
        let launch = launch.environment("WHARF_BLOB_URL", &url);
        let environment = self.environment().into_iter();
        environment.fold(launch, |launch, (name, value)| {
            launch.environment(&name, &value)
        })
    }
}
